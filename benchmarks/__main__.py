"""`make bench`: orders accepted and drained per second, beside the plainest thing that does the same, in one run.

Everything runs on this machine's cores, client included; compare the ratios, not the numbers of two machines.
"""

from __future__ import annotations

import asyncio
import os
import platform
import statistics
import sys
import time
from collections.abc import Awaitable, Callable

import aiohttp
import httpx
from rich.console import Console
from rich.table import Table

from antrean.config.launch import SIMULATOR_PASSWORD, SIMULATOR_USER
from benchmarks.rig import KEY, OPS_KEY, Rig, rig

ACCEPT_ORDERS = 6000
ACCEPT_CONNECTIONS = 64
DRAIN_ORDERS = 1500
IN_FLIGHT = 64
UPSTREAM_S = 0.2

BODY = {
    "kind": "purchase",
    "document": {"type_code": "4b", "number": "SK-1", "date": "2024-09-04", "filename": "surat.pdf"},
    "taxpayer": {"identity_type": "KTP", "identity_number": "1271010101900001", "name": "Siti Aminah"},
}


async def timed(
    count: int, at_once: int, call: Callable[[int], Awaitable[None]]
) -> tuple[float, list[float]]:
    """Run `call` `count` times, `at_once` at a time; answers calls per second and the latencies in seconds."""
    numbers = iter(range(count))
    latencies: list[float] = []

    async def lane() -> None:
        for number in numbers:
            started = time.perf_counter()
            await call(number)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(at_once)))
    return count / (time.perf_counter() - started), latencies


async def accept(r: Rig, count: int = ACCEPT_ORDERS) -> tuple[float, list[float]]:
    """Purchases accepted durably over HTTP."""
    connector = aiohttp.TCPConnector(limit=ACCEPT_CONNECTIONS)
    headers = {"Authorization": f"Bearer {KEY}"}
    async with aiohttp.ClientSession(r.origin, connector=connector, headers=headers) as session:

        async def call(number: int) -> None:
            async with session.post(
                "/v1/orders", json=BODY, headers={"Idempotency-Key": f"b{number}"}
            ) as answer:
                await answer.read()
                if answer.status != 202:
                    raise RuntimeError(f"{answer.status}: {await answer.text()}")

        return await timed(count, ACCEPT_CONNECTIONS, call)


async def health(r: Rig) -> float:
    """The same number of requests to a handler that answers a constant."""
    connector = aiohttp.TCPConnector(limit=ACCEPT_CONNECTIONS)
    async with aiohttp.ClientSession(r.origin, connector=connector) as session:

        async def call(_: int) -> None:
            async with session.get("/healthz") as answer:
                await answer.read()

        return (await timed(ACCEPT_ORDERS, ACCEPT_CONNECTIONS, call))[0]


async def slow_upstream(r: Rig) -> None:
    """The upstream takes UPSTREAM_S for each generate."""
    async with httpx.AsyncClient() as client:
        body = {"kind": "slow", "scope": ["generate"], "delay_s": UPSTREAM_S}
        (await client.post(f"{r.sim_origin}/_sim/faults", json=body)).raise_for_status()


async def bare_loop(r: Rig) -> float:
    """Generate calls per second of a bare httpx loop, one small client for each call in flight."""
    backend, stampv2 = r.settings.upstream_backend_url, r.settings.upstream_stampv2_url
    clients = [httpx.AsyncClient(timeout=30) for _ in range(IN_FLIGHT)]
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

        return (await timed(DRAIN_ORDERS, IN_FLIGHT, call))[0]
    finally:
        for client in clients:
            await client.aclose()


async def drain(r: Rig) -> float:
    """Orders completed per second from a backlog, between the 10th and the 90th percent of them."""
    headers = {"Authorization": f"Bearer {OPS_KEY}"}
    async with httpx.AsyncClient(base_url=r.origin, headers=headers) as client:

        async def completed() -> int:
            return int((await client.get("/v1/ops/backlog")).json()["by_state"].get("completed", 0))

        before = await completed()
        r.run("worker")
        marks: dict[float, float] = {}
        while 0.9 not in marks:
            share = (await completed() - before) / DRAIN_ORDERS
            for mark in (0.1, 0.9):
                if share >= mark and mark not in marks:
                    marks[mark], marks[mark + 100] = time.perf_counter(), share
            await asyncio.sleep(0.05)
        return DRAIN_ORDERS * (marks[100.9] - marks[100.1]) / (marks[0.9] - marks[0.1])


async def main() -> None:
    """Measure, and print a table."""
    console = Console(width=110)
    console.print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}")
    table = Table("what", "per second", "beside", "ratio", box=None)
    async with rig() as r:
        constant = await health(r)
        accepted, latencies = await accept(r)
        quantiles = statistics.quantiles(latencies, n=1000)
        table.add_row(
            f"accepted, {ACCEPT_CONNECTIONS} connections",
            f"{accepted:.0f}",
            "a constant answer of the same gateway",
            f"{accepted / constant:.2f}",
        )
        table.add_row(
            "  latency p50 / p99 / p99.9, ms",
            " / ".join(f"{1000 * quantiles[n - 1]:.1f}" for n in (500, 990, 999)),
            "",
            "",
        )
    async with rig(UPSTREAM_CONCURRENCY_MAX=str(IN_FLIGHT)) as r:
        await slow_upstream(r)
        bare = await bare_loop(r)
        await accept(r, DRAIN_ORDERS)
        drained = await drain(r)
        table.add_row(
            f"completed, upstream {1000 * UPSTREAM_S:.0f} ms, at most {IN_FLIGHT} in flight",
            f"{drained:.0f}",
            f"a bare httpx loop: {bare:.0f}",
            f"{drained / bare:.2f}",
        )
    console.print(table)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
