"""What can be watched: upstream calls of all workers in /metrics, and one order's way as a trace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import structlog
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.config.tracing import build_trace, trace_to, traced_turn, watching
from antrean.orders import ids
from antrean.orders.calls import CallTally, read_calls
from antrean.provider.errors import (
    OutcomeUnknown,
    QuotaExhausted,
    Rejected,
    SerialUnusable,
    Unavailable,
)
from antrean.provider.policy import Weight
from antrean.provider.resilience import outcome_name
from stack import purchase, running_stack


async def test_counts_of_several_workers_add_up(redis: Redis) -> None:
    first, second = CallTally(redis), CallTally(redis)
    for tally, took_s in ((first, 0.05), (first, 0.3), (second, 99.0)):
        tally.called("generate", "ok", took_s)
    second.called("generate", "unknown", 3.0)
    for tally in (first, second, first):  # a flush with nothing new adds nothing
        await tally.flush()

    stats = (await read_calls(redis))["generate"]
    assert stats.outcomes == {"ok": 3, "unknown": 1}
    assert stats.buckets[0] == ("0.1", 1)
    assert stats.buckets[-2:] == (("30", 3), ("+Inf", 4))
    assert round(stats.sum_s, 2) == 102.35


def test_every_outcome_of_a_call_has_a_name_of_its_own() -> None:
    outcomes = (None, Unavailable("a"), OutcomeUnknown("a"), Rejected("1", "a"), QuotaExhausted("a"))
    names = [outcome_name(o) for o in (*outcomes, SerialUnusable("97", "a"), Weight.NOTHING)]
    assert names == [
        "ok", "unavailable", "unknown", "rejected", "quota_exhausted", "serial_unusable", "dropped",
    ]  # fmt: skip


async def test_metrics_and_logs_of_a_run_tell_of_calls_money_and_each_order_and_of_no_person() -> None:
    async with running_stack(workers=1, log_level="DEBUG", log_format="json") as stack:
        for _ in range(3):
            order = await stack.submit(purchase())
        await stack.all_completed()

        async def counted() -> bool:
            text = (await stack.ops.get("/metrics")).text
            return 'antrean_upstream_calls_total{call="generate",outcome="ok"} 3.0' in text

        await stack.until(counted, 30)
        text = (await stack.ops.get("/metrics")).text
        written = stack.log()
    lines = [json.loads(line) for line in written.splitlines() if f'"order_id": "{order["id"]}"' in line]
    assert [line["event"] for line in lines] == ["order accepted", "turn ended"]
    assert lines[0]["request_id"]
    assert lines[1]["outcome"] == "completed"
    assert "1271010101900001" not in written
    assert "Siti Aminah" not in written
    assert 'antrean_ledger_idr{account="bought_unused"} 30000.0' in text
    assert "antrean_ledger_difference_idr 0.0" in text
    assert 'antrean_upstream_call_duration_seconds_count{call="generate"} 3.0' in text
    assert re.search(r"antrean_disk_free_bytes [1-9]", text)
    assert 'antrean_retries_total{breaker="provider",outcome="refused"} 0.0' in text
    assert re.search(r'antrean_retry_budget{breaker="provider"} 0\.[1-9]', text)
    assert (
        'antrean_retry_budget{breaker="adapter"}' not in text
    )  # 0 would say that it is used up; nothing was stamped yet
    assert 'antrean_retries_total{breaker="adapter",outcome="made"} 0.0' in text
    assert "1271010101900001" not in text
    if promtool := shutil.which("promtool"):
        done = subprocess.run(
            [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


async def test_an_order_s_id_is_its_trace_and_its_spans_follow_its_way() -> None:
    spans = InMemorySpanExporter()
    trace = trace_to(SimpleSpanProcessor(spans), "worker")
    order_id = ids.new_id(1_725_400_000_000)
    heard: list[str] = []
    watch = watching(lambda call, outcome, took_s: heard.append(call), trace)

    async def run(order_id: str) -> str:
        with structlog.contextvars.bound_contextvars(order_id=order_id):
            watch("generate", "ok", 0.2)
        return "completed"

    trace("accept", order_id, 1_725_400_000.0, 1_725_400_000.1, {"antrean.kind": "purchase"})
    await traced_turn(run, trace)(order_id)
    watch("balance", "ok", 0.1)  # for no order: counted, and no span

    finished = spans.get_finished_spans()
    assert [span.name for span in finished] == ["accept", "queue", "upstream generate", "turn"]
    assert heard == ["generate", "balance"]
    assert {span.context.trace_id for span in finished if span.context} == {ids.number_of(order_id)}
    queue = finished[1]
    assert queue.start_time == 1_725_400_000_000_000_000
    assert finished[3].attributes == {"antrean.order_id": order_id, "antrean.outcome": "completed"}


def test_tracing_is_off_without_an_endpoint_and_leaves_everything_as_it_was() -> None:
    assert build_trace(Settings(_env_file=None), "worker") is None
    assert watching(print, None) is print

    async def run(order_id: str) -> str:
        return order_id

    assert traced_turn(run, None) is run
