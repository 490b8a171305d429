"""How long until it is somebody's turn: a range from how the line moved lately, or nothing. Pure.

What is unknown is said to be, and never guessed: there is no estimate while nothing was completed and no upstream call
was timed, nor while the line stops again and again. The near end assumes that nobody else comes and that the line moves
at the best pace of the last minutes. The far end assumes that others come, and that the line stops, as they did lately.
How far a pace may wander was learnt from the ranges given before (promises.py).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

#: Length of one span in which completions are counted, in seconds, and how many are looked at: 5 minutes.
SPAN_S = 10
SPANS = 30
#: The counts of this many spans are kept: 20 minutes.
SPANS_KEPT = 120
#: The pace is taken from the fewest of the last spans that saw ENOUGH completions; with fewer than LEAST in all: no
#: pace.
WINDOWS = (2, 6, SPANS)
ENOUGH = 20
LEAST = 3
#: An order takes at least about this long once it is its turn, in seconds.
TURN_S = 1.0
#: An estimate beyond this, in seconds, says nothing.
HORIZON_S = 7 * 24 * 3600
#: Real waits as shares of the middle of their range, assumed before any is known. They are counted with the real ones.
PRIOR = (0.6, 0.75, 0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.3)
#: Which share of the earlier waits may end before the range, and after it; and the bounds of what is learnt from them.
BEFORE, AFTER = 0.07, 0.07
NEAR, FAR = (0.5, 1.0), (1.0, 2.5)
#: The share of the best pace of the last minutes that the near end hopes for.
BEST_SHARE = 0.9
#: Others who come make a wait longer by at most this factor: a rush ends, and counters close.
RUSH_MAX = 3.0
#: How often the wait is worked out again with those who come meanwhile.
ROUNDS = 4
#: Where a line stopped UNSTEADY times within UNSTEADY_S seconds, nobody can tell.
UNSTEADY, UNSTEADY_S = 2, 60
#: Stops are allowed for where one is likelier than LIKELY, and then by DEVIATIONS standard deviations of all stops.
LIKELY, DEVIATIONS = 0.1, 1.28
#: The share that is reached, in practice, of the calls in flight divided by their unloaded round trip.
CAPACITY_SHARE = 0.7
#: A line that is never empty shows its pace by itself: with short calls it is our own work between them that takes
#: time. The near end still hopes for what the limit allows, since a growing limit is ahead of what was completed: for
#: all of it during the first RAMP_S seconds, and then for up to HOPE_MAX times the pace that was seen.
RAMP_S = 30.0
HOPE_MAX = 1.5


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds from now; `middle_s` is what the range was made around."""

    earliest_s: float
    latest_s: float
    middle_s: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """What the upstream's limits allow just now: calls in flight, and by their unloaded round trips the purchases and
    stamps per second. 0: no answer was timed yet, or nothing may be sent. `in_flight`: calls that are under way."""

    limit: int = 0
    in_flight: int = 0
    purchases_per_s: float = 0.0
    stamps_per_s: float = 0.0

    def per_s(self, *, stamped: bool) -> float:
        """Orders a second: one that is stamped passes both limits. 0 where it is not known."""
        return min(self.purchases_per_s, self.stamps_per_s) if stamped else self.purchases_per_s


NOT_KNOWN = Throughput()


@dataclass(frozen=True, slots=True)
class Course:
    """How the line moved lately.

    `arrivals_per_s`: orders that came per second. `stops_s`: how long each stop was. `ran_s`: for how long it ran.
    `lately`: stops that began in the last UNSTEADY_S. `busy_s`: for how long it has been moving without ever being
    empty.
    """

    arrivals_per_s: float = 0.0
    stops_s: tuple[float, ...] = ()
    ran_s: float = 0.0
    lately: int = 0
    busy_s: float = 0.0

    def stopped_s(self, wait_s: float) -> float:
        """How many seconds it may stop while it runs for `wait_s` seconds: nine times in ten it is less.

        Stops come by chance, as often as they did before (a compound Poisson process). For a wait as long as all that
        was seen, as much may happen again.
        """
        often = len(self.stops_s) * wait_s / (self.ran_s + wait_s) if self.stops_s else 0.0
        if 1 - math.exp(-often) <= LIKELY:
            return 0.0
        mean = sum(self.stops_s) / len(self.stops_s)
        square = sum(s * s for s in self.stops_s) / len(self.stops_s)
        return often * mean + DEVIATIONS * math.sqrt(often * square)


CALM = Course()


def lua_names() -> dict[str, str]:
    """How completions are counted, as the scripts write it (`SPAN.MS`), and what stands for it."""
    return {"SPAN.MS": str(SPAN_S * 1000), "SPAN.KEPT_S": str(SPAN_S * SPANS_KEPT)}


