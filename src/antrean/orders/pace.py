"""Reads how fast the line moves, for all who show or promise a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from antrean.orders import eta
from antrean.orders.asking import asked_beside
from antrean.orders.course import CourseLog
from antrean.orders.promises import Promises
from antrean.orders.store import OrderStore
from antrean.orders.view import Pace


class PaceReader:
    """`throughput`: what the upstream's limits allow; may raise a RedisError."""

    def __init__(
        self,
        store: OrderStore,
        promises: Promises,
        course: CourseLog,
        throughput: Callable[[], Awaitable[eta.Throughput]],
    ) -> None:
        self._store = store
        self._promises = promises
        self._course = course
        self._throughput = throughput

    async def read(self, now_ms: int) -> Pace:
        """The pace at `now_ms` by the server's clock. Raises StoreUnavailable."""
        completed, throughput, course, ratios, workers = await asyncio.gather(
            self._store.completions(now_ms, eta.SPANS),
            asked_beside(self._throughput),
            self._course.read(now_ms),
            self._promises.ratios(),
            self._store.alive(now_ms),
        )
        return Pace(now_ms, tuple(completed), throughput, course, eta.learnt(ratios), workers)
