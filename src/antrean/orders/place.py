"""How many go before an order, by the rules of fairness.py: offices take turns, the urgent before the rest. Pure.

Built once for a look at the queue and then asked about many orders. What all offices send in a number of rounds is a
sum over their lanes. It is kept as running sums over the lanes in order of length, so a question costs O(log
offices).
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from antrean.orders.fairness import LEAST_WEIGHT, NEXT_REST, NEXT_URGENT, REST_SHARE, URGENT_MIN
from antrean.orders.score import minutes_until

#: Lanes join the rest when their urgent orders are done. At most this many such moments are told apart.
JOINING_MAX = 6


@dataclass(frozen=True, slots=True)
class LaneSize:
    """Orders of an office that wait to be bought; of these, those that go before the rest."""

    waiting: int
    urgent: int

    @property
    def rest(self) -> int:
        """Those that are not urgent."""
        return self.waiting - self.urgent


class _Rounds:
    """What offices send in a number of rounds: in each round as many as their weight allows, while they have any.

    `lanes`: office, orders and weight, in order of name. `cursor`: the office whose turn it is, even if it has nothing
    left by now.
    """

    def __init__(self, lanes: Iterable[tuple[str, int, float]], cursor: str) -> None:
        found = [lane for lane in lanes if lane[1]]
        self._ring = [office for office, _, _ in found]
        self._start = bisect.bisect_left(self._ring, cursor)
        ordered = sorted((count / weight, count, weight) for _, count, weight in found)
        self._lengths = [length for length, _, _ in ordered]
        self._sent_out = [0, *itertools.accumulate(count for _, count, _ in ordered)]
        self._weights = [0.0, *itertools.accumulate(weight for _, _, weight in ordered)]
        self.total = self._sent_out[-1]
        self._shares: dict[str, float] = {}

    def sent(self, rounds: float, growth: float = 1.0) -> float:
        """Orders sent in `rounds` rounds if every lane was `growth` times as long."""
        over = bisect.bisect_right(self._lengths, rounds / growth)
        return growth * self._sent_out[over] + rounds * (self._weights[-1] - self._weights[over])

    def before(self, office: str, own: int, rank: int, weight: float, growth: float = 1.0) -> float:
        """Orders of others that go before the `rank`-th (from 0) of this office, which has `own` here.

        That is what the others send in all rounds before its own, and in its own round what those send whose turn
        comes first. For the first round this is exact; for later ones, offices that still have orders are assumed to
        be spread evenly over the ring.
        """
        if self.total == own:  # there are no others
            return 0.0
        done = max(math.ceil((rank + 1) / weight - 1e-9) - 1, 0)
        until = self.sent(done, growth) - min(growth * own, done * weight)
        after = self.sent(done + 1, growth) - min(growth * own, (done + 1) * weight)
        share = self._shares.get(office)
        if share is None:
            share = self._shares[office] = self._share_before(office)
        return until + share * (after - until)

    def _share_before(self, office: str) -> float:
        """Of the others in the ring, the share whose turn in a round comes before this office's."""
        count, at = len(self._ring), bisect.bisect_left(self._ring, office)
        others = count - (at < count and self._ring[at] == office)
        return ((at - self._start) % count) / others if others else 0.0


