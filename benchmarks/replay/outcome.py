"""What came of one run, as it is written to a file and read by the report."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True)
class OrderOutcome:
    """One order. Times in seconds from the start; None: it did not come to that."""

    number: int
    office: str
    kind: str
    arrived_s: float
    due_s: float | None
    accepted_s: float | None = None
    done_s: float | None = None


@dataclass(slots=True)
class Sample:
    """How things stood at one moment."""

    at_s: float
    waiting: int
    done: int
    held: int = 0
    in_flight: int = 0
    limit: int = 0
    breaker: str = ""


@dataclass(slots=True)
class Promise:
    """A time range that was shown, and when the order was really done."""

    shown_s: float
    earliest_s: float
    latest_s: float
    done_s: float
    at_acceptance: bool
    position: int


@dataclass(slots=True)
class Outcome:
    """One contender's run."""

    name: str
    seed: int
    span_s: float
    full_per_s: float
    half_per_s: float
    date: str
    cores: int
    orders: list[OrderOutcome]
    #: When each phase really began, its name and its health.
    phases: list[tuple[float, str, str]] = field(default_factory=list)
    kills: list[tuple[float, str]] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    promises: list[Promise] = field(default_factory=list)
    #: Times looked at in which no range was shown.
    no_promise: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    fault_hits: dict[str, int] = field(default_factory=dict)
    end_s: float = 0.0

    def write(self, path: Path) -> None:
        """Keep it as JSON."""
        path.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Outcome:
        """Raises OSError where there is none."""
        raw: dict[str, Any] = json.loads(path.read_text())
        raw["orders"] = [OrderOutcome(**o) for o in raw["orders"]]
        raw["samples"] = [Sample(**s) for s in raw["samples"]]
        raw["promises"] = [Promise(**p) for p in raw["promises"]]
        raw["phases"] = [tuple(p) for p in raw["phases"]]
        raw["kills"] = [tuple(k) for k in raw["kills"]]
        return cls(**raw)
