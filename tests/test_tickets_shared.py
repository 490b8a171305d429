"""A ticket that many look at costs Redis nothing per reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from gateway_support import Gateway, running_gateway

READERS = 2000


@pytest.fixture
async def gateway(settings: Settings, redis: Redis) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as running:
        yield running


async def _commands(redis: Redis) -> int:
    seen: dict[str, Any] = await redis.info("commandstats")
    return sum(row["calls"] for row in seen.values())


async def test_two_thousand_readers_of_a_ticket_cost_redis_a_few_looks(gateway: Gateway) -> None:
    token = (await gateway.order())["ticket"]["token"]
    redis = gateway.parts.redis
    path = f"/v1/tickets/{token}"
    await gateway.call("GET", path, role=None)
    await redis.config_resetstat()
    gate = asyncio.Semaphore(100)

    async def read() -> int:
        async with gate:
            return (await gateway.client.get(path)).status

    started = asyncio.get_running_loop().time()
    assert set(await asyncio.gather(*(read() for _ in range(READERS)))) == {200}
    seconds = asyncio.get_running_loop().time() - started
    # A look is at most some 25 commands of scripts and plain ones, four times a second, however many read.
    assert await _commands(redis) < min(250 * (seconds + 1), READERS)
