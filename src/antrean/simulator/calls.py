"""What the simulator was asked: a count, a gauge and a bounded log for each kind of call."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any, Final

#: Every kind of call that PERURI's integrators make, as faults and counters name them.
CALL_KINDS: Final = (
    "login",
    "generate",
    "jenisdoc",
    "sn_status",
    "sn_list",
    "balance",
    "qrimage",
    "update_data",
    "stamp",
    "upload",
    "cloud_stamp",
    "download",
    "batch",
    "batch_status",
)
#: Calls kept in the log; older ones fall out.
LOG_MAX: Final = 20_000


@dataclass(slots=True)
class LoggedCall:
    """One call. `status` is the HTTP status answered; None while it is in flight or where it was cut off."""

    at: float
    kind: str
    during_outage: bool
    status: int | None = None
    took_s: float | None = None


class CallBook:
    """Counters by kind of call, ever and since the last reset, with the most that were in flight at once."""

    def __init__(self) -> None:
        self.total: Counter[str] = Counter()
        self.in_flight: Counter[str] = Counter()
        self._log: deque[LoggedCall] = deque(maxlen=LOG_MAX)
        self.reset()

    def reset(self) -> None:
        """Start the counts "since reset" and the log anew. Calls in flight stay counted."""
        self.since_reset: Counter[str] = Counter()
        self.during_outage: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.max_in_flight: Counter[str] = Counter(self.in_flight)
        self.max_in_flight_all = self.in_flight.total()
        self._log.clear()

    def begin(self, kind: str, at: float, during_outage: bool) -> LoggedCall:
        """A call has arrived. `at`: Unix seconds."""
        self.total[kind] += 1
        self.since_reset[kind] += 1
        if during_outage:
            self.during_outage[kind] += 1
        self.in_flight[kind] += 1
        self.max_in_flight[kind] = max(self.max_in_flight[kind], self.in_flight[kind])
        self.max_in_flight_all = max(self.max_in_flight_all, self.in_flight.total())
        call = LoggedCall(at, kind, during_outage)
        self._log.append(call)
        return call

    def end(self, call: LoggedCall, at: float, status: int | None) -> None:
        """The call is over; `status` None where the connection was cut."""
        self.in_flight[call.kind] -= 1
        call.status = status
        call.took_s = at - call.at
        self.statuses[str(status) if status is not None else "cut"] += 1

    def recent(self, limit: int, kind: str | None = None) -> list[LoggedCall]:
        """The newest `limit` calls, newest first."""
        found: list[LoggedCall] = []
        for call in reversed(self._log):
            if len(found) == limit:
                break
            if kind is None or call.kind == kind:
                found.append(call)
        return found

    def summary(self) -> dict[str, Any]:
        """Counts for `/_sim/state`; every kind is named, also those never called."""
        return {
            "total": {kind: self.total[kind] for kind in CALL_KINDS},
            "since_reset": {kind: self.since_reset[kind] for kind in CALL_KINDS},
            "during_outage": {kind: self.during_outage[kind] for kind in CALL_KINDS},
            "in_flight": {kind: self.in_flight[kind] for kind in CALL_KINDS},
            "max_in_flight": {kind: self.max_in_flight[kind] for kind in CALL_KINDS},
            "max_in_flight_all": self.max_in_flight_all,
            "statuses": dict(self.statuses),
        }
