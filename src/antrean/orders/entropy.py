"""Random letters from the operating system, fetched a page at a time: a system call costs more than the rest of an id.

For names that nobody may guess. Not for the nonces of ciphers: a machine that is resumed twice from one snapshot uses
the rest of its page twice. Then two orders of the same minute may get the same ticket token.
"""

from __future__ import annotations

import os
import threading

#: Crockford's base32, lower case: what ids and tokens are made of.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
#: The names of some thirty orders.
PAGE_LETTERS = 1024

#: Five bits of each byte: all letters are equally likely.
_LETTER_OF = bytes(ord(ALPHABET[byte % 32]) for byte in range(256))


class Entropy:
    """Never gives the same letters twice: not to two threads, and not to a process and its child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._page = b""
        self._used = 0
        os.register_at_fork(after_in_child=self._forget)

    def letters(self, count: int) -> bytes:
        """So many letters of ALPHABET, at most PAGE_LETTERS, each with five random bits."""
        with self._lock:
            begin, end = self._used, self._used + count
            if end > len(self._page):
                self._page, begin, end = os.urandom(PAGE_LETTERS).translate(_LETTER_OF), 0, count
            self._used = end
            return self._page[begin:end]

    def _forget(self) -> None:
        # A lock that another thread held at the fork would stay locked.
        self._lock = threading.Lock()
        self._page, self._used = b"", 0


#: Of this process.
random_letters = Entropy().letters
