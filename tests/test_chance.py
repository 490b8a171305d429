"""An upstream that turns calls away by chance: what does not cease with the load is no reason to send less."""

from __future__ import annotations

import random

import pytest
from redis.asyncio import Redis

from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.simulator.capacity import Capacity, Verdict
from drains import ANSWER_S, TOO_BUSY, Drain
from provider_support import Clock, make_breaker

LIMIT_MAX = 10
RUNS_S, SETTLED_S = 32, 20


class Chancy:
    """Turns away a share of the calls by chance, and all beyond `room` at once."""

    def __init__(self, share: float, room: int | None) -> None:
        self.share = share
        self._rng = random.Random(1)
        self._room = Capacity(room, None)

    def enter(self, now: float) -> Verdict:
        return Verdict.OVER if self._rng.random() < self.share else self._room.enter(now)

    def leave(self) -> None:
        self._room.leave()


@pytest.mark.parametrize(("share", "least"), [(0.05, 0.8), (0.15, 0.65)])
async def test_what_is_refused_by_chance_hardly_slows_the_rest(
    redis: Redis, share: float, least: float
) -> None:
    """Of what all slots could do, `least` is done; a refused call keeps its slot for as long as an answer takes."""
    drain = await _drained(redis, Chancy(share, None))
    assert _per_s(drain.good) >= least * LIMIT_MAX / ANSWER_S


async def test_beside_such_chance_the_capacity_is_found_and_not_left_behind(redis: Redis) -> None:
    drain = await _drained(redis, Chancy(0.1, 7))
    assert _per_s(drain.good) >= 0.8 * 7 / ANSWER_S
    assert _per_s(drain.refused) <= 0.35 * (_per_s(drain.good) + _per_s(drain.refused))


async def test_once_it_is_over_a_refusal_is_a_sign_of_load_again(redis: Redis) -> None:
    clock = Clock()
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=LIMIT_MAX, start=2)))
    upstream = Chancy(0.1, None)
    drain = Drain(breaker, clock, random.Random(1), upstream, 2 * LIMIT_MAX)
    await drain.run(SETTLED_S)
    assert (await _usual(redis)) >= 0.02
    upstream.share = 0.0
    await drain.run(RUNS_S)
    assert (await _usual(redis)) < 0.01


@pytest.mark.parametrize(("limit", "learns"), [(17, False), (10, True)], ids=["close", "far"])
async def test_a_ceiling_lies_too_high_where_refusals_are_usual_so_only_far_below_it_they_are_learnt(
    redis: Redis, limit: int, learns: bool
) -> None:
    clock = Clock()
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=LIMIT_MAX, start=2)))
    kept = {"limit": limit, "ceiling": 20, "low_calls": 40, "low_busy": 4, "hold_until": clock.ms + 60_000}
    await redis.hset("test:gate:provider:l", mapping=kept)  # type: ignore[misc, unused-ignore]
    for number in range(5):
        permit = await breaker.admit()
        assert permit is not None
        await breaker.settle(permit, None if number % 2 else TOO_BUSY, 0.01)
    assert (await _usual(redis) > 0.1) is learns


async def test_an_outage_is_not_taken_for_chance(redis: Redis) -> None:
    clock = Clock()
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=LIMIT_MAX, start=2)))
    for outcome in [None] * 40 + [TOO_BUSY] * 8:
        permit = await breaker.admit()
        assert permit is not None
        clock.pass_s(0.3)
        await breaker.settle(permit, outcome, 0.2 if outcome is None else 0.01)
        clock.pass_s(1)
    assert await _usual(redis) == 0.0


async def _usual(redis: Redis) -> float:
    calls, refused = await redis.hmget("test:gate:provider:l", "low_calls", "low_busy")  # type: ignore[misc, unused-ignore]
    return float(refused or 0) / float(calls or 1)


async def _drained(redis: Redis, upstream: Chancy) -> Drain:
    clock = Clock()
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=LIMIT_MAX, start=2)))
    drain = Drain(breaker, clock, random.Random(1), upstream, 2 * LIMIT_MAX)
    await drain.run(RUNS_S)
    await breaker.aclose()
    return drain


def _per_s(times_s: list[float]) -> float:
    return sum(at_s >= SETTLED_S for at_s in times_s) / (RUNS_S - SETTLED_S)
