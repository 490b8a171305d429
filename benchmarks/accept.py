"""Orders accepted per second, beside plainer servers that answer the same client, each in its turn, in one run."""

from __future__ import annotations

import asyncio
import statistics
import sys
import time

import psutil
from redis import Redis
from rq import Queue

from benchmarks.measure import Answer, Row, latency, no_collections, spread, timed
from benchmarks.picture import Bar, bars
from benchmarks.rig import Rig, free_ports, rig
from benchmarks.terminals import terminals
from benchmarks.uploads import beside_uploads

ROUNDS, QUICK_ROUNDS = 3, 1
ORDERS, QUICK_ORDERS = 4000, 600
ENQUEUED = 1000
#: The share of the top rate at which the wait of one order is looked at.
LOAD = 0.5
#: The same while documents are uploaded.
UPLOADS_LOAD = 0.25
CONNECTIONS = (64, 1024)
LABELS = {
    "antrean": "Antrean",
    "two": "Antrean, two gateways",
    "constant": "aiohttp, a constant",
    "multi": "aiohttp, one durable MULTI",
}


async def fill(r: Rig, count: int) -> None:
    """Orders to work on."""
    async with terminals(r.origin, 64) as counter:
        await timed(count, 64, lambda _: counter.submit())


async def _rate(origin: str, count: int, connections: int) -> tuple[float, list[float]]:
    async with terminals(origin, connections) as counter:
        await timed(min(count, connections), connections, lambda _: counter.submit())
        return await timed(count, connections, lambda _: counter.submit())


async def at_rate(origin: str, per_s: float, seconds: float) -> list[float]:
    """Latencies at a fixed rate of arrivals, counted from when each was due."""
    async with terminals(origin, 256) as counter:
        latencies: list[float] = []

        async def one(due: float) -> None:
            await counter.submit()
            latencies.append(time.perf_counter() - due)

        with no_collections():
            start = time.perf_counter()
            tasks = []
            for number in range(int(per_s * seconds)):
                due = start + number / per_s
                if (wait := due - time.perf_counter()) > 0:
                    await asyncio.sleep(wait)
                tasks.append(asyncio.create_task(one(due)))
            await asyncio.gather(*tasks)
        return latencies


def _enqueue(redis_url: str) -> float:
    queue = Queue("bench", connection=Redis.from_url(redis_url))
    started = time.perf_counter()
    for number in range(ENQUEUED):
        queue.enqueue("benchmarks.accept.fill", number)
    return ENQUEUED / (time.perf_counter() - started)


def _cpu_s(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


async def accept(quick: bool) -> Answer:
    """Rows of accepting."""
    rounds, count = (QUICK_ROUNDS, QUICK_ORDERS) if quick else (ROUNDS, ORDERS)
    rows: list[Row] = []
    shown: list[Bar] = []
    async with rig() as r, rig(GATEWAYS="2") as two:
        url = r.settings.effective_redis_url
        origins = {"antrean": r.origin, "two": two.origin}
        for kind, port in zip(("constant", "multi"), free_ports(2), strict=True):
            r.start([sys.executable, "-m", "benchmarks.plain_servers", kind, str(port), url])
            origins[kind] = f"http://127.0.0.1:{port}"
            await r.listens(port)
        for connections in CONNECTIONS:
            rates: dict[str, list[float]] = {name: [] for name in origins}
            waits: list[float] = []
            cpu_s = 0.0
            for _ in range(rounds):
                for name, origin in origins.items():
                    before = _cpu_s(r.gateway.pid)
                    rate, latencies = await _rate(origin, count, connections)
                    rates[name].append(rate)
                    if name == "antrean":
                        waits += latencies
                        cpu_s += _cpu_s(r.gateway.pid) - before
            ours = statistics.median(rates["antrean"])
            shown += [
                Bar(
                    f"{connections} connections: {label}",
                    statistics.median(rates[name]),
                    ours=name in ("antrean", "two"),
                )
                for name, label in LABELS.items()
            ]
            for which, words in (("antrean", ""), ("two", ", two gateways")):
                for name in ("constant", "multi"):
                    rows.append(
                        Row(
                            f"accepted/s, {connections} connections{words}",
                            spread(rates[which]),
                            f"{LABELS[name]}: {spread(rates[name])}",
                            f"{statistics.median(rates[which]) / statistics.median(rates[name]):.2f}",
                        )
                    )
            rows.append(
                Row(
                    f"- wait at the top rate, {connections} connections, p50 / p99 / p99.9 ms",
                    latency(waits),
                    f"gateway CPU {1000 * cpu_s / (rounds * count):.2f} ms an order",
                )
            )
            if connections == CONNECTIONS[0]:
                halves = [await at_rate(r.origin, LOAD * ours, 2 if quick else 4) for _ in range(rounds)]
                halves.sort(key=lambda waits: statistics.quantiles(waits, n=100)[-1])
                middle, worst = halves[len(halves) // 2], halves[-1]
                rows.append(
                    Row("- wait at half of that rate, ms", latency(middle), f"worst round: {latency(worst)}")
                )
                rows += await beside_uploads(r.origin, UPLOADS_LOAD * ours, 2 if quick else 8, at_rate)
        enqueued = await asyncio.to_thread(_enqueue, url)
        rows.append(
            Row(
                "accepted/s, 1,024 connections",
                spread(rates["antrean"]),
                f"rq enqueue one by one: {enqueued:.0f}",
                f"{ours / enqueued:.2f}",
            )
        )
        shown.append(Bar("rq enqueue one by one", enqueued))
    return Answer(rows, {"accept": bars("Orders accepted per second", shown)})
