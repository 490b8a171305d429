"""How long until it is somebody's turn: a range from what was completed lately, or nothing. Pure.

Unknown is said, never guessed: without enough completions, and without an upstream whose answers were timed, there is
no estimate. How wide the range is was learnt from the ranges given before (`Promise` in promises.py): the middle of
the range times what the real waits turned out to be of theirs, from the lowest tenth to the highest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Length of one span in which completions are counted, in seconds, and how many are looked at: 5 minutes.
SPAN_S = 10
SPANS = 30
#: The last spans are used that together saw enough completions; with fewer than LEAST in all spans: none.
WINDOWS = (2, 6, SPANS)
ENOUGH = 20
LEAST = 3
#: An order takes at least about this long once it is its turn, in seconds.
TURN_S = 1.0
#: An estimate beyond this, in seconds, says nothing.
HORIZON_S = 7 * 24 * 3600
#: Real waits as shares of the middle of their range, before any is known; they count as so many among the real ones.
PRIOR = (0.55, 0.7, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.2, 1.35, 1.7)
#: Shares of the earlier waits that ended before the range, and after it. Eight of ten of the next ones are to fall
#: inside; a pace that wanders puts more of them outside than the earlier ones tell.
BEFORE, AFTER = 0.07, 0.07
#: What is reached of the calls in flight divided by their unloaded round trip.
CAPACITY_SHARE = 0.7


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds from now; `middle_s` is what the range was made around."""

    earliest_s: float
    latest_s: float
    middle_s: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """What the upstream's limits allow just now: calls in flight, and by their unloaded round trips the purchases and
    stamps a second (0: no answer was timed yet, or nothing may be sent)."""

    limit: int = 0
    purchases_per_s: float = 0.0
    stamps_per_s: float = 0.0

    def per_s(self, *, stamped: bool) -> float:
        """Orders a second: one that is stamped passes both limits. 0 where it is not known."""
        return min(self.purchases_per_s, self.stamps_per_s) if stamped else self.purchases_per_s


NOT_KNOWN = Throughput()


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
            # The oldest span began somewhere in its middle.
            window_s = elapsed_s + (oldest - 0.5 if oldest < spans - 1 else oldest) * SPAN_S
            return sum(counts) / max(window_s, TURN_S)
    return None


def last_known(completed: Sequence[int]) -> float | None:
    """Orders completed a second in those spans that saw any, however long ago; None where there was none."""
    busy = [count for count in completed if count]
    return sum(busy) / (len(busy) * SPAN_S) if busy else None


def estimate(
    position: int,
    completed: Sequence[int],
    elapsed_s: float,
    *,
    capacity_per_s: float = 0.0,
    ratios: Sequence[float] = (),
) -> Range | None:
    """When the order at `position` (1 = next) is done, if things go on as lately; None where that is not known.

    `capacity_per_s`: calls that the upstream's limit and round trip allow; few were completed where few were
    asked for. `ratios`: of the last ranges, real wait by middle.
    """
    rate = max(per_second(completed, elapsed_s) or 0.0, CAPACITY_SHARE * capacity_per_s)
    if rate <= 0:
        return None
    middle_s = TURN_S + position / rate
    known = sorted((*ratios, *PRIOR))
    latest_s = TURN_S + middle_s * quantile(known, 1 - AFTER)
    if latest_s > HORIZON_S:
        return None
    return Range(middle_s * quantile(known, BEFORE), latest_s, middle_s)


def quantile(ascending: Sequence[float], share: float) -> float:
    """The value below which `share` of the values lie, between the two that are nearest."""
    at = share * (len(ascending) - 1)
    below = math.floor(at)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (at - below) * (ascending[above] - ascending[below])


def place_in_line(rank: int, office: str, waiting: Mapping[str, int], weights: Mapping[str, float]) -> int:
    """Position (1 = next) of an order that is `rank`-th (from 0) in its office, when offices take turns.

    Until its turn comes, every other office gets its fair share: as many orders as it has waiting, but no more
    than its weight allows while `rank` orders of this office go.
    """
    own = max(weights.get(office, 1.0), 0.01)
    ahead = sum(
        min(count, int(rank * max(weights.get(other, 1.0), 0.01) / own))
        for other, count in waiting.items()
        if other != office
    )
    return rank + 1 + ahead
