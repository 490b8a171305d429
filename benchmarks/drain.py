"""Orders completed per second against an upstream that takes its time, beside a bare loop that makes the same call."""

from __future__ import annotations

import asyncio
import os
import time

import httpx

from benchmarks.accept import fill
from benchmarks.measure import Answer, Row
from benchmarks.picture import Bar, bars
from benchmarks.rig import Rig, rig
from benchmarks.throughput import UPSTREAM_S, bare_loop, drained, set_faults

IN_FLIGHT, QUICK_IN_FLIGHT = (16, 64, 256), (16,)
#: Orders for each call in flight: with 200 ms a call, so many fifths of a second; and most of them.
ORDERS_EACH, QUICK_ORDERS_EACH = 24, 12
ORDERS_MAX, QUICK_ORDERS_MAX = 2400, 1200
WORKERS, QUICK_WORKERS = (1, 2, 4), (1, 2)
#: What the upstream bears, in orders per second; it collapses when asked for a fifth more.
CAPACITY_PER_S = 200
#: Where answers differ by themselves: by how much, as a share, and the most calls in flight.
SPREAD = 0.6
VARYING_IN_FLIGHT = 32
#: The limit of calls in flight finds its place for so long, and is then looked at for so long, in seconds.
SETTLE_S, QUICK_SETTLE_S = 20.0, 8.0
LOOK_S, QUICK_LOOK_S = 20.0, 5.0
TITLE = f"Orders completed per second against an upstream that takes {1000 * UPSTREAM_S:.0f} ms"


async def drain(quick: bool) -> Answer:
    """Rows of draining beside the bare loop."""
    shown: list[Bar] = []
    rows = [
        await _beside_bare(n, _orders(n, quick), shown) for n in (QUICK_IN_FLIGHT if quick else IN_FLIGHT)
    ]
    return Answer(rows, {"drain": bars(TITLE, shown)})


async def capacity(quick: bool) -> Answer:
    """Rows in which the limit finds its place: before an upstream that bears no more, and one whose answers vary."""
    times = (QUICK_SETTLE_S, QUICK_LOOK_S) if quick else (SETTLE_S, LOOK_S)
    return Answer([await _at_capacity(*times), await _as_answers_vary(times[0], times[1] / 2)])


async def workers(quick: bool) -> Answer:
    """Rows of more worker processes."""
    shown: list[Bar] = []
    count = _orders(IN_FLIGHT[-1], quick)
    rows = await _more_workers(count, QUICK_WORKERS if quick else WORKERS, shown)
    return Answer(rows, {"workers": bars(TITLE, shown)})


def _orders(in_flight: int, quick: bool) -> int:
    each, most = (QUICK_ORDERS_EACH, QUICK_ORDERS_MAX) if quick else (ORDERS_EACH, ORDERS_MAX)
    return min(each * in_flight, most)


async def _beside_bare(in_flight: int, count: int, shown: list[Bar]) -> Row:
    async with rig(UPSTREAM_CONCURRENCY_MAX=str(in_flight)) as r:
        await set_faults(r)
        bare = await bare_loop(r, count, in_flight)
        ours = await drained(r, count, in_flight)
    shown += [
        Bar(f"{in_flight} in flight: bare httpx loop", bare.per_s),
        Bar(f"{in_flight} in flight: Antrean", ours.per_s, ours=True),
    ]
    return Row(
        f"completed/s, {1000 * UPSTREAM_S:.0f} ms a call, at most {in_flight} in flight",
        f"{ours.per_s:.0f} (worker CPU {1000 * ours.cpu_s:.1f} ms an order)",
        f"bare httpx loop: {bare.per_s:.0f} ({1000 * bare.cpu_s:.1f} ms)",
        f"{ours.per_s / bare.per_s:.2f}",
    )


async def _at_capacity(settle_s: float, look_s: float) -> Row:
    """The limit begins at the bottom and has to find the place by itself."""
    fault = {"kind": "capacity", "scope": ["generate"], "per_s": CAPACITY_PER_S, "collapse": True}
    async with rig(UPSTREAM_CONCURRENCY_MAX="256") as r:
        await set_faults(r, fault)
        per_s, turned_away = await _from_the_bottom(r, CAPACITY_PER_S, settle_s, look_s)
    return Row(
        f"completed/s where the upstream bears {CAPACITY_PER_S}/s and collapses at a fifth more",
        f"{per_s:.0f}",
        f"its capacity: {CAPACITY_PER_S}; {turned_away} calls turned away in all",
        f"{per_s / CAPACITY_PER_S:.2f}",
    )


async def _as_answers_vary(settle_s: float, look_s: float) -> Row:
    """The same before an upstream that bears all, and whose answers differ by themselves."""
    bound_per_s = int(VARYING_IN_FLIGHT / UPSTREAM_S)
    async with rig(UPSTREAM_CONCURRENCY_MAX=str(VARYING_IN_FLIGHT)) as r:
        await set_faults(r, spread=SPREAD)
        per_s, _ = await _from_the_bottom(r, bound_per_s, settle_s, look_s)
    return Row(
        f"completed/s where answers take {1000 * UPSTREAM_S:.0f} ms more or less by {100 * SPREAD:.0f} %, "
        f"at most {VARYING_IN_FLIGHT} in flight",
        f"{per_s:.0f}",
        f"as many as fit: {bound_per_s}",
        f"{per_s / bound_per_s:.2f}",
    )


async def _from_the_bottom(r: Rig, most_per_s: int, settle_s: float, look_s: float) -> tuple[float, int]:
    """Orders sold per second when the limit has had `settle_s` seconds, and calls turned away in all."""
    await fill(r, int(most_per_s * (settle_s + look_s + 5)))
    r.run("worker")
    async with httpx.AsyncClient(base_url=r.sim_origin) as client:

        async def sold() -> int:
            return int((await client.get("/_sim/state")).json()["sold"])

        while not await sold():
            await asyncio.sleep(0.1)
        await asyncio.sleep(settle_s)
        before, started = await sold(), time.perf_counter()
        await asyncio.sleep(look_s)
        per_s = (await sold() - before) / (time.perf_counter() - started)
        statuses = (await client.get("/_sim/state")).json()["calls"]["statuses"]
    return per_s, int(statuses.get("503", 0))


async def _more_workers(count: int, counts: tuple[int, ...], shown: list[Bar]) -> list[Row]:
    rows, first = [], 0.0
    in_flight = IN_FLIGHT[-1]
    for workers in counts:
        async with rig(UPSTREAM_CONCURRENCY_MAX=str(in_flight)) as r:
            await set_faults(r)
            seen = await drained(r, count, in_flight, workers)
        first = first or seen.per_s
        shown.append(Bar(f"{workers} worker processes, {in_flight} in flight", seen.per_s, ours=True))
        rows.append(
            Row(
                f"completed/s, {workers} worker processes, at most {in_flight} in flight",
                f"{seen.per_s:.0f} (workers' CPU {1000 * seen.cpu_s:.1f} ms an order)",
                f"with one: {first:.0f}; {os.cpu_count()} cores for all",
                f"{seen.per_s / first:.2f}",
            )
        )
    return rows
