"""Orders completed per second against an upstream that takes its time, beside a bare loop that makes the same call."""

from __future__ import annotations

import asyncio
import time

import httpx
import psutil

from antrean.config.launch import SIMULATOR_PASSWORD, SIMULATOR_USER
from antrean.config.redis_client import connect
from antrean.orders import keys
from benchmarks.accept import fill
from benchmarks.measure import Row, timed
from benchmarks.rig import OPS_KEY, Rig, rig

IN_FLIGHT, QUICK_IN_FLIGHT = (16, 64, 256), (16,)
#: Orders for each call in flight: with 200 ms a call, so many fifths of a second.
ORDERS_EACH, QUICK_ORDERS_EACH = 24, 12
UPSTREAM_S = 0.2
LONGEST_S = 120.0


async def _slow_upstream(r: Rig) -> None:
    async with httpx.AsyncClient() as client:
        body = {"kind": "slow", "scope": ["generate"], "delay_s": UPSTREAM_S}
        (await client.post(f"{r.sim_origin}/_sim/faults", json=body)).raise_for_status()


async def _bare_loop(r: Rig, count: int, in_flight: int) -> tuple[float, float]:
    """Generate calls per second of a bare httpx loop with a client a call in flight; CPU seconds it took."""
    backend, stampv2 = r.settings.upstream_backend_url, r.settings.upstream_stampv2_url
    clients = [httpx.AsyncClient(timeout=30) for _ in range(in_flight)]
    try:
        login = {"user": SIMULATOR_USER, "password": SIMULATOR_PASSWORD}
        token = (await clients[0].post(f"{backend}/api/users/login", json=login)).json()["token"]
        free = list(clients)

        async def call(number: int) -> None:
            client = free.pop()
            body = {
                "isUpload": False, "namadoc": "4b", "namafile": f"bare-{number}.pdf", "nilaidoc": "10000",
                "namejidentitas": "KTP", "noidentitas": "1271010101900001", "namedipungut": "Siti Aminah",
                "snOnly": False, "nodoc": "SK-1", "tgldoc": "2024-09-04",
            }  # fmt: skip
            answer = await client.post(
                f"{stampv2}/chanel/stampv2", json=body, headers={"Authorization": f"Bearer {token}"}
            )
            answer.raise_for_status()
            free.append(client)

        before = time.process_time()
        rate = (await timed(count, in_flight, call))[0]
        return rate, time.process_time() - before
    finally:
        for client in clients:
            await client.aclose()


async def _drained(r: Rig, count: int) -> tuple[float, float]:
    """Orders completed per second between the 30th and the 90th percent, and CPU seconds of the worker for them.

    Before that the limit of calls in flight grows on purpose: that is another question.
    """
    headers = {"Authorization": f"Bearer {OPS_KEY}"}
    async with httpx.AsyncClient(base_url=r.origin, headers=headers) as client:

        async def completed() -> int:
            return int((await client.get("/v1/ops/backlog")).json()["by_state"].get("completed", 0))

        before = await completed()
        worker = psutil.Process(r.run("worker").pid)
        marks: list[tuple[float, int, float]] = []
        end = time.monotonic() + LONGEST_S
        for share in (0.3, 0.9):
            while (done := await completed() - before) < share * count and time.monotonic() < end:
                await asyncio.sleep(0.05)
            times = worker.cpu_times()
            marks.append((time.perf_counter(), done, times.user + times.system))
        (t0, n0, c0), (t1, n1, c1) = marks
        return (n1 - n0) / (t1 - t0), (c1 - c0) / max(n1 - n0, 1)


async def _full_speed(r: Rig, in_flight: int) -> None:
    """Begin with the limit that a long run without trouble ends at."""
    redis = connect(r.settings.effective_redis_url, r.settings)
    await redis.hset(f"{keys.PROVIDER}gate:provider:l", mapping={"limit": in_flight, "step": 1})
    await redis.aclose()


async def drain(quick: bool) -> list[Row]:
    """Rows of draining."""
    rows = []
    each = QUICK_ORDERS_EACH if quick else ORDERS_EACH
    for in_flight in QUICK_IN_FLIGHT if quick else IN_FLIGHT:
        async with rig(UPSTREAM_CONCURRENCY_MAX=str(in_flight)) as r:
            count = each * in_flight
            await _slow_upstream(r)
            bare, bare_cpu_s = await _bare_loop(r, count, in_flight)
            await fill(r, count)
            await _full_speed(r, in_flight)
            ours, cpu_s = await _drained(r, count)
            rows.append(
                Row(
                    f"completed/s, {1000 * UPSTREAM_S:.0f} ms a call, at most {in_flight} in flight",
                    f"{ours:.0f} (worker CPU {1000 * cpu_s:.1f} ms an order)",
                    f"bare httpx loop: {bare:.0f} ({1000 * bare_cpu_s / count:.1f} ms)",
                    f"{ours / bare:.2f}",
                )
            )
    return rows
