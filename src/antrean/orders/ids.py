"""Identifiers: sortable by time where that helps, never guessable, safe in a file name and in an URL."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

from antrean.orders.entropy import ALPHABET, random_letters

#: 2024 began at this minute of the epoch.
_EPOCH_MIN = 1_704_067_200_000 // 60_000

#: Asked for a number of letters of ALPHABET.
RandomLetters = Callable[[int], bytes]

#: Of an id that is packed.
PACKED_BYTES = 16

#: Two digits at a time: half the work.
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]

#: Python's own digits for ours, and for all else one that is no digit.
_AS_INT_READS = bytes(
    ord("0123456789abcdefghijklmnopqrstuv"[ALPHABET.index(chr(c))] if chr(c) in ALPHABET else "!")
    for c in range(256)
)


def _base32(value: int, length: int) -> str:
    """`length` is even."""
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(5 * (length - 2), -1, -10)])


def new_id(now_ms: int, letters: RandomLetters = random_letters) -> str:
    """26 characters as a ULID: 48 bits of time, 80 random ones."""
    return _base32(now_ms, 10) + letters(16).decode()


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


@functools.lru_cache(maxsize=4)
def _times(now_ms: int) -> Names:
    """How the names of all orders of one millisecond begin."""
    minute = max(now_ms // 60_000 - _EPOCH_MIN, 0) % 2**25
    return Names(_base32(now_ms, 10), now_ms.to_bytes(6, "big"), _base32(minute, 6)[1:])


def new_names(now_ms: int, letters: RandomLetters = random_letters) -> Names:
    """Of a new order, from one draw of random letters.

    A token has 20 characters, short enough for a small QR: 25 bits of minutes since 2024, 75 random ones. The minute,
    which the ticket shows in words as well, tells where in the archive an old order is found.
    """
    began, packed, token = _times(now_ms)
    drawn = letters(31)
    random = int(drawn[:16].translate(_AS_INT_READS), 32).to_bytes(10, "big")
    text = drawn.decode()
    return Names(began + text[:16], packed + random, token + text[16:])


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
    # What is not ASCII becomes bytes that are no digits.
    return int(digits.encode(errors="replace").translate(_AS_INT_READS), 32)


def unpacked(packed_id: bytes) -> str:
    """The id of an order's names that is packed so."""
    return _base32(int.from_bytes(packed_id, "big"), 26)


def is_token(text: str) -> bool:
    """Whether `text` has the form of a ticket token."""
    return len(text) == 20 and all(c in ALPHABET for c in text)
