"""Streams: how soon a change is seen. A ticket's readers: what they cost Redis. A page that polls: what it costs us."""

from __future__ import annotations

import asyncio
import resource
import time
from typing import Any

import aiohttp
import orjson
import psutil

from antrean.config.redis_client import connect
from benchmarks.measure import Answer, Row, latency, timed
from benchmarks.rig import KEY, Rig, rig
from benchmarks.terminals import BODY

STREAMS, QUICK_STREAMS = 5000, 200
CHANGES, QUICK_CHANGES = 500, 50
CHANGES_PER_S = 100
READERS, QUICK_READERS = 10_000, 500
#: Orders that a counter's page lists, and how often it asks for them.
LISTED = 100
POLLS, QUICK_POLLS = 300, 30


async def status(quick: bool) -> Answer:
    """Rows of streams and of ticket readers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 20_000)), hard))
    streams, changes = (QUICK_STREAMS, QUICK_CHANGES) if quick else (STREAMS, CHANGES)
    async with rig() as r:
        return Answer(
            [
                await _streams(r, streams, changes),
                await _readers(r, QUICK_READERS if quick else READERS),
                await _polls(r, QUICK_POLLS if quick else POLLS),
            ]
        )


def _session(origin: str, connections: int) -> aiohttp.ClientSession:
    """A client with so many connections."""
    connector = aiohttp.TCPConnector(limit=connections)
    return aiohttp.ClientSession(origin, connector=connector, headers={"Authorization": f"Bearer {KEY}"})


async def _accepted(client: aiohttp.ClientSession, count: int) -> list[dict[str, Any]]:
    orders: list[dict[str, Any]] = []

    async def one(number: int) -> None:
        async with client.post("/v1/orders", json=BODY, headers={"Idempotency-Key": f"s{number}"}) as answer:
            orders.append(orjson.loads(await answer.read()))

    await timed(count, 64, one)
    return orders


async def _streams(r: Rig, count: int, changes: int) -> Row:
    waits: list[float] = []
    changed_at: dict[str, float] = {}
    opened = 0
    async with _session(r.origin, 0) as client:
        orders = await _accepted(client, count)

        async def follow(order_id: str) -> None:
            nonlocal opened
            timeout = aiohttp.ClientTimeout(total=None)
            async with client.get(f"/v1/orders/{order_id}/events", timeout=timeout) as stream:
                opened += 1
                async for line in stream.content:
                    if line.startswith(b"data:") and b'"state":"cancelled"' in line:
                        waits.append(time.perf_counter() - changed_at[order_id])

        tasks = [asyncio.create_task(follow(order["id"])) for order in orders]
        while opened < count:
            await asyncio.sleep(0.1)
        await asyncio.sleep(2)
        rss_mb = psutil.Process(r.gateway.pid).memory_info().rss / 1e6
        for order in orders[:changes]:
            changed_at[order["id"]] = time.perf_counter()
            async with client.post(f"/v1/orders/{order['id']}/cancel") as answer:
                await answer.read()
            await asyncio.sleep(1 / CHANGES_PER_S)
        end = time.monotonic() + 20
        while len(waits) < changes and time.monotonic() < end:
            await asyncio.sleep(0.05)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Row(
        f"{count:,} open streams: a change is seen after, p50 / p99 / p99.9 ms",
        latency(waits),
        f"{len(waits)} of {changes} seen, from the cancel call's start; gateway {rss_mb:.0f} MB",
    )


async def _readers(r: Rig, count: int) -> Row:
    redis = connect(r.settings.effective_redis_url, r.settings)
    async with _session(r.origin, 64) as client:
        token = (await _accepted(client, 1))[0]["ticket"]["token"]

        async def read(_: int) -> None:
            async with client.get(f"/v1/tickets/{token}") as answer:
                await answer.read()

        await read(0)
        await redis.config_resetstat()
        rate, latencies = await timed(count, 64, read)
        seen: Any = await redis.info("commandstats")
    await redis.aclose()
    commands = sum(row["calls"] for row in seen.values())
    return Row(
        f"{count:,} readers of one ticket",
        f"{rate:.0f}/s, {latency(latencies)} ms",
        f"{commands} commands of Redis in all",
        f"{commands / count:.3f} a reader",
    )


async def _polls(r: Rig, count: int) -> Row:
    async with _session(r.origin, 1) as client:
        await _accepted(client, LISTED)
        whole, unchanged = [await _poll_cpu_ms(r, client, count, tagged=tagged) for tagged in (False, True)]
    return Row(
        f"a counter's page asks for its list of {LISTED}, gateway CPU",
        f"nothing changed: {unchanged:.1f} ms",
        f"sent whole: {whole:.1f} ms",
        f"{unchanged / whole:.2f}",
    )


async def _poll_cpu_ms(r: Rig, client: aiohttp.ClientSession, count: int, *, tagged: bool) -> float:
    gateway, tag = psutil.Process(r.gateway.pid), ""
    before = gateway.cpu_times()
    for _ in range(count):
        headers = {"If-None-Match": tag} if tagged else {}
        async with client.get(f"/v1/orders?limit={LISTED}", headers=headers) as answer:
            await answer.read()
            tag = answer.headers["ETag"]
    after = gateway.cpu_times()
    return 1000 * (after.user + after.system - before.user - before.system) / count
