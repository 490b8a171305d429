"""Lists of orders, newest first, a page at a time: those in Redis and those in the archive."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import NamedTuple

from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.archive import Archive
from antrean.orders.asking import asked
from antrean.orders.model import Order
from antrean.orders.record import whole
from antrean.orders.states import TERMINAL, State

#: Orders looked at in one round trip, and at most in one call: a filter that few orders fit ends with a cursor.
CHUNK = 500
SCAN_MAX = 5000
#: Records read and taken apart before others have a turn of the loop.
READ_PART = 50


async def index_parts(
    redis: Redis, size: int, newest: float | str = "+inf"
) -> AsyncIterator[list[tuple[bytes, float]]]:
    """Ids of all orders in Redis with their numbers in the sequence, the oldest first, up to number `newest`."""
    after = "-inf"
    while rows := await asked(
        redis.zrangebyscore(keys.INDEX_ALL, after, newest, start=0, num=size, withscores=True)
    ):
        yield rows
        after = f"({int(rows[-1][1])}"


@dataclass(frozen=True, slots=True)
class Filter:
    """Which orders: None means any."""

    office: str | None = None
    state: State | None = None
    reference: str | None = None
    #: Only those that are not at their end. None of them is archived.
    is_open: bool = False
    #: Asked of the whole order, where the rest fits.
    test: Callable[[Order], bool] | None = None

    @property
    def looks_far(self) -> bool:
        """Whether many more orders may be looked at than are found."""
        return self.state is not None or self.reference is not None or self.is_open or self.test is not None

    def fits(self, order: Order) -> bool:
        """Whether an order is one of these."""
        return (
            self.office in (None, order.office)
            and self.state in (None, order.state)
            and self.reference in (None, order.reference)
            and not (self.is_open and order.state in TERMINAL)
            and (self.test is None or self.test(order))
        )


@dataclass(frozen=True, slots=True)
class Page:
    """Some orders, and where to go on. `next_cursor` None: that was all. A page may be short and still have one."""

    orders: tuple[Order, ...]
    next_cursor: int | None


class Changes(NamedTuple):
    """What differs once an order of the office came, or changed in what it is (its version).

    `made`: changes of orders after they were accepted; `open`: orders not at their end, of which each that comes is one
    more.
    """

    made: int
    open: int


async def changes(redis: Redis, office: str) -> Changes:
    """How often orders of one office changed. Raises StoreUnavailable.

    Not told: a place in line, a worker's claim, and what workers of a release before this count changed.
    """
    counts = await asked(redis.hmget(keys.COUNTS_OFFICE + office, ["changes", "open"]))
    return Changes(*(int(count or 0) for count in counts))


async def page(
    redis: Redis, wanted: Filter, cursor: int | None, limit: int, archive: Archive | None = None
) -> Page:
    """The newest orders before `cursor` (a sequence number) that fit. Raises StoreUnavailable."""
    rows, following = await _hot(redis, wanted, cursor, limit)
    floor = following if following is not None else 0
    top = int(await asked(redis.get(keys.ARCHIVED)) or 0)
    if archive is None or top <= floor or wanted.is_open:
        return Page(tuple(order for _, order in rows), following)
    old, looked_to = await _archived(archive, wanted, cursor, floor, limit)
    # Where an order is in both places, Redis' record counts.
    found = old | dict(rows)
    merged = sorted((s for s in found if looked_to is None or s >= looked_to), reverse=True)
    if len(merged) > limit:
        following = merged[limit - 1]
    elif looked_to is not None:
        following = looked_to
    return Page(tuple(found[s] for s in merged[:limit]), following)


async def _archived(
    archive: Archive, wanted: Filter, cursor: int | None, floor: int, limit: int
) -> tuple[dict[int, Order], int | None]:
    """Archived orders that fit, between `floor` and `cursor`; and how far was looked, where not down to the floor."""
    found: dict[int, Order] = {}
    looked = 0
    async for sequence, order in archive.newest(cursor):
        if sequence <= floor:
            break
        looked += 1
        if wanted.fits(order):
            found[sequence] = order
        if len(found) > limit or looked == SCAN_MAX:
            return found, sequence
    return found, None


async def _hot(
    redis: Redis, wanted: Filter, cursor: int | None, limit: int
) -> tuple[list[tuple[int, Order]], int | None]:
    """Those in Redis with their sequence numbers, and where to go on."""
    index = keys.INDEX_ALL if wanted.office is None else keys.INDEX_OFFICE + wanted.office
    filtered = wanted.looks_far
    count = CHUNK if filtered else limit + 1
    found: list[tuple[int, Order]] = []
    if await _none_is_open(redis, wanted):
        return found, None
    for _ in range(SCAN_MAX // CHUNK):
        top = "+inf" if cursor is None else f"({cursor}"
        rows = await asked(redis.zrevrangebyscore(index, top, "-inf", start=0, num=count, withscores=True))
        here = [(order_id.decode(), int(sequence)) for order_id, sequence in rows]
        fitting = await _fitting(redis, here, wanted) if filtered else here
        more = len(fitting) > limit - len(found)
        fitting = fitting[: limit - len(found)]
        found += [pair async for pair in _read(redis, fitting)]
        if more:
            return found, fitting[-1][1] if fitting else cursor
        if len(here) < count:
            return found, None
        cursor = here[-1][1]
    return found, cursor


async def _none_is_open(redis: Redis, wanted: Filter) -> bool:
    """Whether only open orders are asked for, of an office that has none: then not one record is read."""
    if not wanted.is_open or wanted.office is None:
        return False
    return int(await asked(redis.hget(keys.COUNTS_OFFICE + wanted.office, "open")) or 0) == 0


async def _fitting(redis: Redis, rows: list[tuple[str, int]], wanted: Filter) -> list[tuple[str, int]]:
    if wanted.test is not None:
        return [(order.id, sequence) async for sequence, order in _read(redis, rows) if wanted.fits(order)]
    pipe = redis.pipeline(transaction=False)
    for order_id, _ in rows:
        pipe.hmget(keys.ORDER + order_id, ["state", "ref"])
    answers = await asked(pipe.execute()) if rows else []
    return [
        row
        for row, (state, reference) in zip(rows, answers, strict=True)
        if state is not None
        and (wanted.state is None or state.decode() == wanted.state)
        and not (wanted.is_open and state.decode() in TERMINAL)
        and (wanted.reference is None or (reference or b"").decode() == wanted.reference)
    ]


async def _read(redis: Redis, rows: list[tuple[str, int]]) -> AsyncIterator[tuple[int, Order]]:
    for start in range(0, len(rows), READ_PART):
        part = rows[start : start + READ_PART]
        pipe = redis.pipeline(transaction=False)
        for order_id, _ in part:
            pipe.hgetall(keys.ORDER + order_id)
        for (order_id, sequence), raw in zip(part, await asked(pipe.execute()), strict=True):
            if raw:
                yield sequence, Order.from_hash(whole(raw, order_id))
