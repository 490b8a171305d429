"""Before an upstream that turns calls away they begin in turn: what a call is told, and what a modelled one sells."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest
from redis.asyncio import Redis

from antrean.provider.breaker import Permit, SharedBreaker
from antrean.provider.errors import Unavailable
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.simulator.capacity import Capacity
from drains import Drain
from provider_support import PREFIX, Clock, make_breaker

TOO_BUSY = Unavailable("too busy", sent=True)
#: What the modelled upstream bears a second.
PER_S = 200
#: Orders in hand at once in the model; more than the upstream can have in flight.
IN_HAND = 60
#: Seconds that the model runs, and from when on it has settled.
RUNS_S = 18
SETTLED_S = 6


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def ask(breaker: SharedBreaker, order: bool = True) -> tuple[str, int]:
    """What a call is told and the milliseconds until it may begin; it keeps its slot."""
    code, _state, _epoch, _step, wait_ms, _reason = await breaker._admit_once(
        str(random.random()), False, order
    )
    return code, int(wait_ms)


async def turned_away(quick_redis: Redis, clock: Clock) -> SharedBreaker:
    """A breaker that knows that an answer takes 200 ms, and had one of 20 calls at once turned away just now."""
    breaker = make_breaker(quick_redis, clock, limits=LimitRules(PaceBounds(limit_max=20, start=20)))
    for outcome in (None, None, None, TOO_BUSY):
        permits = [await breaker.admit() for _ in range(20)]
        clock.pass_s(0.2)
        for permit in permits:
            assert permit is not None
            await breaker.settle(permit, outcome if permit is permits[0] else None, 0.2)
    return breaker


async def test_a_burst_begins_in_turn_after_a_refusal_and_at_once_a_while_later(
    quick_redis: Redis, clock: Clock
) -> None:
    breaker = await turned_away(quick_redis, clock)
    limit = (await breaker.look())[1].limit
    told = [await ask(breaker) for _ in range(8)]
    assert {code for code, _ in told} == {"granted"}
    waits = [wait_ms for _, wait_ms in told]
    assert waits[0] == 0
    gaps = [later - earlier for earlier, later in itertools.pairwise(waits[3:])]
    even_ms = 200 / limit
    assert all(0.8 * even_ms <= gap <= 1.2 * even_ms for gap in gaps)
    assert await ask(breaker, order=False) == ("granted", 0)
    clock.pass_s(61)
    assert [await ask(breaker) for _ in range(8)] == [("granted", 0)] * 8


async def test_no_turn_is_further_away_than_a_moment(quick_redis: Redis, clock: Clock) -> None:
    breaker = await turned_away(quick_redis, clock)
    for _ in range(200):
        permit = Permit(str(random.random()), "1", "0", False)
        row = await breaker._admit_once(permit.lease, False, True)
        assert int(row[4]) <= 200
        await breaker.settle(permit, asyncio.CancelledError(), 0.0)


async def test_a_call_that_is_given_up_before_its_turn_leaves_its_slot(
    quick_redis: Redis, clock: Clock
) -> None:
    breaker = await turned_away(quick_redis, clock)
    clock.pass_s(1)
    waiting = [asyncio.create_task(breaker.admit()) for _ in range(10)]
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    late = [task for task in waiting if not task.done()]
    assert late
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
    await breaker.aclose()
    assert (await breaker.look())[1].in_flight == len(waiting) - len(late)


@pytest.mark.parametrize(("ceiling", "left"), [(0, 19), (42, 39)], ids=["none known", "near one"])
async def test_a_first_refusal_near_a_ceiling_takes_one_slot(
    quick_redis: Redis, clock: Clock, ceiling: int, left: int
) -> None:
    """For a moment few may be in flight, because many ended together: that is not all that the upstream bears."""
    breaker = make_breaker(quick_redis, clock)
    await quick_redis.hset(f"{PREFIX}gate:provider:l", mapping={"limit": 40, "ceiling": ceiling})  # type: ignore[misc, unused-ignore]
    permits = [await breaker.admit() for _ in range(20)]
    assert permits[0] is not None
    await breaker.settle(permits[0], TOO_BUSY, 0.01)
    assert (await breaker.look())[1].limit == left


async def test_of_an_upstream_that_counts_the_calls_of_a_second_hardly_any_is_left_unused(
    quick_redis: Redis, clock: Clock
) -> None:
    """In bursts, 40 calls at once every 214 ms are all that it bears: five times 40 fall within a second."""
    breaker = make_breaker(quick_redis, clock, limits=LimitRules(PaceBounds(limit_max=IN_HAND, start=38)))
    upstream = Capacity(None, PER_S, collapse_s=10.0)
    drain = Drain(breaker, clock, random.Random(1), upstream, IN_HAND)
    await drain.run(RUNS_S)
    used = sum(at_s >= SETTLED_S for at_s in drain.good) / (RUNS_S - SETTLED_S) / PER_S
    assert used >= 0.96
    assert sum(at_s >= SETTLED_S for at_s in drain.refused) <= RUNS_S - SETTLED_S
    assert upstream.collapses == 0
