"""How often a lasting trouble is logged: a log must tell about an outage, not grow with it."""

from __future__ import annotations

import time
from collections.abc import Callable

#: The same reason is logged again after this many seconds.
AGAIN_S = 60.0
#: Reasons that are remembered; beyond that all are forgotten.
REASONS_MAX = 20


class Seldom:
    """One for each thing that can be in trouble."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._said_s: dict[str, float] = {}

    def due(self, why: str) -> bool:
        """Whether to log this reason now: it is a new one, or AGAIN_S has passed."""
        now_s = self._clock_s()
        said_s = self._said_s.get(why)
        if said_s is not None and now_s - said_s < AGAIN_S:
            return False
        if len(self._said_s) >= REASONS_MAX:
            self._said_s.clear()
        self._said_s[why] = now_s
        return True

    def over(self) -> bool:
        """The trouble is over, so the next one is logged at once. True where some had been logged."""
        said = bool(self._said_s)
        self._said_s.clear()
        return said
