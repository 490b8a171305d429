"""The table of faults that are switched on. Pure: clock and randomness are passed in; nothing here waits or answers.

before the call is carried out   refuse · down · hang · error · garbage · retry_after · capacity · one_slot · slow
in its outcome                   quota_end · reject · sn_unusable · list_lag
after it was carried out         lost_answer · late_answer · half_json, and error and garbage with `commit`
at once, then gone               token_end · balance_drift
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from antrean.simulator.calls import CALL_KINDS
from antrean.simulator.capacity import Capacity

#: Faults in the table at once.
FAULTS_MAX: Final = 64
#: Longest time a fault may be given, in seconds (a week).
DURATION_MAX_S: Final = 7 * 86_400.0
#: Longest single delay, in seconds.
DELAY_MAX_S: Final = 3_600.0

#: Kinds under which a covered call never gets an answer of the server itself.
OUTAGE_KINDS: Final = frozenset({"down", "refuse", "hang"})
#: Kinds that act once, when added, and are not kept.
INSTANT_KINDS: Final = frozenset({"token_end", "balance_drift"})


class FaultInvalid(ValueError):
    """A fault that cannot be switched on; the message says why."""


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter of a kind of fault: its type, its default (None: optional), and its bounds or choices."""

    type: type
    default: Any
    low: float = 0.0
    high: float = DELAY_MAX_S
    choices: tuple[str, ...] = ()

    def read(self, name: str, value: Any) -> Any:
        """The value, checked. Raises FaultInvalid."""
        if value is None and self.default is None:
            return None
        if self.type is bool or self.type is str:
            if not isinstance(value, self.type):
                raise FaultInvalid(f"{name}: must be {'true or false' if self.type is bool else 'text'}")
            if self.choices and value not in self.choices:
                raise FaultInvalid(f"{name}: must be one of {', '.join(self.choices)}")
            if isinstance(value, str) and len(value) > self.high:
                raise FaultInvalid(f"{name}: at most {self.high:.0f} characters")
            return value
        return self.type(number(name, value, self.low, self.high, whole=self.type is int))


def number(name: str, value: Any, low: float, high: float, *, whole: bool = False) -> float:
    """A finite number within bounds. Raises FaultInvalid."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise FaultInvalid(f"{name}: must be a number")
    if whole and value != int(value):
        raise FaultInvalid(f"{name}: must be a whole number")
    if not low <= value <= high:
        raise FaultInvalid(f"{name}: must lie between {low:g} and {high:g}")
    return value


_DELAY: Final = Param(float, 5.0)
_STATUS: Final = Param(int, 500, 400, 599)

#: Every kind of fault with its parameters.
FAULT_PARAMS: Final[Mapping[str, Mapping[str, Param]]] = MappingProxyType(
    {
        "down": {"retry_after_s": Param(int, None)},
        "refuse": {},
        "hang": {"bound_s": Param(float, 600.0, 0.0, DELAY_MAX_S)},
        "slow": {"delay_s": _DELAY, "spread": Param(float, 0.0, 0.0, 1.0)},
        "error": {"status": _STATUS, "commit": Param(bool, False)},
        "lost_answer": {},
        "late_answer": {"delay_s": _DELAY},
        "garbage": {"commit": Param(bool, False)},
        "half_json": {"commit": Param(bool, True)},
        "quota_end": {},
        "token_end": {},
        "capacity": {
            "max_in_flight": Param(int, None, 1, 100_000),
            "per_s": Param(float, None, 0.1, 50_000),
            "over": Param(str, "503", high=8, choices=("503", "slow")),
            "delay_s": _DELAY,
            "collapse": Param(bool, False),
            "collapse_s": Param(float, 10.0),
        },
        "one_slot": {"code": Param(str, None, high=16)},
        "retry_after": {
            "retry_after_s": Param(int, 5),
            "status": Param(int, 429, 400, 599),
        },
        "sn_unusable": {"code": Param(str, "97", high=2, choices=("97", "92"))},
        "reject": {
            "code": Param(str, "14", high=16),
            "message": Param(str, "Dokumen ditolak", high=500),
        },
        "list_lag": {"lag_s": Param(float, 60.0, 0.0, 86_400.0)},
        "balance_drift": {"count": Param(int, 1, -1_000_000, 1_000_000)},
    }
)

_SCOPE_DEFAULTS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "quota_end": ("generate", "batch"),
        "one_slot": ("stamp",),
        "sn_unusable": ("stamp", "cloud_stamp"),
        "reject": ("generate",),
        "list_lag": ("sn_list",),
    }
)


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A fault as it was asked for. `rate`: share of the calls in scope that it befalls."""

    kind: str
    scope: frozenset[str]
    rate: float = 1.0
    duration_s: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


