"""Ranks in the lanes for many readers at once: those who ask during a round trip to Redis share the next one."""

from __future__ import annotations

import asyncio

from antrean.orders.lanes import lane_of
from antrean.orders.model import Order, StoreUnavailable
from antrean.orders.store import OrderStore

#: Orders asked for in one round trip.
BATCH_MAX = 500


class Ranks:
    """How many stand before an order in its lane."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store
        self._waiting: list[tuple[Order, asyncio.Future[int | None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def of(self, order: Order) -> int | None:
        """Its rank, None where it waits in no lane. Raises StoreUnavailable."""
        if lane_of(order) is None or order.owner:
            return None
        future: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((order, future))
        if self._task is None:
            self._task = asyncio.create_task(self._ask())
        return await future

    async def _ask(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                await self._ask_batch(batch)
        finally:
            self._task = None

    async def _ask_batch(self, batch: list[tuple[Order, asyncio.Future[int | None]]]) -> None:
        try:
            ranks = await self._store.lanes.ranks([order for order, _ in batch])
        except StoreUnavailable as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(StoreUnavailable(str(error)))
            return
        for (_, future), rank in zip(batch, ranks, strict=True):
            if not future.done():
                future.set_result(rank)
