"""A gateway whose Redis comes back empty accepts nothing: an order of before, repeated, would be bought anew."""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis

from antrean.config.personal_keys import join_ring, load_ring
from antrean.config.settings import Settings
from antrean.gateway.keys import KeyRing, Role
from antrean.gateway.services import SERVICES
from gateway_process import OFFICE, running_gateway_process
from gateway_support import purchase, running_gateway

SEEN_S = 15


async def test_a_gateway_whose_redis_comes_back_empty_accepts_nothing_and_says_why(
    redis: Redis, settings: Settings
) -> None:
    async with running_gateway_process(redis, settings) as gateway:
        first = {"Idempotency-Key": "first"}
        async with gateway.client.post("/v1/orders", json=purchase(), headers=first) as answer:
            assert answer.status == 202
        await redis.flushdb()
        # The keys are gone as well, and no counter is told that its own is wrong, once the gateway has looked.
        async with asyncio.timeout(SEEN_S):
            while True:
                async with gateway.client.post("/v1/orders", json=purchase(), headers=first) as answer:
                    assert answer.status in (401, 503)
                    if answer.status == 503:
                        break
                await asyncio.sleep(0.1)
        # Another gateway begins anew on the empty one.
        (sealing,) = load_ring(settings)
        await join_ring([sealing], redis, "elsewhere")
        key = await KeyRing(redis).create(Role.TERMINAL, OFFICE)
        again = {**first, "Authorization": f"Bearer {key}"}
        async with gateway.client.post("/v1/orders", json=purchase(), headers=again) as answer:
            assert answer.status == 503
            assert (await answer.json())["type"] == "/problems/not-ready"
        async with asyncio.timeout(SEEN_S):
            while True:
                async with gateway.client.get("/readyz") as answer:
                    reasons = (await answer.json()).get("reasons", [])
                if reasons:
                    break
                await asyncio.sleep(0.1)
        assert "what Redis kept is gone" in reasons[0]
        async with gateway.client.get("/metrics") as answer:
            assert 'antrean_ready{what="orders"} 0.0' in await answer.text()
        gateway.assert_unharmed()


async def test_a_gateway_that_nobody_asks_looks_with_each_sample_whether_its_redis_is_its_own(
    redis: Redis, settings: Settings
) -> None:
    async with running_gateway(redis, settings) as gateway:
        app = gateway.client.app
        assert app is not None
        services = app[SERVICES]
        services._ready.forget()
        gateway.not_ready.append("it is another one")
        await services._sample()
        assert services._ready._value is not None
        assert services._ready._value[0] == ["it is another one"]
