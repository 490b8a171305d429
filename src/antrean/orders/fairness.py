"""Who is next: deficit round robin among offices, the urgent before the rest, nobody starved. Pure.

Inside an office the lane is in order of deadline, then age. Among offices each gets its weight in turn, so that
an office with 5,000 orders does not starve one with 5 (Shreedhar and Varghese, "Efficient Fair Queuing using
Deficit Round Robin", 1995; every order costs 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: Orders due within this many minutes, or late, go before all others ...
URGENT_MIN = 24 * 60
#: ... but for this share of the slots, which keeps those without a deadline moving.
REST_SHARE = 0.1
#: The least weight of an office, so that it has its turn some day.
LEAST_WEIGHT = 0.01
#: Fields of the fairness state beside the offices' deficits: where the next round of each ring starts, and the
#: part of a slot that is owed to the rest.
NEXT_URGENT, NEXT_REST, OWED = "@urgent", "@next", "@owed"


@dataclass(frozen=True, slots=True)
class Lane:
    """One office's lane: orders waiting, and when its first is due, in minutes from now (None: no deadline)."""

    waiting: int
    due_in_min: float | None


@dataclass(frozen=True, slots=True)
class Plan:
    """How many to take from each office, in that order, and the state to keep for the next plan."""

    take: tuple[tuple[str, int], ...]
    state: dict[str, str]


def plan(
    lanes: Mapping[str, Lane], weights: Mapping[str, float], state: Mapping[str, str], slots: int
) -> Plan:
    """Share `slots` among the offices with something waiting.

    `weights`: an office's share relative to 1; `state`: what the previous plan left behind.
    """
    deficits = {o: float(d) for o, d in state.items() if o in lanes}
    urgent = {
        o: lane for o, lane in lanes.items() if lane.due_in_min is not None and lane.due_in_min <= URGENT_MIN
    }
    rest = {o: lane for o, lane in lanes.items() if o not in urgent}
    # What is owed is carried on, so that a single slot at a time is shared as well.
    owed = float(state.get(OWED, 0)) + (slots * REST_SHARE if urgent and rest else 0.0)
    for_rest = min(int(owed), slots) if rest else 0
    taken: dict[str, int] = {}
    left, next_urgent = _round_robin(
        urgent, weights, deficits, taken, slots - for_rest, state.get(NEXT_URGENT, "")
    )
    left, next_rest = _round_robin(rest, weights, deficits, taken, left + for_rest, state.get(NEXT_REST, ""))
    if left:
        _, next_urgent = _round_robin(urgent, weights, deficits, taken, left, next_urgent)
    kept = {o: f"{d:g}" for o, d in deficits.items() if d > 0 and taken.get(o, 0) < lanes[o].waiting}
    kept |= {NEXT_URGENT: next_urgent, NEXT_REST: next_rest, OWED: f"{min(owed - for_rest, 1.0):g}"}
    return Plan(tuple(taken.items()), kept)


def _round_robin(
    lanes: Mapping[str, Lane],
    weights: Mapping[str, float],
    deficits: dict[str, float],
    taken: dict[str, int],
    slots: int,
    cursor: str,
) -> tuple[int, str]:
    """Serve rounds until slots or orders are used up; answers the slots left and the office next in turn."""
    ring = sorted(o for o, lane in lanes.items() if lane.waiting > taken.get(o, 0))
    start = next((i for i, o in enumerate(ring) if o >= cursor), 0)
    ring = ring[start:] + ring[:start]
    while slots > 0 and ring:
        office = ring.pop(0)
        weight = max(weights.get(office, 1.0), LEAST_WEIGHT)
        if deficits.get(office, 0.0) < 1:
            deficits[office] = deficits.get(office, 0.0) + weight
        serve = min(int(deficits[office]), lanes[office].waiting - taken.get(office, 0), slots)
        if serve:
            taken[office] = taken.get(office, 0) + serve
            deficits[office] -= serve
            slots -= serve
        if taken.get(office, 0) >= lanes[office].waiting:
            deficits.pop(office, None)
            cursor = ring[0] if ring else ""
        elif deficits[office] >= 1:
            # Its turn is not over, only the slots are: it goes on at the next plan.
            return slots, office
        else:
            ring.append(office)
            cursor = ring[0]
    return slots, cursor
