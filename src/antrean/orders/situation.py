"""One look at the queue: lanes, counts and holds. Pure: made from the answer of `peek.lua`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import orjson

from antrean.orders.place import LaneSize, Places
from antrean.orders.states import State


@dataclass(frozen=True, slots=True)
class Hold:
    """Why nothing moves, since when, and who said so where a person did."""

    reason: str
    since_ms: int
    text: str = ""
    actor: str = ""


@dataclass(frozen=True, slots=True)
class OfficeLane(LaneSize):
    """The score of the first order, beside how many there are."""

    head_score: float


@dataclass(frozen=True, slots=True)
class Situation:
    """The queue at `now_ms` (server's clock); all sizes are counts of orders."""

    now_ms: int
    fetch: int
    stamp: int
    dispatched: int
    claimed: int
    #: Of the dispatched and claimed ones: those to be stamped.
    stamp_load: int
    #: Of the claimed ones: those whose worker has gone silent; and of these: those to be stamped.
    stranded: int
    stranded_stamps: int
    later: int
    unknown: int
    holds: dict[str, Hold]
    fairness: dict[str, str]
    weights: dict[str, float]
    by_state: dict[State, int]
    open: int
    offices: dict[str, OfficeLane]

    def places(self) -> Places:
        """Who goes before whom, as things stand."""
        return Places(self.offices, self.weights, self.now_ms, self.fairness)

    @property
    def buying(self) -> int:
        """Orders under way that are bought or get their picture, but for those in the hands of a silent worker."""
        return self.dispatched + self.claimed - self.stranded - self.stamping

    @property
    def stamping(self) -> int:
        """Orders under way that are stamped, but for those in the hands of a silent worker."""
        return self.stamp_load - self.stranded_stamps

    @property
    def buy(self) -> int:
        """Orders of all offices that wait to be bought."""
        return sum(o.waiting for o in self.offices.values())

    @classmethod
    def from_answer(cls, answer: list[Any]) -> Self:
        """Read the answer of peek.lua."""
        now, fetch, stamp, dispatched, claimed, stamp_load, *rest = answer
        stranded, stranded_stamps, later, unknown, *maps, offices = rest
        holds, fairness, weights, counts = (_pairs(m) for m in maps)
        return cls(
            now_ms=int(now),
            fetch=fetch,
            stamp=stamp,
            dispatched=dispatched,
            claimed=claimed,
            stamp_load=stamp_load,
            stranded=stranded,
            stranded_stamps=stranded_stamps,
            later=later,
            unknown=unknown,
            holds={reason: Hold(reason=reason, **orjson.loads(text)) for reason, text in holds.items()},
            fairness=fairness,
            weights={office: float(w) for office, w in weights.items()},
            by_state={s: int(counts.get(s, 0)) for s in State},
            open=int(counts.get("open", 0)),
            offices={
                offices[i].decode(): OfficeLane(
                    int(offices[i + 1]), int(offices[i + 2]), float(offices[i + 3])
                )
                for i in range(0, len(offices), 4)
            },
        )


def _pairs(flat: list[bytes]) -> dict[str, str]:
    return {flat[i].decode(): flat[i + 1].decode() for i in range(0, len(flat), 2)}
