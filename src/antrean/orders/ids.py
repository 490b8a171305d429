"""Identifiers: sortable by time where that helps, never guessable, safe in a file name and in an URL."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from antrean.orders.entropy import random_bits

#: What ids and tokens are made of.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32, lower case

#: 2024 began at this minute of the epoch.
_EPOCH_MIN = 1_704_067_200_000 // 60_000

RandomBits = Callable[[int], int]

#: Of an id that is packed.
PACKED_BYTES = 16

#: Two digits at a time: half the work for what is made for each order.
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


#: Python's own digits for ours, by code point, and for all else one that is no digit.
_AS_INT_READS = "".join(
    "0123456789abcdefghijklmnopqrstuv"[ALPHABET.index(chr(c))] if chr(c) in ALPHABET else "!"
    for c in range(128)
)


def _base32(value: int, length: int) -> str:
    """`length` is even."""
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(5 * (length - 2), -1, -10)])


def new_id(now_ms: int, bits: RandomBits = random_bits) -> str:
    """26 characters as a ULID: 48 bits of time, 80 random ones."""
    return _base32((now_ms << 80) | bits(80), 26)


def time_ms(order_id: str) -> int:
    """When an id was made."""
    return number_of(order_id[:10]) & (2**48 - 1)


def first_id(at_ms: int) -> str:
    """No id made at that time or later is less than this."""
    return _base32(at_ms << 80, 26)


class Names(NamedTuple):
    """How an order is called: its id, the same packed, and its ticket token."""

    id: str
    packed: bytes
    token: str


def new_names(now_ms: int, bits: RandomBits = random_bits) -> Names:
    """Of a new order, from one draw of random bits.

    A token has 20 characters, short enough for a small QR: 25 bits of minutes since 2024, 75 random ones. The minute,
    which the ticket shows in words as well, tells where in the archive an old order is found.
    """
    minute = max(now_ms // 60_000 - _EPOCH_MIN, 0) % 2**25
    of_id, of_token = divmod(bits(80 + 75), 2**75)
    number = (now_ms << 80) | of_id
    token = _base32((minute << 75) | of_token, 20)
    return Names(_base32(number, 26), number.to_bytes(PACKED_BYTES, "big"), token)


def token_minute_ms(token: str) -> int:
    """The beginning of the minute in which a token was made."""
    return (number_of(token[:5]) + _EPOCH_MIN) * 60_000


def is_id(text: str) -> bool:
    """Whether `text` has the form of one of our ids."""
    return len(text) == 26 and all(c in ALPHABET for c in text)


def number_of(digits: str) -> int:
    """The number that digits of our alphabet write; an id's are 48 bits of time in ms and 80 random ones.

    Raises ValueError where one is of no such digit.
    """
    if not digits.isascii():
        raise ValueError("not of our alphabet")
    return int(digits.translate(_AS_INT_READS), 32)


def unpacked(packed_id: bytes) -> str:
    """The id of an order's names that is packed so."""
    return _base32(int.from_bytes(packed_id, "big"), 26)


def is_token(text: str) -> bool:
    """Whether `text` has the form of a ticket token."""
    return len(text) == 20 and all(c in ALPHABET for c in text)
