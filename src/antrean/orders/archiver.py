"""Moves orders that ended long enough ago out of Redis: written and read back first, then removed by one script.

A crash in between leaves an order in both places, which is harmless: Redis is asked first, and the next round writes
and removes it again. An order that may still change stays in Redis: a refused one whose money was not given back.
"""

from __future__ import annotations

import hashlib

import structlog

from antrean.orders import keys
from antrean.orders.archive import Archive, Segment
from antrean.orders.asking import asked
from antrean.orders.lease import LeaseLost
from antrean.orders.model import StoreUnavailable
from antrean.orders.pictures import Pictures
from antrean.orders.record import Record, whole
from antrean.orders.states import TERMINAL, State
from antrean.orders.store import OrderStore

log = structlog.get_logger(__name__)

#: Orders looked at in one step. Those that are old enough become one segment for each day.
STEP_MAX = 500


class Archiver:
    """One step looks at the next STEP_MAX orders, the oldest first. `after_s`: from an order's end to its move.

    `pictures`: those of the orders that move are put into the document store before.
    """

    def __init__(self, store: OrderStore, archive: Archive, pictures: Pictures, after_s: float) -> None:
        self._store = store
        self._redis = store.scripts.redis
        self._archive = archive
        self._pictures = pictures
        self._after_ms = int(after_s * 1000)
        self._passed = 0

    async def run_once(self) -> bool:
        """One step; True where there are more orders to look at. Raises StoreUnavailable."""
        now_ms = (await self._store.situation()).now_ms
        cutoff_ms = now_ms - self._after_ms
        rows = await asked(
            self._redis.zrangebyscore(
                keys.INDEX_ALL, f"({self._passed}", "+inf", start=0, num=STEP_MAX, withscores=True
            )
        )
        glances = await self._glances(rows)
        old = [row for row, glance in zip(rows, glances, strict=True) if _may_go(glance, cutoff_ms)]
        if old:
            log.info("archived", orders=await self._move(old, cutoff_ms))
        # Orders are looked at by age. If the last one was made after the cutoff, no later one can have ended before it.
        # One that was made after now, by a clock that was set back since, says nothing of those behind it.
        made = [int(glance[b"made"]) for glance in glances if glance]
        more = len(rows) == STEP_MAX and bool(made) and not cutoff_ms < made[-1] <= now_ms
        self._passed = int(rows[-1][1]) if more else 0
        return more

    async def _move(self, rows: list[tuple[bytes, float]], cutoff_ms: int) -> int:
        # Under the lease, so that nobody is erased between reading and writing, and then comes back in a segment.
        async with self._archive.alone() as lease:
            old = [record for record in await self._records(rows) if _may_go(record, cutoff_ms)]
            await self._pictures.to_files([record[b"sn"].decode() for record in old if record.get(b"sn")])
            segments = await self._archive.write(old)
            try:
                await lease.renew()
                return await self._remove(old)
            except LeaseLost as error:
                log.warning("a move to the archive took too long", why=str(error))
        await self._take_back(segments, old)
        raise StoreUnavailable("the archive was another process's before all was moved")

    async def _take_back(self, segments: list[Segment], records: list[Record]) -> None:
        """Delete what we wrote, since somebody may have been erased between our reading and our writing. If another
        process has moved the same orders meanwhile, the segments may be its own: then they stay."""
        async with self._archive.alone():
            names = [keys.ORDER + record[b"id"].decode() for record in records]
            if await asked(self._redis.exists(*names)) == len(names):
                for segment in segments:
                    await self._archive.delete(segment)

    async def _glances(self, rows: list[tuple[bytes, float]]) -> list[Record]:
        """The few fields that tell whether each may go: in a long outage most orders are old and must stay."""
        pipe = self._redis.pipeline(transaction=False)
        for order_id, _ in rows:
            pipe.hmget(keys.ORDER + order_id.decode(), list(_GLANCE))
        return [
            {name: value for name, value in zip(_GLANCE, answer, strict=True) if value is not None}
            for answer in await asked(pipe.execute())
        ]

    async def _records(self, rows: list[tuple[bytes, float]]) -> list[Record]:
        """Whole, with the number that the order has in the index."""
        pipe = self._redis.pipeline(transaction=False)
        for order_id, _ in rows:
            pipe.hgetall(keys.ORDER + order_id.decode())
        return [
            {**whole(kept, order_id.decode()), b"seq": b"%d" % number}
            for (order_id, number), kept in zip(rows, await asked(pipe.execute()), strict=True)
            if kept
        ]

    async def _remove(self, records: list[Record]) -> int:
        args: list[bytes | str] = []
        for record in records:
            sealed = hashlib.sha1(record.get(b"pii", b""), usedforsecurity=False).hexdigest()
            args += (record[b"id"], record[b"ver"], sealed)
        _, moved = await asked(self._store.scripts.run("archive", *args))
        return int(moved)


#: Fields that tell whether an order may go.
_GLANCE = (b"state", b"upd", b"made", b"refunded", b"given")


def _may_go(record: Record, cutoff_ms: int) -> bool:
    """`record`: the whole of it, or a glance at what is kept of it; it may be gone."""
    if b"state" not in record:
        return False
    state = State(record[b"state"].decode())
    if state not in TERMINAL or int(record.get(b"upd", record[b"made"])) > cutoff_ms:
        return False
    # A refused order's money is still to be given back, unless it paid none here.
    return state is not State.REJECTED or b"1" in (record.get(b"refunded"), record.get(b"given"))
