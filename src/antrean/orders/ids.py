"""Identifiers: sortable by time where that helps, never guessable, safe in a file name and in an URL."""

from __future__ import annotations

import secrets
from collections.abc import Callable

#: What ids and tokens are made of.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base32, lower case

RandomBits = Callable[[int], int]


#: Two digits at a time: half the work for what is made for each order.
_PAIRS = [a + b for a in ALPHABET for b in ALPHABET]


def _base32(value: int, length: int) -> str:
    """`length` is even."""
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(5 * (length - 2), -1, -10)])


def new_id(now_ms: int, bits: RandomBits = secrets.randbits) -> str:
    """26 characters as a ULID: 48 bits of time, 80 random ones."""
    return _base32((now_ms << 80) | bits(80), 26)


def new_token(bits: RandomBits = secrets.randbits) -> str:
    """A ticket token: 20 characters, 100 random bits, short enough for a small QR."""
    return _base32(bits(100), 20)


def is_id(text: str) -> bool:
    """Whether `text` has the form of one of our ids."""
    return len(text) == 26 and all(c in ALPHABET for c in text)


def number_of(order_id: str) -> int:
    """The 128 bits of an id: 48 of time in ms, 80 random ones. Raises ValueError where it is none."""
    value = 0
    for character in order_id:
        value = value << 5 | ALPHABET.index(character)
    return value


def is_token(text: str) -> bool:
    """Whether `text` has the form of a ticket token."""
    return len(text) == 20 and all(c in ALPHABET for c in text)
