"""A primary without a good replica refuses all writes: no order is accepted, and all that only reads goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from antrean.config.settings import Settings
from antrean.gateway.keys import KeyRing, Role
from antrean.orders.asking import asked
from antrean.orders.model import StoreUnavailable
from antrean.provider.breaker import SharedBreaker
from antrean.provider.errors import Unavailable
from antrean.provider.policy import BreakerState, Weight
from cli_support import antrean
from gateway_process import OFFICE, running_gateway_process
from gateway_support import purchase
from provider_support import Clock, make_breaker

#: Longest wait for the gateway to look anew, in seconds.
SEEN_S = 15


@asynccontextmanager
async def writes_refused(redis: Redis) -> AsyncIterator[None]:
    """The server wants a good replica and has none, while the block runs."""
    await redis.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(ResponseError, match="NOREPLICAS"):
            await redis.set("a", "b")
        yield
    finally:
        await redis.config_set("min-replicas-to-write", 0)


async def never_used(breaker: SharedBreaker, clock: Clock) -> None:
    """Nobody has asked it for anything."""


async def override_ended(breaker: SharedBreaker, clock: Clock) -> None:
    """The end of its override is past, and nobody has called since."""
    await breaker.override(BreakerState.OPEN, "a night's work", "ops-1", 60)
    clock.pass_s(61)


async def leases_and_window_ended(breaker: SharedBreaker, clock: Clock) -> None:
    """A worker died in a call, and one of its calls failed long ago."""
    permit = await breaker.admit()
    assert permit is not None
    await breaker.settle(permit, Unavailable("refused"), 0.1)
    assert await breaker.admit() is not None
    clock.pass_s(3600)


async def clock_set_back(breaker: SharedBreaker, clock: Clock) -> None:
    """What is dated after now counts from now."""
    permit = await breaker.admit()
    assert permit is not None
    await breaker.settle(permit, Weight.SUCCESS, 0.1)
    clock.pass_s(-3600)


async def test_a_refusal_is_named_by_the_server_s_own_word_and_shows_nothing_that_was_sent(
    redis: Redis,
) -> None:
    async def why(*command: str) -> str:
        with pytest.raises(StoreUnavailable) as refused:
            await asked(redis.execute_command(*command))  # type: ignore[no-untyped-call, unused-ignore]
        return str(refused.value)

    script = "return redis.call('SET', ARGV[1], 'b')"
    async with writes_refused(redis):
        assert await why("SET", "SECRET", "b") == "Redis refuses: NOREPLICAS"
        assert await why("EVAL", script, "0", "SECRET") == "Redis refuses: NOREPLICAS"
    await redis.config_set("maxmemory", 1)
    try:
        assert await why("SET", "SECRET", "b") == "Redis refuses: OOM"
    finally:
        await redis.config_set("maxmemory", 0)
    assert await why("SECRET", "b") == "Redis refuses: ERR"
    text = "return redis.error_reply(ARGV[1])"
    assert await why("EVAL", text, "0", "MISCONF Errors writing to the AOF file") == "Redis refuses: MISCONF"
    assert await why("EVAL", text, "0", "no word of its own") == "Redis refuses: ResponseError"


@pytest.mark.parametrize("before", [never_used, override_ended, leases_and_window_ended, clock_set_back])
async def test_a_look_at_a_breaker_writes_nothing_and_tells_what_those_who_act_find(
    redis: Redis, before: Callable[[SharedBreaker, Clock], Awaitable[None]]
) -> None:
    clock = Clock()
    breaker = make_breaker(redis, clock)
    await before(breaker, clock)
    async with writes_refused(redis):
        seen = await breaker.look()
    assert not await breaker.claim_probe()  # acts, and so writes what the look reckoned
    assert await breaker.look() == seen
    status, limit = seen
    assert (status.state, status.override, status.calls_in_window) == (BreakerState.CLOSED, None, 0)
    assert limit.in_flight == 0


async def test_without_a_good_replica_orders_are_refused_and_all_that_reads_answers(
    redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    ops = {"Authorization": f"Bearer {await KeyRing(redis).create(Role.OPS, OFFICE)}"}
    async with running_gateway_process(redis, settings) as gateway:

        async def submitted(key: str) -> tuple[int, str]:
            headers = {"Idempotency-Key": key}
            async with gateway.client.post("/v1/orders", json=purchase(), headers=headers) as answer:
                body = await answer.json()
                return answer.status, body.get("id") or body["type"]

        async def answer_of(path: str, **headers: str) -> str:
            async with gateway.client.get(path, headers=headers) as answer:
                assert answer.status == 200, (path, await answer.text())
                return await answer.text()

        status, order_id = await submitted("first")
        assert status == 202
        async with writes_refused(redis):
            assert (await submitted("second"))[0] == 503
            async with asyncio.timeout(SEEN_S):
                while 'antrean_ready{what="orders"} 0.0' not in (metrics := await answer_of("/metrics")):
                    await asyncio.sleep(0.05)
            async with gateway.client.get("/readyz") as answer:
                (reason,) = (await answer.json())["reasons"]
            assert reason.startswith("replicas: 0 of 1 good replicas (0 connected)")
            assert "antrean_redis_replicas 0.0" in metrics
            assert 'antrean_breaker_state{breaker="provider",state="closed"} 1.0' in metrics
            assert 'antrean_orders{state="queued"} 1.0' in metrics
            for path in ("/v1/ops/backlog", "/v1/ops/breaker", "/v1/ops/ledger", "/v1/orders"):
                await answer_of(path, **ops)
            for path in ("/v1/orders", f"/v1/orders/{order_id}", f"/v1/orders/{order_id}?wait=0"):
                assert order_id in await answer_of(path)
            assert (await submitted("second"))[0] == 503
            env = {"ANTREAN_REDIS_URL": settings.redis_url}
            for command in ("backlog", "breaker"):
                done = await asyncio.to_thread(antrean, command, cwd=tmp_path, **env)
                assert done.returncode == 0, done.stderr
        async with asyncio.timeout(SEEN_S):
            while (await submitted("second"))[0] != 202:
                await asyncio.sleep(0.05)
        gateway.assert_unharmed()
