"""An upstream that turns calls away by chance: what does not cease with the load is no reason to send less."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from redis.asyncio import Redis

from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.simulator.capacity import Capacity, Verdict
from drains import ANSWER_S, TOO_BUSY, Drain
from provider_support import Clock, make_breaker

LIMIT_MAX = 10
RUNS_S, SETTLED_S = 32, 20
SHRINKS_S = 8


class Chancy:
    """Turns away a share of the calls by chance, and all beyond `room` at once or `per_s` a second.

    `then`: from SHRINKS_S on it is that one.
    """

    def __init__(
        self, share: float, room: int | None = None, per_s: float | None = None, then: Chancy | None = None
    ) -> None:
        self.share = share
        self._rng = random.Random(1)
        self._room = Capacity(room, per_s)
        self._then = then

    def enter(self, now: float) -> Verdict:
        if self._then is not None and now >= SHRINKS_S:
            self._then._room.in_flight += self._room.in_flight
            self.share, self._room, self._then = self._then.share, self._then._room, None
        return Verdict.OVER if self._rng.random() < self.share else self._room.enter(now)

    def leave(self) -> None:
        self._room.leave()


@pytest.mark.parametrize(("share", "least"), [(0.05, 0.8), (0.15, 0.65)])
async def test_what_is_refused_by_chance_hardly_slows_the_rest(
    quick_redis: Redis, share: float, least: float
) -> None:
    """Of what all slots could do, `least` is done; a refused call keeps its slot for as long as an answer takes."""
    drain = await _drained(quick_redis, Chancy(share, None))
    assert _per_s(drain.good) >= least * LIMIT_MAX / ANSWER_S


async def test_beside_such_chance_the_capacity_is_found_and_not_left_behind(quick_redis: Redis) -> None:
    drain = await _drained(quick_redis, Chancy(0.1, 7))
    assert _per_s(drain.good) >= 0.8 * 7 / ANSWER_S
    assert _per_s(drain.refused) <= 0.35 * (_per_s(drain.good) + _per_s(drain.refused))


@pytest.mark.parametrize(
    ("upstream", "limit_max", "bears_per_s", "most"),
    [
        (lambda: Chancy(0.0, 10, then=Chancy(0.0, 3)), LIMIT_MAX, 3 / ANSWER_S, 0.12),
        (lambda: Chancy(0.0, 16, then=Chancy(0.0, 2)), 32, 2 / ANSWER_S, 0.12),
        (lambda: Chancy(0.0, per_s=20), LIMIT_MAX, 20, 0.12),
        (lambda: Chancy(0.2, then=Chancy(0.0, 4)), LIMIT_MAX, 4 / ANSWER_S, 0.4),
        (lambda: Chancy(0.05, then=Chancy(0.05, 4)), LIMIT_MAX, 4 / ANSWER_S, 0.3),
    ],
    ids=["it shrinks", "it shrinks to little", "it counts per second", "after chance", "beside chance"],
)
async def test_what_our_load_causes_is_hardly_taken_for_chance(
    quick_redis: Redis, upstream: Callable[[], Chancy], limit_max: int, bears_per_s: float, most: float
) -> None:
    """A share learnt before stays, where refusals go on: up to it, and what chance may add, too many are sent."""
    drain = await _drained(quick_redis, upstream(), limit_max)
    assert _per_s(drain.good) >= 0.8 * bears_per_s
    assert _per_s(drain.refused) <= most * (_per_s(drain.good) + _per_s(drain.refused))


async def test_once_it_is_over_a_refusal_is_a_sign_of_load_again(quick_redis: Redis) -> None:
    clock = Clock()
    breaker = make_breaker(quick_redis, clock, limits=LimitRules(PaceBounds(limit_max=LIMIT_MAX, start=2)))
    upstream = Chancy(0.1, None)
    drain = Drain(breaker, clock, random.Random(1), upstream, 2 * LIMIT_MAX)
    await drain.run(SETTLED_S)
    assert (await _usual(quick_redis)) >= 0.02
    upstream.share = 0.0
    await drain.run(RUNS_S)
    assert (await _usual(quick_redis)) < 0.01


async def test_an_outage_is_not_taken_for_chance(quick_redis: Redis) -> None:
    clock = Clock()
    breaker = make_breaker(quick_redis, clock, limits=LimitRules(PaceBounds(limit_max=LIMIT_MAX, start=2)))
    for outcome in [None] * 40 + [TOO_BUSY] * 8:
        permit = await breaker.admit()
        assert permit is not None
        clock.pass_s(0.3)
        await breaker.settle(permit, outcome, 0.2 if outcome is None else 0.01)
        clock.pass_s(1)
    assert await _usual(quick_redis) == 0.0


async def _usual(redis: Redis) -> float:
    calls, refused = await redis.hmget("test:gate:provider:l", "low_calls", "low_busy")  # type: ignore[misc, unused-ignore]
    return float(refused or 0) / float(calls or 1)


async def _drained(redis: Redis, upstream: Chancy, limit_max: int = LIMIT_MAX) -> Drain:
    clock = Clock()
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=limit_max, start=2)))
    drain = Drain(breaker, clock, random.Random(1), upstream, 2 * limit_max)
    await drain.run(RUNS_S)
    await breaker.aclose()
    return drain


def _per_s(times_s: list[float]) -> float:
    return sum(at_s >= SETTLED_S for at_s in times_s) / (RUNS_S - SETTLED_S)
