"""Builds orders and the objects around them for tests on a real Valkey, with time in the test's hands."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.books import PAID, PARTS
from antrean.orders.commit import GroupCommit
from antrean.orders.fulfil import Fulfiller
from antrean.orders.ledger import Ledger
from antrean.orders.model import Document, NewOrder, Order, Placement, Taxpayer
from antrean.orders.resolve import Resolver
from antrean.orders.scripts import Scripts
from antrean.orders.store import OrderStore
from antrean.orders.submitting import Limits
from antrean.orders.vault import Vault, VaultKey
from upstream_model import MemoryDocuments, UpstreamModel, verify

_numbers = itertools.count(1)
DIGEST_KEY = bytes(range(32))
VAULT = Vault([VaultKey("test", bytes(32))], DIGEST_KEY)
SETTLE_S = 120.0
#: The totals of books in which nothing was written.
NO_MONEY = dict.fromkeys((PAID, *PARTS), 0)


async def note_vault(redis: Redis, vault: Vault = VAULT) -> None:
    """Note the vault's first key as one that seals here, as a start does."""
    if not vault.note:
        vault.note = vault.seal(DIGEST_KEY, "ring")
    await redis.hset(keys.RING, vault.primary, vault.note)


@dataclass
class World:
    """A store, an upstream and a clock (ms) that stands still until it is moved."""

    redis: Redis
    now_ms: int = 1_800_000_000_000
    limits: Limits = field(default_factory=Limits)
    #: How far `now_ms` was set; the rest of it is time that went by.
    set_by_ms: int = 0

    def __post_init__(self) -> None:
        self._noted = False
        self.upstream = UpstreamModel()
        self.documents = MemoryDocuments()
        self.scripts = Scripts(self.redis, lambda: self.now_ms)
        commit = GroupCommit(self.scripts, "submit")
        self.store = OrderStore(self.scripts, commit, self.limits, vault=VAULT)
        self.resolver = self.new_resolver()

    def new_resolver(self) -> Resolver:
        """A resolver that knows nothing yet, as after a change of leader."""
        return Resolver(self.store, self.upstream, SETTLE_S, lambda: (self.now_ms - self.set_by_ms) / 1000)

    def set_clock(self, by_ms: int) -> None:
        """The server's clock jumps; no time goes by."""
        self.now_ms += by_ms
        self.set_by_ms += by_ms

    def worker(self, name: str = "w1") -> Fulfiller:
        """A worker's fulfiller; its name must be unique to its life."""
        return Fulfiller(self.store, self.upstream, self.documents, verify, name)

    async def submit(self, **changes: Any) -> Order:
        """Accept an order made from `new_order`."""
        await self._begin()
        order, *_ = await self.store.submit(new_order(**changes))
        return order

    async def _begin(self) -> None:
        # Once, as a gateway does: each write waits for the disk.
        if not self._noted:
            await note_vault(self.redis)
            self._noted = True

    async def affix(self, **changes: Any) -> Order:
        """Accept an affix order with an uploaded document."""
        document_id = f"doc{next(_numbers)}"
        await self.redis.hset(keys.DOCUMENT + document_id, "office", changes.get("office", "MDN-01"))
        self.documents.kept[f"upload {document_id}"] = b"%PDF original"
        return await self.submit(
            kind="affix", document_id=document_id, placement=Placement(1, 10, 10, 90, 90), **changes
        )

    async def order(self, order_id: str) -> Order:
        """The order as it stands."""
        order = await self.store.get(order_id)
        assert order is not None
        return order

    async def rank(self, order: Order) -> int | None:
        """How many stand before it in its own lane; None where it waits in none."""
        return (await self.store.lanes.ranks([order]))[0]

    async def beat(self, *workers: str) -> None:
        """Signs of life."""
        await self._begin()
        for worker in workers:
            await self.store.beat(worker)

    async def sweep(self, jobs: tuple[str, ...] = ()) -> Any:
        """One sweep with the product's own bounds."""
        return await self.store.sweep(
            lease_ms=6000, claim_max_ms=300_000, dispatch_max_ms=3000, most=1000, jobs=jobs
        )

    async def totals(self) -> dict[str, int]:
        """The ledger's accounts in rupiah."""
        return await Ledger(self.store).totals()

    async def assert_books_balance(self) -> None:
        """paid = stamped + bought_unused + refunded + held; and every SN sold is on our books."""
        t = await self.totals()
        assert t.get("paid", 0) == sum(
            t.get(a, 0) for a in ("stamped", "bought_unused", "refunded", "held")
        ), t
        assert all(v >= 0 for v in t.values()), t


def new_order(**changes: Any) -> NewOrder:
    """A purchase of office MDN-01 with an idempotency key of its own."""
    fields: dict[str, Any] = {
        "office": "MDN-01",
        "idempotency_key": f"key-{next(_numbers)}",
        "fingerprint": "f",
        "kind": "purchase",
        "document": Document("4b", "SK-1", "2024-09-04", "surat.pdf"),
        "taxpayer": Taxpayer("KTP", "1271010101900001", "Siti Aminah"),
    }
    return NewOrder(**(fields | changes))
