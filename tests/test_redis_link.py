"""The shared connection: what is asked together leaves together, and each gets its own answer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from antrean.config.redis_client import connect
from antrean.config.redis_link import PART, LinkedRedis
from antrean.config.settings import Settings


@pytest.fixture
async def linked(redis: Redis, settings: Settings) -> AsyncIterator[LinkedRedis]:
    client = connect(settings.redis_url, settings)
    await client.ping()
    client.link.commands = client.link.writes = 0
    yield client
    await client.aclose()


async def test_what_is_asked_in_one_turn_of_the_loop_leaves_in_few_writes(linked: LinkedRedis) -> None:
    answers = await asyncio.gather(*(linked.incr("n") for _ in range(1000)))
    assert sorted(answers) == list(range(1, 1001))
    assert (linked.link.commands, linked.link.writes) == (1000, math.ceil(1000 / PART))


async def test_what_goes_together_leaves_in_one_write(linked: LinkedRedis) -> None:
    pipe = linked.pipeline(transaction=False)
    for _ in range(10 * PART + 1):
        pipe.incr("n")
    assert await pipe.execute() == list(range(1, 10 * PART + 2))
    assert (linked.link.commands, linked.link.writes) == (10 * PART + 1, 1)


async def test_each_gets_its_own_answer_and_an_error_is_one_caller_s_alone(linked: LinkedRedis) -> None:
    await linked.set("text", "a")
    seen = await asyncio.gather(
        linked.get("text"),
        linked.incr("text"),
        linked.config_get("appendfsync"),
        linked.get("none"),
        linked.execute_command("EVAL", "return {1, false, 'x'}", 0),
        return_exceptions=True,
    )
    assert isinstance(seen[1], ResponseError)
    assert [seen[0], *seen[2:]] == [b"a", {"appendfsync": "always"}, None, [1, None, b"x"]]


async def test_a_pipeline_tells_errors_of_the_server_as_answers_or_raises_the_first(
    linked: LinkedRedis,
) -> None:
    pipe = linked.pipeline(transaction=False)
    pipe.set("text", "a")
    pipe.incr("text")
    pipe.get("text")
    ok, error, text = await pipe.execute(raise_on_error=False)
    assert (ok, text) == (True, b"a")
    assert isinstance(error, ResponseError)
    pipe.incr("text")
    with pytest.raises(ResponseError):
        await pipe.execute()


async def test_a_lost_connection_is_told_to_all_in_flight_and_the_next_command_opens_another(
    linked: LinkedRedis, redis: Redis
) -> None:
    me = await linked.client_id()
    waiting = [asyncio.ensure_future(linked.execute_command("WAIT", 9, 30_000))]
    waiting += [asyncio.ensure_future(linked.incr("n")) for _ in range(5)]
    await asyncio.sleep(0.05)
    await redis.client_kill_filter(_id=str(me))
    seen = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(e) for e in seen} == {RedisConnectionError}
    assert await linked.incr("m") == 1


async def test_an_answer_that_is_late_ends_the_connection_for_all(
    redis: Redis, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    client = connect(settings.redis_url, make_settings(redis_timeout_s=0.2))
    await client.ping()
    waiting = [asyncio.ensure_future(client.execute_command("WAIT", 9, 30_000))]
    waiting += [asyncio.ensure_future(client.incr("n")) for _ in range(3)]
    async with asyncio.timeout(5):
        seen = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(e) for e in seen} == {RedisTimeoutError}
    assert await client.ping()
    await client.aclose()


async def test_a_caller_that_goes_away_shifts_nobody_s_answer(linked: LinkedRedis) -> None:
    tasks = [asyncio.ensure_future(linked.echo(str(n))) for n in range(50)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    seen = await asyncio.gather(*tasks, return_exceptions=True)
    assert [s for n, s in enumerate(seen) if n % 3] == [str(n).encode() for n in range(50) if n % 3]


async def test_a_password_and_a_database_are_told_when_the_connection_opens(
    redis: Redis, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    await redis.acl_setuser("guest", enabled=True, passwords=["+secret"], categories=["+@all"], keys=["*"])
    try:
        socket = settings.redis_url.removeprefix("unix://")
        client = connect(f"unix://guest:secret@{socket}?db=3", make_settings())
        await client.set("here", "1")
        assert await redis.get("here") is None
        await client.delete("here")
        await client.aclose()
        wrong = connect(f"unix://guest:wrong@{socket}", make_settings())
        with pytest.raises(RedisConnectionError):
            await wrong.ping()
        await wrong.aclose()
    finally:
        await redis.acl_deluser("guest")
