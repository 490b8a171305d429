"""What Prometheus reads from a gateway. No label holds an id, an address or a person."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from antrean.gateway.ports import RetryBudget
from antrean.orders.calls import CallStats
from antrean.orders.holding import Outlook, held
from antrean.orders.outbox import OutboxCounts

#: Bounds of the histogram in seconds; long polls end in the last ones.
_BUCKETS_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 30, 60)


@dataclass(frozen=True, slots=True)
class Facts:
    """What is asked for each reading. None: it can not be known."""

    ledger_idr: Mapping[str, int]
    ledger_difference_idr: int
    oldest_age_s: float | None
    concurrency_limit: int
    redis_replicas: int
    calls: Mapping[str, CallStats]
    retries: Mapping[str, RetryBudget]
    workers: int
    pool_serials: int


class _FactsCollector:
    """Shows the facts of this reading."""

    now: Facts | None = None

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        if self.now is not None:
            yield from _queue_and_books(self.now)
            yield from _upstream_calls(self.now.calls)
            yield from _retry_budgets(self.now.retries)


def _queue_and_books(facts: Facts) -> Iterator[Metric]:
    money = GaugeMetricFamily("antrean_ledger_idr", "Rupiah by account of the ledger", labels=["account"])
    for account, amount in facts.ledger_idr.items():
        money.add_metric([account], amount)
    yield money
    for name, text, value in (
        (
            "antrean_ledger_difference_idr",
            "Rupiah paid less the sum of its parts",
            facts.ledger_difference_idr,
        ),
        ("antrean_oldest_order_age_seconds", "Age of the oldest open order", facts.oldest_age_s or 0),
        ("antrean_concurrency_limit", "Upstream calls that may be in flight", facts.concurrency_limit),
        (
            "antrean_redis_replicas",
            "Replicas of the primary: good ones where it demands some, else all that are connected",
            facts.redis_replicas,
        ),
        ("antrean_workers", "Workers that are alive", facts.workers),
        (
            "antrean_pool_serials",
            "Serial numbers that are ours and belong to no order",
            facts.pool_serials,
        ),
    ):
        yield GaugeMetricFamily(name, text, value=value)


def _upstream_calls(by_call: Mapping[str, CallStats]) -> Iterator[Metric]:
    calls = CounterMetricFamily("antrean_upstream_calls", "Upstream calls ended", labels=["call", "outcome"])
    times = HistogramMetricFamily("antrean_upstream_call_duration_seconds", "Time of a call", labels=["call"])
    for call, stats in by_call.items():
        for outcome, count in stats.outcomes.items():
            calls.add_metric([call, outcome], count)
        times.add_metric([call], list(stats.buckets), stats.sum_s)
    yield calls
    yield times


def _retry_budgets(budgets: Mapping[str, RetryBudget]) -> Iterator[Metric]:
    left = GaugeMetricFamily(
        "antrean_retry_budget",
        "Retries that may be made now: a call earns a tenth of one, at most 20 are kept",
        labels=["breaker"],
    )
    retries = CounterMetricFamily(
        "antrean_retries",
        "Upstream calls repeated, or refused by the budget",
        labels=["breaker", "outcome"],
    )
    for name, budget in budgets.items():
        if budget.left is not None:
            left.add_metric([name], budget.left)
        retries.add_metric([name, "made"], budget.made)
        retries.add_metric([name, "refused"], budget.refused)
    yield left
    yield retries


class _DiskCollector:
    """The free space of this reading; nothing where there is no folder yet."""

    free_bytes: int | None = None

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        if self.free_bytes is not None:
            text = "Free space where the data dir is"
            yield GaugeMetricFamily("antrean_disk_free_bytes", text, value=self.free_bytes)


class Metrics:
    """The gateway's own counts, and the queue as it is when somebody reads."""

    def __init__(self) -> None:
        #: What is this process's own, and what is read from the store each time.
        self._own, self._shared = CollectorRegistry(), CollectorRegistry()
        # Looking a child up by its labels costs more than counting; routes and statuses are few.
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
        r = self._own
        self._requests = Counter(
            "antrean_http_requests", "Requests answered", ["method", "route", "status"], registry=r
        )
        self._duration = Histogram(
            "antrean_http_request_duration_seconds",
            "Time to answer",
            ["route"],
            buckets=_BUCKETS_S,
            registry=r,
        )
        self._accepted = Counter("antrean_orders_accepted", "Orders answered with 202", ["kind"], registry=r)
        self._accepted_by_kind: dict[str, Counter] = {}
        self._watches = Gauge("antrean_gateway_watches", "Clients that wait for a change", registry=r)
        self._ready = Gauge(
            "antrean_ready", "1 where it can be accepted durably: orders, documents", ["what"], registry=r
        )
        self._disk = _DiskCollector()
        r.register(self._disk)
        r = self._shared
        self._orders = Gauge("antrean_orders", "Orders by state", ["state"], registry=r)
        self._lane = Gauge("antrean_lane_orders", "Orders that wait, by lane", ["lane"], registry=r)
        self._held = Gauge("antrean_held_orders", "Orders that wait for a hold", ["reason"], registry=r)
        self._in_flight = Gauge("antrean_orders_in_flight", "Orders that a worker has claimed", registry=r)
        self._breaker = Gauge(
            "antrean_breaker_state", "1 for the state in force", ["breaker", "state"], registry=r
        )
        self._facts = _FactsCollector()
        r.register(self._facts)
        self._notices = Gauge(
            "antrean_webhook_notices", "Webhook notices on their way, and given up", ["state"], registry=r
        )
        self._addresses = Gauge(
            "antrean_webhook_addresses",
            "Webhook addresses that fail, and that are disabled",
            ["state"],
            registry=r,
        )

    def answered(self, method: str, route: str, status: int, duration_s: float) -> None:
        """One request was answered; `route` is the path with its placeholders."""
        key = (method, route, status)
        found = self._answered.get(key)
        if found is None:
            found = self._requests.labels(method, route, str(status)), self._duration.labels(route)
            self._answered[key] = found
        found[0].inc()
        found[1].observe(duration_s)

    def accepted(self, kind: str) -> None:
        """One order was accepted, not a repeat."""
        child = self._accepted_by_kind.get(kind)
        if child is None:
            child = self._accepted_by_kind[kind] = self._accepted.labels(kind)
        child.inc()

    def webhooks(self, counts: OutboxCounts) -> None:
        """How webhooks stand just now."""
        self._notices.labels("pending").set(counts.pending)
        self._notices.labels("given_up").set(counts.given_up)
        self._addresses.labels("failing").set(counts.failing)
        self._addresses.labels("disabled").set(counts.disabled)

    def own_text(self, watches: int, ready: Mapping[str, bool], disk_free_bytes: int | None) -> bytes:
        """The exposition format of what this process knows by itself. `ready`: what can be accepted durably."""
        self._disk.free_bytes = disk_free_bytes
        self._watches.set(watches)
        for what, able in ready.items():
            self._ready.labels(what).set(able)
        return generate_latest(self._own)

    def shared_text(self, outlook: Outlook, breakers: Mapping[str, Mapping[str, Any]], facts: Facts) -> bytes:
        """The same of the queue, as given."""
        self._facts.now = facts
        situation = outlook.situation
        for state, count in situation.by_state.items():
            self._orders.labels(state).set(count)
        for lane in ("buy", "fetch", "stamp", "later"):
            self._lane.labels(lane).set(getattr(situation, lane))
        self._held.clear()
        for hold in held(outlook):
            self._held.labels(hold.reason).set(hold.orders)
        self._in_flight.set(situation.claimed)
        for name, status in breakers.items():
            for known in ("closed", "open", "half_open"):
                self._breaker.labels(name, known).set(status["state"] == known)
        return generate_latest(self._shared)
