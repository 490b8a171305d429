"""How much one key and one address may ask: token buckets in the process, in tables of bounded size."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

#: Most keys or addresses remembered. The one unused for longest gives way; it has a full bucket when it comes back.
ENTRIES_MAX = 10_000
#: Wrong keys that one address may try at once, and how many a second after that.
WRONG_KEYS_BURST = 50
WRONG_KEYS_PER_S = 1.0
#: The same for tickets that are not in Redis: archived ones, and invented ones.
OLD_TICKETS_BURST = 50
OLD_TICKETS_PER_S = 5.0


class Allowance(NamedTuple):
    """What a bucket says. `reset_s`: until it is full again; `retry_s`: until one more may be asked."""

    allowed: bool
    limit: int
    remaining: int
    reset_s: int
    retry_s: int

    @property
    def headers(self) -> dict[str, str]:
        """The RateLimit headers (IETF draft httpapi-ratelimit-headers, and the older three)."""
        limit = str(self.limit)
        return {
            "RateLimit-Limit": limit,
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_s),
            "RateLimit-Policy": f'"key";q={limit};w=1',
        }

    @property
    def header_lines(self) -> str:
        """The same, as they are sent."""
        return (
            f"RateLimit-Limit: {self.limit}\r\nRateLimit-Remaining: {self.remaining}\r\n"
            f'RateLimit-Reset: {self.reset_s}\r\nRateLimit-Policy: "key";q={self.limit};w=1\r\n'
        )


class Buckets:
    """One bucket an entry, of `burst` tokens, filled by `per_s` tokens a second."""

    def __init__(
        self, per_s: float, burst: float | None = None, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_s = per_s
        self._burst = max(per_s, 1.0) if burst is None else burst
        self._clock_s = clock_s
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, entry: str, tokens: float = 1.0) -> Allowance:
        """Take tokens if they are there; 0 only looks whether one is."""
        now_s = self._clock_s()
        level, seen_s = self._levels.get(entry, (self._burst, now_s))
        level = min(self._burst, level + (now_s - seen_s) * self._per_s)
        allowed = level >= max(tokens, 1.0)
        if allowed:
            level -= tokens
        self._levels[entry] = (level, now_s)
        self._levels.move_to_end(entry)
        if len(self._levels) > ENTRIES_MAX:
            self._levels.popitem(last=False)
        return Allowance(
            allowed,
            int(self._burst),
            int(level),
            math.ceil((self._burst - level) / self._per_s),
            max(1, math.ceil((1 - level) / self._per_s)),
        )
