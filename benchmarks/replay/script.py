"""What happens in a replay, drawn by a seed: arrivals, the upstream's health, kills. Pure."""

from __future__ import annotations

import bisect
import itertools
import random
from dataclasses import dataclass, field
from typing import Any, Final, Literal

OFFICES: Final = 40
#: One call of generate takes this long at a healthy upstream, a stamp that long, in seconds.
GENERATE_S: Final = 0.25
STAMP_S: Final = 0.12
#: Share of orders that are stamped on a PDF as well.
AFFIX_SHARE: Final = 0.1
#: The full capacity is such that all orders take this share of the span.
WORK_SHARE: Final = 0.55
#: Share of generate calls whose answer is lost, and late, in the phase "lost".
LOST_RATE: Final = 0.2
LATE_RATE: Final = 0.05

Health = Literal["up", "half", "down"]

#: Share of the span at which each phase begins.
_PHASES: Final[tuple[tuple[float, str], ...]] = (
    (0.00, "up"),
    (0.08, "hang"),
    (0.14, "down"),
    (0.28, "half"),
    *((0.36 + 0.01 * n, "down" if n % 2 else "up") for n in range(8)),
    (0.44, "lost"),
    (0.52, "refuse"),
    (0.64, "fragile"),
    (0.76, "up"),
    (0.80, "lost"),
    (0.85, "up"),
)
_KILLS: Final[tuple[tuple[float, str], ...]] = (
    (0.20, "worker"),
    (0.31, "worker"),
    (0.40, "gateway"),
    (0.48, "worker"),
    (0.70, "valkey"),
    (0.82, "worker"),
)
#: Arrivals a moment relative to an ordinary day: from each share of the span on.
_SURGE: Final[tuple[tuple[float, float], ...]] = (
    (0.00, 1.0),
    (0.05, 25.0),
    (0.10, 50.0),
    (0.33, 38.0),
    (0.42, 50.0),
    (0.66, 30.0),
    (0.74, 50.0),
    (0.80, 12.0),
    (0.88, 1.0),
    (0.92, 0.0),
)
#: When most orders are due at first, and after the deadline was moved; and when that is told, as shares of the span.
_DUE: Final = 0.75
_DUE_MOVED: Final = 1.0
_MOVED_AT: Final = 0.60


@dataclass(frozen=True, slots=True)
class Phase:
    """From `at_s` on, this is how the upstream is."""

    at_s: float
    name: str

    @property
    def health(self) -> Health:
        """Whether it does its work."""
        if self.name in ("hang", "down", "refuse"):
            return "down"
        return "half" if self.name in ("half", "fragile") else "up"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Somebody comes to a counter. Times in seconds from the start."""

    number: int
    at_s: float
    office: int
    kind: Literal["purchase", "affix"]
    #: "exam": the date that is moved; "soon": one of its own, before that; None: whenever.
    due: Literal["exam", "soon"] | None

    @property
    def office_name(self) -> str:
        """As the terminal's key has it."""
        return f"KPC-{self.office:02d}"


@dataclass(frozen=True, slots=True)
class Script:
    """One replay. `span_s`: the three days, in seconds."""

    seed: int
    span_s: float
    arrivals: tuple[Arrival, ...]
    phases: tuple[Phase, ...]
    kills: tuple[tuple[float, str], ...]
    #: Calls of generate that the upstream bears at once when it is well.
    room: int
    started_at: float = field(default=0.0)

    @property
    def full_per_s(self) -> float:
        """Purchases a second of a healthy upstream."""
        return self.room / GENERATE_S

    @property
    def half_room(self) -> int:
        """Room at half capacity."""
        return max(1, self.room // 2)

    @property
    def moved_at_s(self) -> float:
        """When the date is moved."""
        return _MOVED_AT * self.span_s

    def exam_due_at(self, *, moved: bool) -> float:
        """The date as Unix time: on a full minute, as deadlines are kept."""
        return _next_minute(self.started_at + (_DUE_MOVED if moved else _DUE) * self.span_s)

    def due_at(self, arrival: Arrival, *, moved: bool) -> float | None:
        """When an arrival is due, as Unix time."""
        if arrival.due == "soon":
            soon = _next_minute(self.started_at + arrival.at_s + 0.15 * self.span_s)
            return min(soon, self.exam_due_at(moved=False) - 60)
        return self.exam_due_at(moved=moved) if arrival.due else None

    def faults(self, phase: Phase) -> list[dict[str, Any]]:
        """What to switch on at the simulator: its capacity always, and what the phase adds."""
        room = self.half_room if phase.health == "half" else self.room
        fragile = phase.name == "fragile"
        capacity = {"kind": "capacity", "scope": ["generate"], "max_in_flight": room}
        if fragile:
            capacity |= {"collapse": True, "collapse_s": max(1.0, 0.01 * self.span_s)}
        base: list[dict[str, Any]] = [
            capacity,
            {"kind": "slow", "scope": ["generate"], "delay_s": GENERATE_S},
            {"kind": "slow", "scope": ["stamp"], "delay_s": STAMP_S},
        ]
        if fragile:
            base.append({"kind": "one_slot"})
        match phase.name:
            case "hang" | "down" | "refuse":
                base.append({"kind": phase.name, "scope": "*"})
            case "lost":
                base += [
                    {"kind": "lost_answer", "scope": ["generate"], "rate": LOST_RATE},
                    {"kind": "late_answer", "scope": ["generate"], "rate": LATE_RATE, "delay_s": 5},
                ]
        return base


def write_script(seed: int, span_s: float, orders: int) -> Script:
    """Draw a replay of about that many orders."""
    rng = random.Random(seed)
    # Few offices are large: the weights fall off as 1/rank, and the order of offices is by lot.
    weights = [1 / (rank + 1) ** 0.7 for rank in range(OFFICES)]
    rng.shuffle(weights)
    arrivals = []
    for number, share in enumerate(sorted(_moments(rng, orders))):
        due = rng.choices(("exam", "soon", None), (0.6, 0.15, 0.25))[0]
        arrivals.append(
            Arrival(
                number,
                share * span_s,
                rng.choices(range(OFFICES), weights)[0],
                "affix" if rng.random() < AFFIX_SHARE else "purchase",
                due,  # type: ignore[arg-type] # one of the three words above
            )
        )
    return Script(
        seed,
        span_s,
        tuple(arrivals),
        tuple(Phase(share * span_s, name) for share, name in _PHASES),
        tuple((share * span_s, what) for share, what in _KILLS),
        max(2, round(orders / (WORK_SHARE * span_s) * GENERATE_S)),
    )


def _moments(rng: random.Random, count: int) -> list[float]:
    """Shares of the span at which somebody comes, drawn after the surge's curve."""
    spans = [
        (start, end, rate * (end - start))
        for (start, rate), (end, _) in itertools.pairwise([*_SURGE, (1.0, 0.0)])
    ]
    edges = list(itertools.accumulate(weight for _, _, weight in spans))
    moments = []
    for _ in range(count):
        start, end, _ = spans[min(bisect.bisect(edges, rng.uniform(0, edges[-1])), len(spans) - 1)]
        moments.append(rng.uniform(start, end))
    return moments


def _next_minute(at: float) -> float:
    return float(-(-at // 60) * 60)
