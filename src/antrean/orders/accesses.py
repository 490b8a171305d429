"""Who looked at an order's personal data: kept for a year and more, and bounded for each order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.model import Order

#: Entries kept for one order, the newest, and for how long after the last one, in seconds.
KEPT_MAX = 200
KEPT_S = 400 * 24 * 3600

What = Literal["identity", "document"]


@dataclass(frozen=True, slots=True)
class Access:
    """`actor` looked at an order's `identity` in full, or at its `document`; `at_ms` since the epoch.

    `order_id` is the upload's own id where its pages were looked at: there need not be an order yet.
    """

    order_id: str
    at_ms: int
    actor: str
    what: What


async def write(redis: Redis, accesses: Iterable[Access]) -> None:
    """Keep them, in the order given, in one round trip. Raises StoreUnavailable."""
    pipe = redis.pipeline(transaction=False)
    for a in accesses:
        key = keys.ACCESS + a.order_id
        pipe.lpush(key, f"{a.at_ms}|{a.what}|{a.actor}")
        pipe.ltrim(key, 0, KEPT_MAX - 1)
        pipe.expire(key, KEPT_S)
    await asked(pipe.execute())


async def read(redis: Redis, order_id: str) -> list[Access]:
    """Who looked, the latest first. Raises StoreUnavailable."""
    rows = await asked(redis.lrange(keys.ACCESS + order_id, 0, KEPT_MAX - 1))
    return [_access(order_id, row.decode()) for row in rows]


async def read_of(redis: Redis, order: Order) -> list[Access]:
    """Who looked at an order or at pages of its upload, the latest first. Raises StoreUnavailable."""
    rows = await read(redis, order.id)
    if order.document_id is not None:
        # Before there was an order, and after.
        rows += await read(redis, order.document_id)
    return sorted(rows, key=lambda row: -row.at_ms)


def _access(order_id: str, row: str) -> Access:
    at, what, actor = row.split("|", 2)
    return Access(order_id, int(at), actor, "document" if what == "document" else "identity")
