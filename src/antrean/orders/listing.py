"""Lists of orders, newest first, a page at a time."""

from __future__ import annotations

from dataclasses import dataclass

from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.model import Order
from antrean.orders.states import State
from antrean.orders.store import asked

#: Orders looked at in one round trip, and in one call at most: a filter that fits little ends with a cursor.
CHUNK = 500
SCAN_MAX = 5000


@dataclass(frozen=True, slots=True)
class Filter:
    """Which orders: None means any."""

    office: str | None = None
    state: State | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """Some orders and where to go on; `next_cursor` None: that was all. A page may be short and still have one."""

    orders: tuple[Order, ...]
    next_cursor: int | None


async def page(redis: Redis, wanted: Filter, cursor: int | None, limit: int) -> Page:
    """The newest orders before `cursor` (a sequence number) that fit. Raises StoreUnavailable."""
    index = keys.INDEX_ALL if wanted.office is None else keys.INDEX_OFFICE + wanted.office
    filtered = wanted.state is not None or wanted.reference is not None
    count = CHUNK if filtered else limit + 1
    found: list[Order] = []
    for _ in range(SCAN_MAX // CHUNK):
        top = "+inf" if cursor is None else f"({cursor}"
        rows = await asked(redis.zrevrangebyscore(index, top, "-inf", start=0, num=count, withscores=True))
        here = [(order_id.decode(), int(sequence)) for order_id, sequence in rows]
        fitting = await _fitting(redis, here, wanted) if filtered else here
        more = len(fitting) > limit - len(found)
        fitting = fitting[: limit - len(found)]
        found += await _read(redis, [order_id for order_id, _ in fitting])
        if more:
            return Page(tuple(found), fitting[-1][1] if fitting else cursor)
        if len(here) < count:
            return Page(tuple(found), None)
        cursor = here[-1][1]
    return Page(tuple(found), cursor)


async def _fitting(redis: Redis, rows: list[tuple[str, int]], wanted: Filter) -> list[tuple[str, int]]:
    pipe = redis.pipeline(transaction=False)
    for order_id, _ in rows:
        pipe.hmget(keys.ORDER + order_id, ["state", "ref"])
    answers = await asked(pipe.execute()) if rows else []
    return [
        row
        for row, (state, reference) in zip(rows, answers, strict=True)
        if state is not None
        and (wanted.state is None or state.decode() == wanted.state)
        and (wanted.reference is None or reference.decode() == wanted.reference)
    ]


async def _read(redis: Redis, order_ids: list[str]) -> list[Order]:
    if not order_ids:
        return []
    pipe = redis.pipeline(transaction=False)
    for order_id in order_ids:
        pipe.hgetall(keys.ORDER + order_id)
    return [Order.from_hash(raw) for raw in await asked(pipe.execute()) if raw]
