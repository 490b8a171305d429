"""An upstream that turns calls away when it is full, and asks all of them to wait: such pauses are seldom caused."""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from redis.asyncio import Redis

from antrean.provider.breaker import Permit, SharedBreaker
from antrean.provider.errors import Unavailable
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from provider_support import Clock, let_in, make_breaker

ANSWER_MS, REFUSAL_MS, LOOK_MS = 200, 5, 25

Bears = Callable[[float], int]


@dataclass
class _Upstream:
    """Bears so many calls at a time, or so many begun in a second; turns the others away and asks for a pause."""

    bears: Bears
    asks_s: float
    per_second: bool = False
    in_flight: int = 0
    begun: deque[int] = field(default_factory=deque)

    def takes(self, at_ms: int, begin_ms: int) -> bool:
        most = self.bears((at_ms - begin_ms) / 1000)
        while self.begun and self.begun[0] <= at_ms - 1000:
            self.begun.popleft()
        if (len(self.begun) if self.per_second else self.in_flight) >= most:
            return False
        self.begun.append(at_ms)
        self.in_flight += 1
        return True


@dataclass
class _Drain:
    """Calls as fast as they are let through, each when its turn has come, for a time that the test's clock tells."""

    breaker: SharedBreaker
    clock: Clock
    waits_s: dict[str, float]
    done: int = 0
    refused: int = 0

    async def run(self, upstream: _Upstream, seconds: int) -> None:
        breaker, clock = self.breaker, self.clock
        begin_ms, number = clock(), itertools.count()
        starts: list[tuple[int, int, Permit]] = []
        calls: list[tuple[int, int, Permit, bool, int]] = []
        while clock() < begin_ms + 1000 * seconds:
            while (permit := await let_in(breaker)) is not None:
                heapq.heappush(
                    starts, (clock() + int(1000 * self.waits_s.pop(permit.lease)), next(number), permit)
                )
            while starts and starts[0][0] <= clock():
                _, n, permit = heapq.heappop(starts)
                good = upstream.takes(clock(), begin_ms)
                took_ms = ANSWER_MS if good else REFUSAL_MS
                heapq.heappush(calls, (clock() + took_ms, n, permit, good, took_ms))
            if await breaker.claim_probe():
                await breaker.probe_result(True, "answered")
            next_ms = min([clock() + LOOK_MS, *(each[0][0] for each in (calls, starts) if each)])
            clock.ms = max(clock() + 1, next_ms)
            while calls and calls[0][0] <= clock():
                _, _, permit, good, took_ms = heapq.heappop(calls)
                upstream.in_flight -= good
                self.done += good
                self.refused += not good
                error = None if good else Unavailable("busy", sent=True, retry_after_s=upstream.asks_s)
                await breaker.settle(permit, error, took_ms / 1000)


@pytest.fixture(name="drain")
def _drain(quick_redis: Redis, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> _Drain:
    waits_s: dict[str, float] = {}

    async def noted(_breaker: SharedBreaker, permit: Permit, wait_s: float) -> Permit:
        waits_s[permit.lease] = wait_s  # in this clock's time nobody sleeps
        return permit

    monkeypatch.setattr(SharedBreaker, "_in_turn", noted)
    return _Drain(
        make_breaker(quick_redis, clock, limits=LimitRules(PaceBounds(limit_max=64))), clock, waits_s
    )


def _steady(_s: float) -> int:
    return 10


def _fewer(s: float) -> int:
    return 14 if s < 20 else 4


def _ever_fewer(s: float) -> int:
    return 32 if s < 20 else 16 if s < 40 else 8


def _more(s: float) -> int:
    return 4 if s < 20 else 14


@pytest.mark.parametrize(
    ("bears", "per_second", "asks_s", "share"),
    [
        (_steady, False, 1.0, 0.8),
        (_steady, False, 5.0, 0.7),
        (lambda s: 5 * _steady(s), True, 1.0, 0.8),
        (_fewer, False, 1.0, 0.7),
        (_ever_fewer, False, 5.0, 0.25),
        (_more, False, 1.0, 0.65),
    ],
    ids=[
        "so many at a time",
        "it asks for long",
        "so many a second",
        "it bears less",
        "ever less and it asks for long",
        "it bears more",
    ],
)
async def test_most_of_what_it_bears_is_used(
    drain: _Drain, bears: Bears, per_second: bool, asks_s: float, share: float
) -> None:
    """Of sixty seconds with no pause in them, so much is done."""
    await drain.run(_Upstream(bears, asks_s, per_second), 60)
    borne = sum(bears(s) * (1 if per_second else 1000 // ANSWER_MS) for s in range(60))
    assert drain.done >= share * borne
    assert drain.refused <= 0.04 * drain.done