def per_minute(completed: Sequence[int], elapsed_s: float) -> float:
    """Orders completed a minute, over about the last minute.

    `completed`: counts by span, the running one first; `elapsed_s`: how much of that one is over.
    """
    spans = WINDOWS[1]
    return 60 * sum(completed[:spans]) / ((spans - 1) * SPAN_S + elapsed_s)


def per_second(completed: Sequence[int], elapsed_s: float) -> float | None:
    """Orders completed a second while something was completed; None where that is not known.

    Spans before the first completion are left out: the line stood still, or there was none.
    """
    for spans in WINDOWS:
        counts = completed[:spans]
        if sum(counts) >= ENOUGH or (spans == WINDOWS[-1] and sum(counts) >= LEAST):
            oldest = max(i for i, count in enumerate(counts) if count)
            # The oldest span began somewhere in its middle; of the running one that is not said.
            half = 0.5 if 0 < oldest < spans - 1 else 0.0
            window_s = elapsed_s + (oldest - half) * SPAN_S
            return sum(counts) / max(window_s, TURN_S)
    return None


def last_known(completed: Sequence[int]) -> float | None:
    """Orders completed a second in those spans that saw any, however long ago; None where there was none."""
    busy = [count for count in completed if count]
    return sum(busy) / (len(busy) * SPAN_S) if busy else None


def quantile(ascending: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, between the two that are nearest."""
    at = share * (len(ascending) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (at - below) * (ascending[above] - ascending[below])


def learnt(ratios: Sequence[float]) -> tuple[float, float]:
    """How far real waits lie from what the pace says, as factors for the near and the far end.

    `ratios`: real wait by middle, of the last ranges that no stop fell into.
    """
    known = sorted((*ratios, *PRIOR))
    near, far = quantile(known, BEFORE), quantile(known, 1 - AFTER)
    return min(max(near, NEAR[0]), NEAR[1]), min(max(far, FAR[0]), FAR[1])


NOTHING_LEARNT = learnt(())


@functools.lru_cache(maxsize=64)
def _rates(completed: tuple[int, ...], elapsed_s: float) -> tuple[float, float]:
    """Completed a second of late, and at best: the same for all orders that are looked at in one moment."""
    return per_second(completed, elapsed_s) or 0.0, max(completed[1:], default=0) / SPAN_S


@functools.lru_cache(maxsize=64)
def busy_per_second(completed: tuple[int, ...], elapsed_s: float, busy_s: float) -> float | None:
    """Orders completed a second while some waited all the time; None where too few were."""
    for spans in WINDOWS:
        whole = min(spans, 1 + int(max(busy_s - elapsed_s, 0.0) / SPAN_S))
        count = sum(completed[:whole])
        if count >= ENOUGH:
            return count / max(min(elapsed_s + (whole - 1) * SPAN_S, busy_s), TURN_S)
    return None


def estimate(
    place_after: Callable[[float], float],
    completed: tuple[int, ...],
    elapsed_s: float,
    *,
    capacity_per_s: float = 0.0,
    course: Course = CALM,
    spread: tuple[float, float] = NOTHING_LEARNT,
) -> Range | None:
    """When an order is done; None where that is not known.

    `place_after`: its place in line (1 = next), when so many others will have come. `capacity_per_s`: calls that the
    upstream's limit and round trip allow; few were completed where few were asked for. `spread`: see `learnt`.
    """
    seen_per_s, best_per_s = _rates(completed, elapsed_s)
    allowed_per_s = CAPACITY_SHARE * capacity_per_s
    busy_per_s = busy_per_second(completed, elapsed_s, course.busy_s)
    # What was completed before the line filled, or in its first moments, says little.
    told_per_s = 0.0 if 0 < course.busy_s < SPAN_S else seen_per_s
    rate = busy_per_s or max(told_per_s, allowed_per_s)
    if rate <= 0 or course.lately >= UNSTEADY:
        return None
    place = place_after(0)
    alone_s = wait_s = place / rate
    for _ in range(ROUNDS):
        before_s, wait_s = wait_s, min(place_after(course.arrivals_per_s * wait_s) / rate, RUSH_MAX * alone_s)
        if wait_s == before_s:
            break
    middle_s = TURN_S + wait_s
    near, far = spread
    latest_s = TURN_S + far * middle_s + course.stopped_s(wait_s)
    if latest_s > HORIZON_S:
        return None
    hoped_per_s = allowed_per_s if course.busy_s < RAMP_S else min(allowed_per_s, HOPE_MAX * rate)
    return Range(near * place / max(rate, BEST_SHARE * best_per_s, hoped_per_s), latest_s, middle_s)
