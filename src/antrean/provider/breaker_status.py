"""What a breaker and its limit look like from outside: as ops see them, and what changed when. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from antrean.provider.policy import BreakerState, Window

#: The last moments that a calendar holds in every zone, in seconds since the epoch.
LAST_S = 253_402_128_000.0


@dataclass(frozen=True, slots=True)
class Override:
    """A state forced by ops."""

    state: BreakerState
    reason: str
    actor: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """The fields of the API's breaker; `state` is the one in force, so that of an override where there is one."""

    state: BreakerState
    since: datetime
    reason: str | None
    failure_rate: float
    slow_rate: float
    calls_in_window: int
    next_probe_at: datetime | None
    override: Override | None


@dataclass(frozen=True, slots=True)
class LimitStatus:
    """The fleet's limit of calls in flight. `not_before`: the upstream asked all of us to wait until then.

    `baseline_s`: a round trip without load, in seconds; 0 where none was timed yet. `retry_tokens`: retries that may be
    made now; None before the first call. `retries` and `retries_refused`: counts since Redis' data began.
    """

    limit: int
    in_flight: int
    baseline_s: float
    not_before: datetime | None
    retry_tokens: float | None
    retries: int
    retries_refused: int

    @property
    def per_s(self) -> float:
        """Calls a second that the limit and the unloaded round trip allow; 0 where none was timed yet."""
        return self.limit / self.baseline_s if self.baseline_s else 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """One entry of the history. `kind`: move, override, override_lifted, override_ended."""

    at: datetime
    kind: str
    from_state: str
    to_state: str
    reason: str
    actor: str

    @classmethod
    def from_json(cls, text: bytes) -> Self:
        """An entry as `remember` in _gate.lua writes it."""
        row = json.loads(text)
        return cls(_time(row["at_ms"]), row["kind"], row["from"], row["to"], row["reason"], row["actor"])


def read_status(row: list[str]) -> tuple[BreakerStatus, LimitStatus]:
    """The answer of status.lua."""
    state, _epoch, since, reason, calls, failures, slow, probe = row[:8]
    ov_state, ov_reason, ov_actor, ov_until, _openings = row[8:13]
    limit, in_flight, not_before, baseline, now, tokens, retries, refused = row[13:]
    window = Window(int(calls), int(failures), int(slow))
    breaker = BreakerStatus(
        state=BreakerState(state),
        since=_time(since),
        reason=reason or None,
        failure_rate=round(window.failure_rate, 4),
        slow_rate=round(window.slow_rate, 4),
        calls_in_window=window.calls,
        next_probe_at=_time(probe) if probe != "0" else None,
        override=(
            Override(BreakerState(ov_state), ov_reason, ov_actor, _time(ov_until)) if ov_state else None
        ),
    )
    pace = LimitStatus(
        limit=max(1, int(float(limit))),
        in_flight=int(in_flight),
        baseline_s=float(baseline),
        not_before=_time(not_before) if int(not_before) > int(now) else None,
        retry_tokens=float(tokens) if tokens else None,
        retries=int(retries),
        retries_refused=int(refused),
    )
    return breaker, pace


def _time(ms: str) -> datetime:
    return datetime.fromtimestamp(min(int(ms) / 1000, LAST_S), UTC)
