"""Watches how the line moves and how good promised times are: makes some promises, and compares them with what came."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import structlog

from antrean.orders.course import CourseLog
from antrean.orders.promises import OPEN_MAX, Promise, Promises
from antrean.orders.situation import Situation
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.view import Pace
from antrean.workers.dispatcher import Capacity

log = structlog.get_logger(__name__)

#: New promises a step.
NEW_MAX = 2


class Calibration:
    """One step notes how the line moves, closes the promises whose order has ended, and makes a few new ones.

    `capacity`: how many calls may be made just now. `pace`: how fast the line moves, at a time in ms.
    """

    def __init__(
        self,
        store: OrderStore,
        promises: Promises,
        course: CourseLog,
        capacity: Callable[[], Awaitable[Capacity]],
        pace: Callable[[int], Awaitable[Pace]],
        rng: random.Random | None = None,
    ) -> None:
        self._store = store
        self._promises = promises
        self._course = course
        self._capacity = capacity
        self._pace = pace
        self._rng = rng or random.Random()  # noqa: S311 - which order is looked at is no secret

    async def run_once(self) -> bool:
        """One step. Raises StoreUnavailable, ProviderError."""
        situation = await self._store.situation()
        capacity = await self._capacity()
        stopped = bool(situation.holds) or capacity.provider.broken
        await self._course.note(situation.now_ms, held=stopped, waiting=bool(situation.offices))
        held = stopped or capacity.adapter.broken
        waiting = await self._promises.open()
        if held:
            await self._promises.keep(
                {order_id: replace(p, held=True) for order_id, p in waiting.items() if not p.held}
            )
        await self._close(waiting, held)
        if not held and situation.offices:
            await self._make(situation, waiting)
        return False

    async def _close(self, waiting: dict[str, Promise], held: bool) -> None:
        for order_id, (state, at_ms) in (await self._promises.ended(list(waiting))).items():
            promise = replace(waiting[order_id], held=waiting[order_id].held or held)
            if state is not State.COMPLETED:
                await self._promises.close(order_id, None, None)
                continue
            turned = promise.turned(at_ms)
            ratio = promise.ratio(at_ms)
            await self._promises.close(order_id, turned, None if promise.held else ratio)
            log.info("promised time", order_id=order_id, turned=turned.value, ratio=round(ratio, 2))

    async def _make(self, situation: Situation, waiting: dict[str, Promise]) -> None:
        pace = await self._pace(situation.now_ms)
        sizes = {office: lane.waiting for office, lane in situation.offices.items()}
        places = situation.places()
        made: dict[str, Promise] = {}
        for _ in range(NEW_MAX):
            # The more are watched, the fewer are added: the samples must spread over time, not crowd the first minutes.
            if self._rng.random() < len(waiting) / OPEN_MAX:
                continue
            office = self._rng.choices(list(sizes), weights=list(sizes.values()))[0]
            rank = self._rng.randrange(sizes[office])
            order = await self._store.at_rank(office, rank)
            if order is None or order.id in waiting:
                continue
            span = pace.range(places.spot(office, rank, order.score), stamped=order.kind == "affix")
            if span is not None:
                made[order.id] = Promise.of(span, situation.now_ms)
        await self._promises.keep(made)
