"""An archive on a local object store that may fail, and a world whose old orders go there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

from redis.asyncio import Redis

from antrean.orders import keys, listing
from antrean.orders.archive import ROOT, Archive
from antrean.orders.archiver import Archiver
from antrean.orders.documents import DocumentStore, DocumentStoreUnavailable
from antrean.orders.lease import alone
from antrean.orders.ledger import Ledger
from antrean.orders.listing import Filter
from antrean.orders.model import Order
from antrean.orders.pictures import Pictures
from antrean.orders.states import State
from orders_support import World

DAY_S = 86400


class Objects(DocumentStore):
    """A local object store that may fail at its next call of a kind, or forget half of what it is given."""

    fail: str | None = None
    tear = False

    @classmethod
    def at(cls, folder: Path) -> Self:
        return cls(cls.from_url(folder.as_uri())._store, folder)

    async def put(self, path: str, data: bytes) -> None:
        self._may_fail("put")
        await super().put(path, data[: len(data) // 2] if self.tear else data)

    async def get(self, path: str) -> bytes | None:
        self._may_fail("get")
        return await super().get(path)

    async def delete(self, path: str) -> None:
        self._may_fail("delete")
        await super().delete(path)

    def _may_fail(self, kind: str) -> None:
        if self.fail == kind:
            raise DocumentStoreUnavailable("away")


class Slow(Objects):
    """Stops in the middle of its first segment until it is let go on."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()

    async def put(self, path: str, data: bytes) -> None:
        if path.startswith("archive/orders") and not self.reached.is_set():
            self.reached.set()
            await self.go_on.wait()
        await super().put(path, data)


class Shelf:
    """A world with an archive; `store` reads both."""

    def __init__(self, redis: Redis, folder: Path, objects: Objects | None = None) -> None:
        self.world = World(redis)
        self.objects = objects or Objects.at(folder)
        self.archive = self.another_archive()
        self.store = self.world.store
        self.store.archive = self.archive
        self.archiver = Archiver(
            self.store, self.archive, Pictures(self.world.scripts, self.world.documents), DAY_S
        )

    def another_archive(self) -> Archive:
        """As another process has it."""
        return Archive(self.objects, lambda: alone(self.world.scripts, "archive"))

    async def finished(self) -> dict[str, Order]:
        """One order of each end: a purchase and an affix completed, one cancelled, one rejected and paid back."""
        world = self.world
        purchase, affix, cancelled = await world.submit(), await world.affix(), await world.submit()
        await world.store.cancel(cancelled.id)
        worker = world.worker()
        for order in (purchase, affix, affix):
            await worker.run(order.id)
        rejected = await world.submit()
        claim = await self.store.claim(rejected.id, "w", "1")
        assert claim is not None
        await self.store.begin(claim.order, "2", State.BUYING, "asking", 1)
        await self.store.refuse(claim.order, "3", "reject", "12", "no", 1)
        await Ledger(self.store).refund(rejected.id, "ops: paid back")
        ends = {"purchase": purchase, "affix": affix, "cancelled": cancelled, "rejected": rejected}
        return {name: await world.order(order.id) for name, order in ends.items()}

    def later(self, seconds: float = DAY_S + 1) -> None:
        self.world.now_ms += int(seconds * 1000)

    async def move(self) -> None:
        while await self.archiver.run_once():
            pass

    async def archive_paths(self) -> list[str]:
        """Of all segments."""
        days = [path.rstrip("/").rsplit("/", 1)[-1] for path in await self.objects.folders(ROOT)]
        return [path for day in days for path in await self.objects.paths(f"{ROOT}/{day}")]

    async def in_redis(self) -> set[str]:
        found: Any = await self.world.redis.keys(keys.ORDER + "*")
        return {key.decode().removeprefix(keys.ORDER) for key in found}

    async def listed(self, limit: int = 50, **wanted: Any) -> list[Order]:
        """All pages of a list."""
        found: list[Order] = []
        cursor: int | None = None
        while True:
            page = await listing.page(self.world.redis, Filter(**wanted), cursor, limit, self.archive)
            found += page.orders
            cursor = page.next_cursor
            if cursor is None:
                return found
