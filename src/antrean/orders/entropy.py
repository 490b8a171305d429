"""Random bits from the operating system, fetched a page at a time: a system call costs more than the rest of an id.

For names that nobody may guess. Not for the nonces of ciphers: a machine that is resumed twice from one snapshot uses
the rest of its page twice. Then two orders of the same minute may get the same ticket token.
"""

from __future__ import annotations

import os
import threading

#: The names of some twenty orders.
PAGE_BYTES = 512


class Entropy:
    """Never gives the same bytes twice: not to two threads, and not to a process and its child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._page = b""
        self._used = 0
        os.register_at_fork(after_in_child=self._forget)

    def bits(self, count: int) -> int:
        """A number below 2^`count`, for a `count` of at most 8 * PAGE_BYTES."""
        size = (count + 7) // 8
        with self._lock:
            begin, end = self._used, self._used + size
            if end > len(self._page):
                self._page, begin, end = os.urandom(PAGE_BYTES), 0, size
            self._used = end
            drawn = self._page[begin:end]
        return int.from_bytes(drawn, "big") >> (8 * size - count)

    def _forget(self) -> None:
        # A lock that another thread held at the fork would stay locked.
        self._lock = threading.Lock()
        self._page, self._used = b"", 0


#: Of this process.
random_bits = Entropy().bits
