"""What Prometheus reads from a gateway. No label holds an id, an address or a person.

Gateways that share a port count together (`config/shared_counts.py`), so that a reading adds up whichever answers it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from antrean.config.shared_counts import counts_of_all
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
    webhooks: OutboxCounts


class _Reading:
    """The families of one reading, for prometheus_client's writer."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """Called by `generate_latest`."""
        return self._families


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for of, value in values.items():
        family.add_metric([of], value)
    return family


def _queue(outlook: Outlook) -> Iterator[Metric]:
    situation = outlook.situation
    lanes = {lane: getattr(situation, lane) for lane in ("buy", "fetch", "stamp", "later")}
    states = {state.value: count for state, count in situation.by_state.items()}
    by_reason = {hold.reason: hold.orders for hold in held(outlook)}
    yield _gauge("antrean_orders", "Orders by state", "state", states)
    yield _gauge("antrean_lane_orders", "Orders that wait, by lane", "lane", lanes)
    yield _gauge("antrean_held_orders", "Orders that wait for a hold", "reason", by_reason)
    text = "Orders that a worker has claimed"
    yield GaugeMetricFamily("antrean_orders_in_flight", text, value=situation.claimed)


def _breakers(breakers: Mapping[str, Mapping[str, Any]]) -> Metric:
    family = GaugeMetricFamily(
        "antrean_breaker_state", "1 for the state in force", labels=["breaker", "state"]
    )
    for name, status in breakers.items():
        for known in ("closed", "open", "half_open"):
            family.add_metric([name, known], status["state"] == known)
    return family


def _webhooks(counts: OutboxCounts) -> Iterator[Metric]:
    notices = {"pending": counts.pending, "given_up": counts.given_up}
    addresses = {"failing": counts.failing, "disabled": counts.disabled}
    yield _gauge("antrean_webhook_notices", "Webhook notices on their way, and given up", "state", notices)
    yield _gauge(
        "antrean_webhook_addresses", "Webhook addresses that fail, and that are disabled", "state", addresses
    )


def _books(facts: Facts) -> Iterator[Metric]:
    yield _gauge("antrean_ledger_idr", "Rupiah by account of the ledger", "account", facts.ledger_idr)
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


class Metrics:
    """The gateway's own counts, and the queue as it is when somebody reads."""

    def __init__(self) -> None:
        r = CollectorRegistry()
        # Looking a child up by its labels costs more than counting; routes and statuses are few.
        self._answered: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}
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
        self._watches = Gauge(
            "antrean_gateway_watches",
            "Clients that wait for a change",
            registry=r,
            multiprocess_mode="livesum",
        )
        self._counts = counts_of_all() or r

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

    def watched(self, watches: int) -> None:
        """So many clients wait for a change just now."""
        self._watches.set(watches)

    def own_text(self, ready: Mapping[str, bool], disk_free_bytes: int | None) -> bytes:
        """The exposition format of what this gateway knows by itself, with the counts of those on the same port.

        `ready`: what can be accepted durably. `disk_free_bytes`: None where there is no folder yet.
        """
        families = [
            _gauge("antrean_ready", "1 where it can be accepted durably: orders, documents", "what", ready)
        ]
        if disk_free_bytes is not None:
            text = "Free space where the data dir is"
            families.append(GaugeMetricFamily("antrean_disk_free_bytes", text, value=disk_free_bytes))
        return generate_latest(self._counts) + generate_latest(_Reading(families))

    @staticmethod
    def shared_text(outlook: Outlook, breakers: Mapping[str, Mapping[str, Any]], facts: Facts) -> bytes:
        """The same of the queue, as given."""
        families = [
            *_queue(outlook),
            _breakers(breakers),
            *_webhooks(facts.webhooks),
            *_books(facts),
            *_upstream_calls(facts.calls),
            *_retry_budgets(facts.retries),
        ]
        return generate_latest(_Reading(families))
