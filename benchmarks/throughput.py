"""What the questions of draining share: an upstream that takes its time, the bare loop, and Antrean's own rate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

from antrean.config.redis_client import connect
from antrean.orders import keys
from antrean.simulator.addresses import SIMULATOR_PASSWORD, SIMULATOR_USER
from benchmarks.accept import fill
from benchmarks.measure import timed
from benchmarks.peers.call import body
from benchmarks.rig import OPS_KEY, Rig

#: How long the upstream takes for a generate, in seconds.
UPSTREAM_S = 0.2
#: Longest look at the orders of one row, in seconds: on a busy machine the rate is that of its second half.
LONGEST_S = 20.0
#: The rate is taken between these shares of the orders: before, the limit finds its place; after, the line runs out.
FROM_SHARE, TO_SHARE = 0.3, 0.9
#: Longest time until workers are there, and how new the beat of one that is must be, in seconds.
STARTING_S, LIVELY_S = 60.0, 3.0


@dataclass(frozen=True, slots=True)
class Throughput:
    """Orders per second and the CPU seconds of one, over all worker processes; `done`: between the two marks."""

    per_s: float
    cpu_s: float
    done: int


async def set_faults(r: Rig, *faults: dict[str, Any], spread: float = 0.0) -> None:
    """Generate takes UPSTREAM_S, more or less by `spread` of it, and what is given besides. Raises httpx.HTTPError."""
    slow = {"kind": "slow", "scope": ["generate"], "delay_s": UPSTREAM_S, "spread": spread}
    async with httpx.AsyncClient() as client:
        answer = await client.put(f"{r.sim_origin}/_sim/faults", json={"faults": [*faults, slow]})
        answer.raise_for_status()


async def log_in(r: Rig) -> str:
    """A token of the upstream. Raises httpx.HTTPError."""
    async with httpx.AsyncClient() as client:
        answer = await client.post(
            f"{r.settings.upstream_backend_url}/api/users/login",
            json={"user": SIMULATOR_USER, "password": SIMULATOR_PASSWORD},
        )
        token: str = answer.raise_for_status().json()["token"]
        return token


async def bare_loop(r: Rig, count: int, in_flight: int) -> Throughput:
    """A bare httpx loop with a client a call in flight; nothing is kept."""
    url = f"{r.settings.upstream_stampv2_url}/chanel/stampv2"
    headers = {"Authorization": f"Bearer {await log_in(r)}"}
    clients = [httpx.AsyncClient(timeout=30) for _ in range(in_flight)]

    async def call(number: int) -> None:
        client = clients.pop()
        (await client.post(url, json=body(number), headers=headers)).raise_for_status()
        clients.append(client)

    try:
        before = time.process_time()
        rate = (await timed(count, in_flight, call))[0]
        return Throughput(rate, (time.process_time() - before) / count, count)
    finally:
        for client in clients:
            await client.aclose()


async def drained(r: Rig, count: int, in_flight: int, workers: int = 1) -> Throughput:
    """Accept `count` orders, start workers, and time them between FROM_SHARE and TO_SHARE.

    The limit begins where a long run without trouble ends: its growth is another question. Nothing moves before all
    workers are there: one that is still starting would take CPU from those that are timed. The workers are stopped.
    """
    before = await _completed(r)
    await fill(r, count)
    await _full_speed(r, in_flight)
    key = {"Authorization": f"Bearer {OPS_KEY}"}
    async with httpx.AsyncClient(base_url=r.origin, headers=key) as client:
        (await client.put("/v1/ops/pause", json={"reason": "workers start"})).raise_for_status()
        running = [r.run("worker") for _ in range(workers)]
        await _at_work(r, workers)
        (await client.delete("/v1/ops/pause")).raise_for_status()
    try:
        return await timed_share(r, [psutil.Process(each.pid) for each in running], count, before)
    finally:
        for each in running:
            await asyncio.to_thread(r.stop, each)


async def timed_share(r: Rig, workers: Sequence[psutil.Process], count: int, before: int) -> Throughput:
    """The rate of workers that run, from the books of the gateway."""
    marks: list[tuple[float, int, float]] = []
    started = time.monotonic()
    for share, end in ((FROM_SHARE, started + LONGEST_S / 2), (TO_SHARE, started + LONGEST_S)):
        while (done := await _completed(r) - before) < share * count and time.monotonic() < end:
            await asyncio.sleep(0.05)
        times = [worker.cpu_times() for worker in workers]
        marks.append((time.perf_counter(), done, sum(each.user + each.system for each in times)))
    (t0, n0, c0), (t1, n1, c1) = marks
    return Throughput((n1 - n0) / (t1 - t0), (c1 - c0) / max(n1 - n0, 1), n1 - n0)


async def _completed(r: Rig) -> int:
    redis = connect(r.settings.effective_redis_url, r.settings)
    try:
        return int(await redis.hget(keys.COUNTS, "completed") or 0)
    finally:
        await redis.aclose()


async def _at_work(r: Rig, workers: int) -> None:
    redis = connect(r.settings.effective_redis_url, r.settings)
    try:
        async with asyncio.timeout(STARTING_S):
            while await redis.zcount(keys.WORKERS, 1000 * (time.time() - LIVELY_S), "+inf") < workers:
                await asyncio.sleep(0.05)
    finally:
        await redis.aclose()


async def _full_speed(r: Rig, in_flight: int) -> None:
    redis = connect(r.settings.effective_redis_url, r.settings)
    await redis.hset(f"{keys.PROVIDER}gate:provider:l", mapping={"limit": in_flight, "step": 1})
    await redis.aclose()