def parse_fault(raw: object) -> FaultSpec:
    """Read a fault from JSON. Raises FaultInvalid."""
    if not isinstance(raw, dict):
        raise FaultInvalid("a fault must be an object")
    given = dict(raw)
    kind = given.pop("kind", None)
    if not isinstance(kind, str) or kind not in FAULT_PARAMS:
        raise FaultInvalid(f"kind: must be one of {', '.join(FAULT_PARAMS)}")
    scope = _read_scope(given.pop("scope", None), kind)
    rate = number("rate", given.pop("rate", 1.0), 0.0, 1.0)
    duration = given.pop("duration_s", None)
    if duration is not None:
        duration = number("duration_s", duration, 0.0, DURATION_MAX_S)
    known = FAULT_PARAMS[kind]
    unknown = sorted(set(map(str, given)) - set(known))
    if unknown:
        raise FaultInvalid(f"{kind} knows no {', '.join(unknown)[:200]}")
    params = {name: param.read(name, given.get(name, param.default)) for name, param in known.items()}
    if kind == "capacity" and params["max_in_flight"] is None and params["per_s"] is None:
        raise FaultInvalid("capacity needs max_in_flight or per_s")
    return FaultSpec(kind, scope, rate, duration, MappingProxyType(params))


def _read_scope(raw: object, kind: str) -> frozenset[str]:
    if raw is None:
        return frozenset(_SCOPE_DEFAULTS.get(kind, CALL_KINDS))
    names = [raw] if isinstance(raw, str) else raw
    if not isinstance(names, list) or not names:
        raise FaultInvalid('scope: must be "*" or a list of kinds of calls')
    if "*" in names:
        return frozenset(CALL_KINDS)
    for name in names:
        if name not in CALL_KINDS:
            raise FaultInvalid(f"scope: must be of {', '.join(CALL_KINDS)}")
    return frozenset(names)


@dataclass(slots=True, eq=False)
class Fault:
    """A fault that is switched on. `hits` counts the calls that it changed."""

    id: str
    spec: FaultSpec
    since: float
    expires_at: float | None
    capacity: Capacity | None
    hits: int = 0

    def describe(self) -> dict[str, Any]:
        """The fault as JSON."""
        spec = self.spec
        return {
            "id": self.id,
            "kind": spec.kind,
            "scope": "*" if len(spec.scope) == len(CALL_KINDS) else sorted(spec.scope),
            "rate": spec.rate,
            "duration_s": spec.duration_s,
            "since": self.since,
            "expires_at": self.expires_at,
            "hits": self.hits,
            **spec.params,
        }


class Drawn:
    """The faults that befall one call."""

    def __init__(self, faults: Sequence[Fault], count_hit: Callable[[Fault], None]) -> None:
        self.faults = faults
        self._count_hit = count_hit

    def hit(self, fault: Fault) -> None:
        """Note that the fault changed this call."""
        self._count_hit(fault)

    def take(self, kind: str) -> Mapping[str, Any] | None:
        """Parameters of the first fault of that kind, counted as a hit; None where there is none."""
        for fault in self.faults:
            if fault.spec.kind == kind:
                self.hit(fault)
                return fault.spec.params
        return None


