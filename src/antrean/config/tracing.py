"""Traces of an order through gateway, queue, worker and upstream; off without `ANTREAN_OTEL_ENDPOINT`, and then free.

An order's id has 128 bits, as a trace's has: the id *is* the trace id, so nothing is carried along in the queue, and
whoever has an order has its trace. The spans:

    accept      gateway: from the request to the answer that it is on disk
    queue       from acceptance to a turn of the order
    turn        worker: claim to release, with its outcome
    upstream …  one call: generate, stamp, login …, with its outcome

No span holds personal data: ids, states and names of calls alone. Needs the extra: `pip install antrean[otel]`.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import structlog

from antrean.config.settings import Settings
from antrean.orders.ids import number_of
from antrean.provider.resilience import Watch

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor

log = structlog.get_logger(__name__)

#: Name, order id, begin and end as Unix seconds, and attributes of one span.
Trace = Callable[[str, str, float, float, dict[str, str]], None]


def build_trace(settings: Settings, service: str) -> Trace | None:
    """How to write a span; None where tracing is off, or the extra is not installed (said once, in the log)."""
    if not settings.otel_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        log.error("no traces: install the extra, pip install 'antrean[otel]'")
        return None
    endpoint = settings.otel_endpoint.rstrip("/") + "/v1/traces"
    return trace_to(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)), service)


def trace_to(processor: SpanProcessor, service: str) -> Trace:
    """Write spans to a processor of OpenTelemetry's."""
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    provider = TracerProvider(resource=Resource.create({"service.name": f"antrean-{service}"}))
    provider.add_span_processor(processor)
    tracer = provider.get_tracer("antrean")

    def trace(name: str, order_id: str, begin: float, end: float, attributes: dict[str, str]) -> None:
        number = number_of(order_id)
        # All spans of an order hang on one parent that is nowhere written: its id alone holds them together.
        parent = SpanContext(number, number & (2**64 - 1) or 1, is_remote=True, trace_flags=TraceFlags(1))
        span = tracer.start_span(
            name,
            context=set_span_in_context(NonRecordingSpan(parent)),
            start_time=int(begin * 1e9),
            attributes={"antrean.order_id": order_id, **attributes},
        )
        span.end(end_time=int(end * 1e9))

    return trace


def watching(watch: Watch, trace: Trace | None) -> Watch:
    """`watch`, and a span for each upstream call that is made for an order."""
    if trace is None:
        return watch

    def both(call: str, outcome: str, took_s: float) -> None:
        watch(call, outcome, took_s)
        order_id = structlog.contextvars.get_contextvars().get("order_id")
        if order_id:
            now = time.time()
            trace(f"upstream {call}", order_id, now - took_s, now, {"antrean.outcome": outcome})

    return both


def traced_turn(run: Callable[[str], Awaitable[Any]], trace: Trace | None) -> Callable[[str], Awaitable[Any]]:
    """A turn of an order, with its spans."""
    if trace is None:
        return run

    async def turn(order_id: str) -> Any:
        begin = time.time()
        trace("queue", order_id, (number_of(order_id) >> 80) / 1000, begin, {})
        outcome = "failed"
        try:
            outcome = str(await run(order_id))
        finally:
            trace("turn", order_id, begin, time.time(), {"antrean.outcome": outcome})
        return outcome

    return turn
