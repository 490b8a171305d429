"""How many go before an order, by the rules of fairness.py: offices take turns, the urgent before the rest. Pure.

Made once for a look at the queue and asked for many orders: how much all offices send in a number of rounds is a sum
over their lanes, kept as sums over the lanes in order of length, so that a question costs O(log offices).
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from antrean.orders.fairness import LEAST_WEIGHT, REST_SHARE, URGENT_MIN
from antrean.orders.score import minutes_until

#: So many groups of lanes that join the rest are told apart.
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
    """What offices send in a number of rounds: each as many as its weight allows, and no more than it has."""

    def __init__(self, lanes: Iterable[tuple[int, float]]) -> None:
        ordered = sorted((count / weight, count, weight) for count, weight in lanes if count)
        self._lengths = [length for length, _, _ in ordered]
        self._sent_out = [0, *itertools.accumulate(count for _, count, _ in ordered)]
        self._weights = [0.0, *itertools.accumulate(weight for _, _, weight in ordered)]
        self.total = self._sent_out[-1]

    def sent(self, rounds: float, growth: float = 1.0) -> float:
        """Orders sent in so many rounds, where every lane were `growth` times as long."""
        over = bisect.bisect_right(self._lengths, rounds / growth)
        return growth * self._sent_out[over] + rounds * (self._weights[-1] - self._weights[over])


@dataclass(frozen=True, slots=True)
class Spot:
    """Where one order stands: in which part of its lane, and how many of that part before it."""

    places: Places
    lane: LaneSize
    weight: float
    urgent: bool
    before: int

    @property
    def position(self) -> int:
        """From 1 = next, if nobody else came."""
        return int(self.after(0) + 1e-6)

    def after(self, come: float) -> float:
        """Its position, counted from now, when so many others will have come by the time it goes.

        They are shared out as those that wait are. What comes to its own lane goes behind it.
        """
        places = self.places
        growth = 1 + come / max(places.total, 1)
        rounds = self.before / self.weight
        if self.urgent:
            others = places.urgent.sent(rounds, growth) - min(self.before, growth * self.lane.urgent)
            place = self.before + 1 + others
            # Offices without an urgent order have their share beside, as far as it goes.
            return min(place / (1 - REST_SHARE), place + places.idle.total)
        others = places.rest.sent(rounds, growth) - min(self.before, growth * self.lane.rest)
        after_urgent = growth * places.urgent.total + self.before + 1 + others
        # Once its own lane has no urgent order left, it has a part in the turns that are kept for the rest.
        own_urgent = self.lane.urgent / self.weight
        joins_at = places.urgent.sent(own_urgent, growth)
        place = after_urgent
        for urgent, rest in places.rest_beside:
            if place <= places.urgent.sent(urgent, growth):
                break
            others = rest.sent(rounds)
            if own_urgent <= urgent:
                others -= min(self.before, self.lane.rest)
            place = joins_at + (self.before + 1 + others) / REST_SHARE
        return min(place, after_urgent)


@dataclass(frozen=True, slots=True)
class InOrder:
    """Where an order stands that nobody overtakes, as in the lane of stamps."""

    position: int

    def after(self, come: float) -> float:
        """Its position, whoever comes."""
        return self.position


class Places:
    """All lanes at one moment, `now_ms` by the server's clock."""

    def __init__(self, lanes: Mapping[str, LaneSize], weights: Mapping[str, float], now_ms: int) -> None:
        self._lanes = lanes
        self._weights = {office: max(weights.get(office, 1.0), LEAST_WEIGHT) for office in lanes}
        self._now_ms = now_ms
        pairs = [(lane, self._weights[office]) for office, lane in lanes.items()]
        self.urgent = _Rounds((lane.urgent, weight) for lane, weight in pairs)
        self.rest = _Rounds((lane.rest, weight) for lane, weight in pairs)
        #: Of the rest, what is in lanes without an urgent order: it goes beside the urgent ones.
        self.idle = _Rounds((lane.rest, weight) for lane, weight in pairs if not lane.urgent)
        #: Lanes with few urgent orders join them before long: the rest of all that have at most so many rounds of them.
        lengths = sorted({lane.urgent / weight for lane, weight in pairs if lane.urgent and lane.rest})
        steps = lengths[:: max(1, -(-len(lengths) // JOINING_MAX))]
        self.rest_beside = [(0.0, self.idle)] + [
            (most, _Rounds((lane.rest, weight) for lane, weight in pairs if lane.urgent / weight <= most))
            for most in steps
        ]
        self.total = self.urgent.total + self.rest.total

    def spot(self, office: str, rank: int, score: float) -> Spot:
        """Where the order with this score stands that is `rank`-th (from 0) in its office's lane."""
        lane = self._lanes.get(office, LaneSize(0, 0))
        due_in_min = minutes_until(score, self._now_ms)
        urgent = due_in_min is not None and due_in_min <= URGENT_MIN
        before = rank if urgent else max(rank - lane.urgent, 0)
        return Spot(self, lane, self._weights.get(office, 1.0), urgent, before)