class FaultTable:
    """The faults in force, in the order they were added. `clock`: seconds; `rng` decides rates, so a seed repeats."""

    def __init__(self, clock: Callable[[], float], rng: random.Random) -> None:
        self._clock = clock
        self._rng = rng
        self._faults: dict[str, Fault] = {}
        self._next_id = 1
        self.hits: Counter[str] = Counter()

    def active(self) -> list[Fault]:
        """The faults in force; those past their time are dropped."""
        now = self._clock()
        for fault in [f for f in self._faults.values() if f.expires_at is not None and f.expires_at <= now]:
            del self._faults[fault.id]
        return list(self._faults.values())

    def is_active(self, fault: Fault) -> bool:
        """Whether this very fault is still in force."""
        return fault in self.active()

    def add(self, spec: FaultSpec) -> Fault:
        """Switch a fault on. Raises FaultInvalid when the table is full or the kind acts at once."""
        if spec.kind in INSTANT_KINDS:
            raise FaultInvalid(f"{spec.kind} acts at once and is not kept")
        if len(self.active()) >= FAULTS_MAX:
            raise FaultInvalid(f"at most {FAULTS_MAX} faults at once")
        now = self._clock()
        expires_at = None if spec.duration_s is None else now + spec.duration_s
        fault = Fault(f"f{self._next_id}", spec, now, expires_at, _capacity(spec))
        self._next_id += 1
        self._faults[fault.id] = fault
        return fault

    def replace(self, specs: Sequence[FaultSpec]) -> list[Fault]:
        """Lift all and switch these on; raises FaultInvalid and changes nothing where one cannot be."""
        if len(specs) > FAULTS_MAX:
            raise FaultInvalid(f"at most {FAULTS_MAX} faults at once")
        if any(spec.kind in INSTANT_KINDS for spec in specs):
            raise FaultInvalid("faults that act at once are not kept")
        self.clear()
        return [self.add(spec) for spec in specs]

    def remove(self, fault_id: str) -> bool:
        """Lift a fault; False where there is none of that id."""
        return self._faults.pop(fault_id, None) is not None

    def clear(self) -> None:
        """Lift every fault."""
        self._faults.clear()

    def count_hit(self, fault: Fault) -> None:
        """Count a call that the fault changed."""
        fault.hits += 1
        self.hits[fault.spec.kind] += 1

    def covers_outage(self, call_kind: str) -> bool:
        """Whether an outage (down, refuse, hang) is on for that kind of call, whatever its rate."""
        return any(f.spec.kind in OUTAGE_KINDS and call_kind in f.spec.scope for f in self.active())

    def slow_s(self, fault: Fault) -> float:
        """How long the next slow call takes: its delay, more or less by as much as the spread."""
        spread: float = fault.spec.params["spread"]
        delay_s: float = fault.spec.params["delay_s"]
        return delay_s * self._rng.uniform(1.0 - spread, 1.0 + spread)

    def draw(self, call_kind: str) -> Drawn:
        """The faults that befall the next call of that kind."""
        drawn = [
            fault
            for fault in self.active()
            if call_kind in fault.spec.scope
            and (fault.spec.rate >= 1.0 or self._rng.random() < fault.spec.rate)
        ]
        return Drawn(drawn, self.count_hit)


def _capacity(spec: FaultSpec) -> Capacity | None:
    params = spec.params
    if spec.kind == "one_slot":
        return Capacity(1, None)
    if spec.kind == "capacity":
        collapse_s = params["collapse_s"] if params["collapse"] else 0.0
        return Capacity(
            params["max_in_flight"], params["per_s"], collapse_s, hold_over=params["over"] == "slow"
        )
    return None


def fault_kinds() -> dict[str, Any]:
    """Every kind with its parameters, defaults and usual scope, for the page that switches them."""
    return {
        kind: {
            "instant": kind in INSTANT_KINDS,
            "scope": list(_SCOPE_DEFAULTS.get(kind, ("*",))),
            "params": {
                name: {
                    "type": {bool: "boolean", str: "text", int: "integer", float: "number"}[param.type],
                    "default": param.default,
                    "choices": list(param.choices),
                }
                for name, param in params.items()
            },
        }
        for kind, params in FAULT_PARAMS.items()
    }