@dataclass(slots=True)
class Spot:
    """Where one order stands: in which part of its lane, and how many of that part before it."""

    places: Places
    office: str
    lane: LaneSize
    weight: float
    urgent: bool
    before: int
    #: Worked out at the first look that needs it: those who come change nothing in it.
    _beside: list[tuple[float, float]] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def position(self) -> int:
        """From 1 = next, if nobody else came."""
        return int(self.after(0) + 1e-6)

    def after(self, come: float) -> float:
        """Its position, counted from now, if `come` other orders arrive before its turn.

        They are assumed to be spread over the lanes as the waiting ones are. What comes to its own lane goes behind it.
        """
        places = self.places
        growth = 1 + come / max(places.total, 1)
        if self.urgent:
            place = self.before + 1 + self._others(places.urgent, self.lane.urgent, growth)
            # Offices without an urgent order get their share of the slots meanwhile, as long as they have orders.
            return min(place / (1 - REST_SHARE), place + places.idle.total)
        others = self._others(places.rest, self.lane.rest, growth)
        if not places.urgent.total:
            return self.before + 1 + others
        after_urgent = growth * places.urgent.total + self.before + 1 + others
        # Once its own lane has no urgent order left, it gets a part of the turns that are kept for the rest.
        own_urgent = self.lane.urgent / self.weight
        joins_at = places.urgent.sent(own_urgent, growth)
        place = after_urgent
        if self._beside is None:
            self._beside = self._turns_beside(own_urgent)
        for rounds, turns in self._beside:
            if place <= places.urgent.sent(rounds, growth):
                break
            place = joins_at + turns
        return min(place, after_urgent)

    def _turns_beside(self, own_urgent: float) -> list[tuple[float, float]]:
        """For each moment at which lanes join the rest (in rounds of the urgent): how many turns until its own, if
        it is served beside the urgent from then on."""
        found = []
        for rounds, rest in self.places.rest_beside:
            own = self.lane.rest if own_urgent <= rounds else 0
            if rounds:
                # An office that has joined by then gets no turn in the round that is under way.
                others = rest.sent(self.before / self.weight) - min(self.before, own)
            else:
                others = self._others(rest, own)
            found.append((rounds, (self.before + 1 + others) / REST_SHARE))
        return found

    def _others(self, rounds: _Rounds, own: int, growth: float = 1.0) -> float:
        return rounds.before(self.office, own, self.before, self.weight, growth)


@dataclass(frozen=True, slots=True)
class InOrder:
    """Where an order stands in a lane in which nobody overtakes, such as that of stamps."""

    position: int

    def after(self, come: float) -> float:
        """Its position, whoever comes."""
        return self.position


class Places:
    """All lanes at one moment, `now_ms` by the server's clock; `state`: whose turn it is, as fairness.py keeps it."""

    def __init__(
        self,
        lanes: Mapping[str, LaneSize],
        weights: Mapping[str, float],
        now_ms: int,
        state: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._lanes = lanes
        self._weights = {office: max(weights.get(office, 1.0), LEAST_WEIGHT) for office in lanes}
        self._now_ms = now_ms
        all_lanes = [(office, lane, self._weights[office]) for office, lane in sorted(lanes.items())]
        next_urgent, next_rest = state.get(NEXT_URGENT, ""), state.get(NEXT_REST, "")
        self.urgent = _Rounds(((o, lane.urgent, weight) for o, lane, weight in all_lanes), next_urgent)
        self.rest = _Rounds(((o, lane.rest, weight) for o, lane, weight in all_lanes), next_rest)
        #: The part of the rest in lanes without an urgent order: it is served beside the urgent ones from now on.
        self.idle = _Rounds(
            ((o, lane.rest, weight) for o, lane, weight in all_lanes if not lane.urgent), next_rest
        )
        #: Lanes with few urgent orders join these soon: for some numbers of rounds, the rest of all lanes whose urgent
        #: orders are done by then.
        lengths = sorted({lane.urgent / weight for _, lane, weight in all_lanes if lane.urgent and lane.rest})
        steps = lengths[:: max(1, -(-len(lengths) // JOINING_MAX))]
        self.rest_beside = [(0.0, self.idle)] + [
            (
                most,
                _Rounds(
                    ((o, lane.rest, weight) for o, lane, weight in all_lanes if lane.urgent / weight <= most),
                    next_rest,
                ),
            )
            for most in steps
        ]
        self.total = self.urgent.total + self.rest.total

    def spot(self, office: str, rank: int, score: float) -> Spot:
        """Where the order with this score stands that is `rank`-th (from 0) in its office's lane."""
        lane = self._lanes.get(office, LaneSize(0, 0))
        due_in_min = minutes_until(score, self._now_ms)
        urgent = due_in_min is not None and due_in_min <= URGENT_MIN
        before = rank if urgent else max(rank - lane.urgent, 0)
        return Spot(self, office, lane, self._weights.get(office, 1.0), urgent, before)
