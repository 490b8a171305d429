"""A drain in made-up time: orders, the breaker's real scripts, and an upstream that a test makes up."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol

from antrean.provider.breaker import Permit, SharedBreaker
from antrean.provider.errors import Unavailable
from antrean.simulator.capacity import Verdict
from provider_support import Clock

TOO_BUSY = Unavailable("too busy", sent=True)
#: How long the modelled upstream takes for an answer, in seconds.
ANSWER_S = 0.2


class Upstream(Protocol):
    """What takes calls: whether it is ADMITTED is told at once."""

    def enter(self, now: float) -> Verdict:
        """A call begins, at `now` in seconds."""
        ...

    def leave(self) -> None:
        """A call that was admitted is over."""
        ...


class Drain:
    """Orders without end, the breaker's scripts and a modelled upstream, in made-up time; `in_hand` orders at once."""

    def __init__(
        self, breaker: SharedBreaker, clock: Clock, rng: random.Random, upstream: Upstream, in_hand: int
    ) -> None:
        self.upstream = upstream
        self.good: list[float] = []
        self.refused: list[float] = []
        self._breaker = breaker
        self._clock = clock
        self._began_ms = clock.ms
        self._rng = rng
        self._now_s = 0.0
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._number = itertools.count()
        self._waiting: deque[int] = deque(range(in_hand))

    async def run(self, until_s: float) -> None:
        """Drain until so many seconds from the beginning."""
        for tick in range(int((until_s - self._now_s) / 0.05)):
            self._at(self._now_s + 0.05 * tick, self._wake)
        while self._events and self._events[0][0] < until_s:
            self._now_s, _, act = heapq.heappop(self._events)
            self._clock.ms = self._began_ms + int(1000 * self._now_s)
            if asyncio.iscoroutine(work := act()):
                await work

    def _at(self, at_s: float, act: Callable[[], object]) -> None:
        heapq.heappush(self._events, (at_s, next(self._number), act))

    async def _wake(self) -> None:
        for _ in range(min(3, len(self._waiting))):
            if not await self._begin(self._waiting.popleft()):
                return

    async def _begin(self, order: int) -> bool:
        lease = f"{order} {self._now_s}"
        code, _state, epoch, step, wait_ms, _reason = await self._breaker._admit_once(lease, False, True)
        if code != "granted":
            self._waiting.append(order)
            return False
        permit = Permit(lease, epoch, step, False)
        at_s = self._now_s + int(wait_ms) / 1000 + self._rng.uniform(0.001, 0.005)
        self._at(at_s, lambda: self._arrive(order, permit))
        return True

    def _arrive(self, order: int, permit: Permit) -> None:
        admitted = self.upstream.enter(self._now_s) is Verdict.ADMITTED
        took_s = ANSWER_S + self._rng.uniform(0.002, 0.006) if admitted else 0.003
        (self.good if admitted else self.refused).append(self._now_s)
        if admitted:
            self._at(self._now_s + took_s, self.upstream.leave)
        end_s = self._now_s + took_s + self._rng.uniform(0.001, 0.004)
        self._at(end_s, lambda: self._end(order, permit, took_s, admitted))

    async def _end(self, order: int, permit: Permit, took_s: float, admitted: bool) -> None:
        await self._breaker.settle(permit, None if admitted else TOO_BUSY, took_s)
        self._waiting.append(order)
        self._at(self._now_s + self._rng.uniform(0.0005, 0.002), self._wake)
