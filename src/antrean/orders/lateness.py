"""Who will miss a deadline at today's pace: from samples of every lane, and the pace. Pure.

Lanes are in order of deadline, then age. A long lane is sampled; each sample stands for the orders around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antrean.orders import eta
from antrean.orders.holding import PAUSED, PURCHASE_HOLDS, Outlook
from antrean.orders.place import Places
from antrean.orders.score import AGE_BITS, score_minute

#: Most samples of one lane, and about how many of all lanes together.
SAMPLES, SAMPLES_OF_ALL = 50, 1000
#: Where no pace is known, or the lane is held, an order that is due within this many ms counts as one that will miss.
BLIND_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Due:
    """An order with a deadline, `rank`-th (from 0) of its lane ('': that of stamps); it stands for `orders` like it."""

    id: str
    lane: str
    office: str
    rank: int
    deadline_ms: int
    orders: int = 1


@dataclass(frozen=True, slots=True)
class Miss:
    """One that will miss; `expected_ms` is None where no pace is known, or its lane stands still."""

    due: Due
    expected_ms: int | None


@dataclass(frozen=True, slots=True)
class Stopped:
    """Which lanes stand still just now."""

    purchases: bool = False
    stamps: bool = False


RUNNING = Stopped()
ALL_STOPPED = Stopped(purchases=True, stamps=True)


def stopped_lanes(outlook: Outlook) -> Stopped:
    """The lanes that a hold or a breaker keeps from moving."""
    holds = outlook.situation.holds
    paused = PAUSED in holds
    purchases = outlook.provider.holds or any(reason in holds for reason in PURCHASE_HOLDS)
    return Stopped(purchases=paused or purchases, stamps=paused or outlook.adapter.holds)


def misses(
    dues: Sequence[Due],
    places: Places,
    per_s: float | None,
    now_ms: int,
    stopped: Stopped = RUNNING,
) -> list[Miss]:
    """Those that will miss, the earliest deadline first. `per_s`: orders completed a second, None if not known.

    Of a lane that is held nobody knows when it moves again, whatever its pace was.
    """
    found = []
    for due in dues:
        if per_s is None or (stopped.purchases if due.lane else stopped.stamps):
            if due.deadline_ms < now_ms + BLIND_MS:
                found.append(Miss(due, None))
            continue
        place = due.rank + 1
        if due.lane:
            score = score_minute(due.deadline_ms) << AGE_BITS
            place = places.spot(due.lane, due.rank, score).position
        expected_ms = now_ms + int(1000 * (eta.TURN_S + place / per_s))
        if expected_ms > due.deadline_ms:
            found.append(Miss(due, expected_ms))
    return sorted(found, key=lambda miss: (miss.due.deadline_ms, miss.due.rank))
