"""How much a simulated server bears, and what becomes of it when pushed further. Pure: time is passed in."""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Final

#: Load above capacity, as a share of it, from which a server that can collapse does.
COLLAPSE_AT: Final = 1.2
#: Seconds over which a rate is counted.
WINDOW_S: Final = 1.0
#: Arrivals remembered for the rate; more than this a second is past any capacity that can be set.
ARRIVALS_MAX: Final = 100_000


class Verdict(Enum):
    """What becomes of a call that asks for room."""

    ADMITTED = "admitted"
    OVER = "over"
    COLLAPSED = "collapsed"


class Capacity:
    """Room for `max_in_flight` calls at once, or `per_s` a second, or both.

    Offered load is what is in flight (or was admitted within a second) and what was turned away within a second.
    Above COLLAPSE_AT times the capacity, a server with `collapse_s` turns everything away for that long.
    """

    def __init__(
        self, max_in_flight: int | None, per_s: float | None, collapse_s: float = 0.0, hold_over: bool = False
    ) -> None:
        self.max_in_flight = max_in_flight
        self.per_s = per_s
        self.collapse_s = collapse_s
        self.hold_over = hold_over
        self.in_flight = 0
        self.collapses = 0
        self._collapsed_until = 0.0
        self._admitted: deque[float] = deque(maxlen=ARRIVALS_MAX)
        self._refused: deque[float] = deque(maxlen=ARRIVALS_MAX)

    def collapsed(self, now: float) -> bool:
        """Whether everything fails at `now` (seconds of the clock that `enter` is given)."""
        return now < self._collapsed_until

    def enter(self, now: float) -> Verdict:
        """Ask for room. ADMITTED must be followed by `leave`; so must OVER where `hold_over` is set."""
        if self.collapsed(now):
            return Verdict.COLLAPSED
        for arrivals in (self._admitted, self._refused):
            while arrivals and arrivals[0] <= now - WINDOW_S:
                arrivals.popleft()
        refused = len(self._refused)
        flight_load = self.in_flight + 1
        rate_load = len(self._admitted) + 1
        if self.collapse_s > 0 and (
            (self.max_in_flight is not None and flight_load + refused > self.max_in_flight * COLLAPSE_AT)
            or (self.per_s is not None and rate_load + refused > self.per_s * COLLAPSE_AT)
        ):
            self._collapsed_until = now + self.collapse_s
            self.collapses += 1
            return Verdict.COLLAPSED
        over = (self.max_in_flight is not None and flight_load > self.max_in_flight) or (
            self.per_s is not None and rate_load > self.per_s
        )
        if over and not self.hold_over:
            self._refused.append(now)
            return Verdict.OVER
        self._admitted.append(now)
        self.in_flight += 1
        return Verdict.OVER if over else Verdict.ADMITTED

    def leave(self) -> None:
        """A call that was let in is over."""
        self.in_flight -= 1
