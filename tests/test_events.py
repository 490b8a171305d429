"""Whoever waits for a change hears of it, whatever becomes of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.gateway import server
from antrean.orders import events, keys
from antrean.orders.events import EventHub, TooManyWatches

PATIENCE_S = 10


@pytest.fixture(name="hub")
async def _hub(redis: Redis) -> AsyncIterator[EventHub]:
    hub = EventHub(redis, watches_max=3)
    task = asyncio.create_task(hub.run())
    with hub.watch("x") as watch:
        assert await watch.changed(PATIENCE_S), "the first subscription wakes all"
    yield hub
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_change_wakes_those_who_watch_that_order_and_nobody_else(hub: EventHub, redis: Redis) -> None:
    with hub.watch("a") as one, hub.watch("a") as two, hub.watch("b") as other:
        await redis.publish(keys.EVENTS, "a 2 buying")
        assert await one.changed(PATIENCE_S)
        assert await two.changed(PATIENCE_S)
        assert not await other.changed(0.02)
        assert not await one.changed(0)
        await redis.publish(keys.EVENTS, "* 0 hold")
        assert await other.changed(PATIENCE_S)


async def test_a_change_between_the_watch_and_the_wait_is_not_lost(hub: EventHub, redis: Redis) -> None:
    with hub.watch("a") as watch, hub.watch("b") as later:
        await redis.publish(keys.EVENTS, "a 2 buying")
        await redis.publish(keys.EVENTS, "b 2 buying")
        assert await later.changed(PATIENCE_S)
        assert await watch.changed(0)


async def test_a_lost_connection_wakes_all_once_it_is_back(hub: EventHub, redis: Redis) -> None:
    with hub.watch("a") as watch:
        assert await redis.client_kill_filter(_type="pubsub") >= 1
        assert await watch.changed(PATIENCE_S)
        await redis.publish(keys.EVENTS, "a 2 buying")
        assert await watch.changed(PATIENCE_S)


async def test_a_redis_that_refuses_connections_is_asked_ever_more_seldom_and_said_once(
    redis: Redis, settings: Settings, hub: EventHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses_s: list[float] = []
    enough = asyncio.Event()
    sleep = asyncio.sleep

    async def noted(pause_s: float) -> None:
        pauses_s.append(pause_s)
        if len(pauses_s) == 10:
            enough.set()
        await sleep(0)

    away = connect("redis://127.0.0.1:1", settings)
    monkeypatch.setattr(hub, "_redis", away)
    with capture_logs() as lines:
        with monkeypatch.context() as patch:
            patch.setattr(asyncio, "sleep", noted)
            await redis.client_kill_filter(_type="pubsub")
            async with asyncio.timeout(PATIENCE_S):
                await enough.wait()
        hub._redis = redis
        with hub.watch("a") as watch:
            assert await watch.changed(PATIENCE_S)
    await away.aclose()
    assert pauses_s[-3:] == [events.RECONNECT_MAX_S] * 3
    said = [line["event"] for line in lines]
    assert said == ["changes can not be heard just now", "changes are heard again"]


async def test_watches_are_bounded_and_given_back(hub: EventHub) -> None:
    with hub.watch("a"), hub.watch("b"), hub.watch("b"), pytest.raises(TooManyWatches), hub.watch("c"):
        pass
    assert hub.watches == 0
    assert events.WATCHES_MAX + 1000 < server.CONNECTIONS_MAX
    hub.close()
    assert hub.closing
