"""An upstream that falls over when it is pushed past what it bears, without a sign before: it is remembered how high
that was, beyond the breaker's opening, and tried again ever more seldom."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from antrean.provider.breaker import Permit, SharedBreaker
from antrean.provider.errors import Unavailable
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from provider_support import Clock, let_in, make_breaker

ANSWER_MS, REFUSAL_MS, DOWN_MS, LOOK_MS = 200, 5, 3000, 50


@dataclass
class _Drain:
    """Calls as fast as they are let through, for a time that the test's clock tells."""

    done: int = 0
    refused: int = 0
    falls: int = 0

    async def run(
        self, breaker: SharedBreaker, clock: Clock, seconds: int, bears: Callable[[float], int]
    ) -> None:
        begin_ms = clock()
        down_until_ms, in_flight, number = 0, 0, itertools.count()
        calls: list[tuple[int, int, Permit, bool]] = []
        while clock() < begin_ms + 1000 * seconds:
            while (permit := await let_in(breaker)) is not None:
                now_ms = clock()
                if in_flight >= bears((now_ms - begin_ms) / 1000) and now_ms >= down_until_ms:
                    self.falls, down_until_ms = self.falls + 1, now_ms + DOWN_MS
                good = now_ms >= down_until_ms
                in_flight += good
                ends_ms = now_ms + (ANSWER_MS if good else REFUSAL_MS)
                heapq.heappush(calls, (ends_ms, next(number), permit, good))
            if await breaker.claim_probe():
                await breaker.probe_result(True, "answered")
            next_ms = min(calls[0][0], clock() + LOOK_MS) if calls else clock() + LOOK_MS
            clock.pass_s((next_ms - clock()) / 1000)
            while calls and calls[0][0] <= clock():
                _, _, permit, good = heapq.heappop(calls)
                in_flight -= good
                self.done, self.refused = self.done + good, self.refused + (not good)
                error = None if good else Unavailable("busy", sent=True)
                await breaker.settle(permit, error, (ANSWER_MS if good else REFUSAL_MS) / 1000)


@pytest.fixture(name="breaker")
def _breaker(quick_redis: Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> SharedBreaker:
    async def at_once(_breaker: SharedBreaker, permit: Permit, _wait_s: float) -> Permit:
        return permit  # in this clock's time nobody sleeps

    monkeypatch.setattr(SharedBreaker, "_in_turn", at_once)
    return make_breaker(quick_redis, clock, limits=LimitRules(PaceBounds(limit_max=64)))


@pytest.mark.parametrize(
    ("bears", "least"),
    [(1, 200), (2, 400), (4, 800), (16, 2400)],
    ids=str,
)
async def test_one_that_falls_over_is_pushed_there_ever_more_seldom(
    breaker: SharedBreaker, clock: Clock, bears: int, least: int
) -> None:
    """Of five a second for each that it bears, less the falls and the time after them, these are done at least."""
    drain = _Drain()
    await drain.run(breaker, clock, 60, lambda _s: bears)
    assert 2 <= drain.falls <= 4
    assert drain.refused <= 0.1 * (drain.done + drain.refused)
    assert drain.done > least


@pytest.mark.parametrize(
    ("bears", "least"),
    [
        (lambda at_s: 4 if at_s < 20 else 32, 1300),
        (lambda at_s: 32 if at_s < 20 else 4, 1000),
        (lambda at_s: 4 if at_s < 20 else 2, 500),
        (lambda at_s: 2 if at_s < 20 else 8 if at_s < 40 else 32, 800),
    ],
    ids=["it bears more", "it bears less", "it bears little less", "in steps"],
)
async def test_what_it_bears_is_found_anew(
    breaker: SharedBreaker, clock: Clock, bears: Callable[[float], int], least: int
) -> None:
    drain = _Drain()
    await drain.run(breaker, clock, 60, bears)
    assert drain.falls <= 6
    assert drain.refused <= 0.1 * (drain.done + drain.refused)
    assert drain.done > least


@pytest.mark.parametrize(("up_s", "down_s"), [(4, 3), (6, 3), (9, 4)], ids=str)
async def test_one_that_comes_and_goes_by_itself_is_not_taken_for_one_that_was_pushed(
    breaker: SharedBreaker, clock: Clock, up_s: int, down_s: int
) -> None:
    """It bears nine: once it stays, of the 900 that it bears in 20 seconds more than 400 are done."""
    await _Drain().run(breaker, clock, 90, lambda at_s: 9 if at_s % (up_s + down_s) < up_s else 0)
    afterwards = _Drain()
    await afterwards.run(breaker, clock, 20, lambda _s: 9)
    assert afterwards.done > 400
