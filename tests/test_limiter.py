"""The fleet's one limit of calls in flight and its one retry budget, as the shared breaker gives them out."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from antrean.provider.breaker import NotAdmitted
from antrean.provider.errors import OutcomeUnknown, ProviderError, Unavailable
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.provider.policy import BreakerState
from provider_support import Clock, admitted, calls, half_opened, make_breaker

CLOSED, OPEN = BreakerState.CLOSED, BreakerState.OPEN


async def test_the_limit_is_one_for_all_and_a_waiting_call_takes_the_slot_that_comes_free(
    redis: Redis, clock: Clock
) -> None:
    limits = LimitRules(PaceBounds(limit_max=2, start=2))
    one, other = make_breaker(redis, clock, limits=limits), make_breaker(redis, clock, limits=limits)
    first, _second = await admitted(one), await admitted(other)
    with pytest.raises(NotAdmitted, match="no slot") as refused:
        await other.admit(0.1)
    assert refused.value.refused_by_breaker
    waiting = asyncio.create_task(one.admit(5.0))
    await asyncio.sleep(0)
    await one.settle(first, None, 0.1)
    assert await asyncio.wait_for(waiting, 2) is not None
    assert (await one.look())[1].in_flight == 2


@pytest.mark.parametrize("good", [4, 0], ids=["the tenth is good", "the tenth fails"])
async def test_who_waits_behind_the_call_that_opens_it_asks_after_that(
    redis: Redis, clock: Clock, good: int
) -> None:
    """A slot that a good answer frees is asked for in the same breath, but not where that may open the breaker."""
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=1, start=1)))
    await calls(breaker, good)
    await calls(breaker, 9 - good, OutcomeUnknown("lost"))
    last = await admitted(breaker)
    waiting = asyncio.create_task(breaker.admit(5.0))
    while not breaker.limiter._waiting:
        await asyncio.sleep(0)
    await breaker.settle(last, None if good else OutcomeUnknown("lost"), 0.1)
    with pytest.raises(NotAdmitted):
        await waiting
    assert (await breaker.status()).state is OPEN


async def test_a_cancelled_admission_holds_nothing(redis: Redis, clock: Clock) -> None:
    breaker = make_breaker(redis, clock)
    waiting = [asyncio.create_task(breaker.admit(5.0)) for _ in range(10)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await breaker.aclose()
    assert (await breaker.look())[1].in_flight == 0


async def test_retry_after_holds_the_whole_fleet(redis: Redis, clock: Clock) -> None:
    one, other = make_breaker(redis, clock), make_breaker(redis, clock)
    await calls(one, 1, Unavailable("busy", sent=True, retry_after_s=7.0))
    with pytest.raises(NotAdmitted) as refused:
        await other.admit(0.5)
    assert refused.value.retry_after_s == pytest.approx(7.0)
    assert not refused.value.refused_by_breaker
    clock.pass_s(7.1)
    assert await other.admit() is not None


async def test_an_upstream_that_asks_for_a_long_wait_is_away_until_a_probe_finds_it_back(
    redis: Redis, clock: Clock
) -> None:
    breaker = make_breaker(redis, clock)
    await calls(breaker, 20)
    await calls(breaker, 1, Unavailable("busy", sent=True, retry_after_s=120.0))
    status = await breaker.status()
    assert (status.state, status.reason) == (OPEN, "the upstream asked us to wait for 120 s")
    clock.pass_s(5)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered")
    await calls(breaker, 1)
    assert (await breaker.status()).state is CLOSED


async def test_retries_are_at_most_a_tenth_of_calls(redis: Redis, clock: Clock) -> None:
    fleet = [make_breaker(redis, clock) for _ in range(3)]
    allowed = 0
    for number in range(90):
        breaker = fleet[number % 3]
        await calls(breaker, 1)
        permit = await breaker.admit(retry=True)
        if permit is not None:
            allowed += 1
            await breaker.settle(permit, None, 0.1)
    assert 7 <= allowed <= 9


async def test_two_who_judge_one_step_move_the_limit_once(redis: Redis, clock: Clock) -> None:
    breaker = make_breaker(redis, clock)
    judged = ("0", 7, 0.2, 0, 0, 0.0, 12, "0")
    assert await breaker._run("pace", *judged) == ["moved"]
    assert await breaker._run("pace", *judged) == ["ignored"]
    assert (await breaker.look())[1].limit == 7


async def test_recovery_starts_with_the_low_limit(quick_redis: Redis, clock: Clock) -> None:
    breaker = make_breaker(quick_redis, clock, limits=LimitRules(PaceBounds(limit_max=16, start=4)))
    for _ in range(40):
        permits = [await admitted(breaker) for _ in range((await breaker.look())[1].limit)]
        clock.pass_s(0.2)
        for permit in permits:
            await breaker.settle(permit, None, 0.2)
    assert (await breaker.look())[1].limit == 16
    await half_opened(breaker, clock)
    await calls(breaker, 1)
    assert (await breaker.look())[1].limit <= 5


@pytest.mark.parametrize(
    ("timed", "error", "grows"),
    [
        (False, OutcomeUnknown("lost"), True),
        (False, Unavailable("busy", sent=True), False),
        (True, OutcomeUnknown("lost"), False),
    ],
    ids=["questions fail", "questions are turned away", "orders' calls fail"],
)
async def test_a_free_question_that_fails_does_not_slow_orders_down(
    redis: Redis, clock: Clock, timed: bool, error: ProviderError, grows: bool
) -> None:
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=32, start=3)))
    for _ in range(4):
        failing, *good = [await admitted(breaker) for _ in range((await breaker.look())[1].limit)]
        clock.pass_s(0.2)
        for permit in good:
            await breaker.settle(permit, None, 0.2)
        await breaker.settle(failing, error, 0.2, timed=timed)
    limit = (await breaker.look())[1].limit
    assert limit > 3 if grows else limit < 3


async def test_the_leases_of_a_living_worker_are_renewed(redis: Redis) -> None:
    limits = LimitRules(PaceBounds(limit_max=1, start=1), lease_s=1.0)
    breaker, other = make_breaker(redis, limits=limits), make_breaker(redis, limits=limits)
    permit = await admitted(breaker)
    with pytest.raises(NotAdmitted, match="no slot"):
        await other.admit(2.0)
    await breaker.settle(permit, None, 2.0)
    assert await other.admit() is not None
    await breaker.aclose()
    await other.aclose()
