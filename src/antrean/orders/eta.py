"""How long until it is somebody's turn: a range from what was completed lately, or nothing. Pure.

Unknown is said, never guessed: without enough completions there is no estimate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Length of one span in which completions are counted, in seconds, and how many are looked at: 5 minutes.
SPAN_S = 10
SPANS = 30
#: The last minute alone is used when it saw this many completions; else all spans; with fewer in all: no estimate.
SHORT_SPANS = 6
SHORT_LEAST = 20
LEAST = 3
#: An order takes at least about this long once it is its turn, in seconds.
TURN_S = 1.0
#: An estimate beyond this, in seconds, says nothing.
HORIZON_S = 7 * 24 * 3600


@dataclass(frozen=True, slots=True)
class Range:
    """Seconds from now."""

    earliest_s: float
    latest_s: float


def per_minute(completed: Sequence[int], elapsed_s: float) -> float:
    """Orders completed a minute, over about the last minute.

    `completed`: counts by span, the running one first; `elapsed_s`: how much of that one is over.
    """
    return 60 * sum(completed[:SHORT_SPANS]) / ((SHORT_SPANS - 1) * SPAN_S + elapsed_s)


def estimate(position: int, completed: Sequence[int], elapsed_s: float) -> Range | None:
    """When the order at `position` (1 = next) is done, if things go on as lately; None where that is not known.

    Completions are taken as independent events: n of them in a time T tell a rate of (n ± 2·√n) / T, which is
    what makes the range.
    """
    for spans, least in ((SHORT_SPANS, SHORT_LEAST), (SPANS, LEAST)):
        done = sum(completed[:spans])
        if done >= least:
            window_s = (spans - 1) * SPAN_S + elapsed_s
            spread = 2 * math.sqrt(done)
            latest_s = TURN_S + position * window_s / max(done - spread, done / 4)
            if latest_s > HORIZON_S:
                return None
            return Range(TURN_S + position * window_s / (done + spread), latest_s)
    return None


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
