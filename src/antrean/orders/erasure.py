"""Erases who paid, and the documents, once their time is over; ledger, serial number and history stay.

First the order lets go of its upload, then the bytes are deleted, then the record is changed. An erasure that is cut
short is found again among those that are due, and every step may be done twice.
"""

from __future__ import annotations

import contextlib
import re
from typing import Protocol

import structlog

from antrean.orders import keys
from antrean.orders.archive import ArchiveDamaged
from antrean.orders.asking import asked
from antrean.orders.model import IllegalMove, Order, body_json
from antrean.orders.pictures import PictureFiles, Pictures
from antrean.orders.record import Record
from antrean.orders.store import OrderStore

log = structlog.get_logger(__name__)

#: Orders, and unused uploads, handled in one step.
STEP_MAX = 50
#: Failures after which a step ends.
FAILURES_MAX = 5
DAY_MS = 24 * 3600 * 1000
#: What stands in the history.
NOTE = "personal data erased, its time is over"
#: What stands between the parts and the lines of a history.
_UNFIT = re.compile(r"[|\r\n]")


class Documents(PictureFiles, Protocol):
    """The document store, as far as erasing needs it; what is gone already is no error. Raises OSError."""

    async def require_ours(self) -> None: ...
    async def delete_upload(self, document_id: str) -> None: ...
    async def delete_stamped(self, order_id: str) -> None: ...


class Eraser:
    """Erases one order, or all whose time is over. Raises StoreUnavailable; OSError where a document stays."""

    def __init__(self, store: OrderStore, documents: Documents, retention_days: float = 0) -> None:
        """`retention_days`: how long after an order's end `run_once` leaves it alone."""
        self._store = store
        self._redis = store.scripts.redis
        self._documents = documents
        self._pictures = Pictures(store.scripts, documents)
        self._retention_ms = int(retention_days * DAY_MS)

    async def run_once(self) -> bool:
        """One step; True where there may be more. What the document store does not delete is tried at the next.

        An order in a damaged part of the archive is tried again in a day: it would stand before all others for ever.
        """
        now_ms = (await self._store.situation()).now_ms
        orders = await self._due(keys.ERASE, now_ms - self._retention_ms)
        uploads = await self._due(keys.UPLOADS, now_ms)
        erased = failed = 0
        for item, work in [(o, self._erase_due) for o in orders] + [
            (u, self._forget_upload) for u in uploads
        ]:
            try:
                await work(item)
                erased += 1
            except ArchiveDamaged as error:
                log.error("not erased", item=item, why=str(error))
                due_ms = now_ms - self._retention_ms + DAY_MS
                await asked(self._redis.zadd(keys.ERASE, {item: due_ms}, xx=True))
            except OSError as error:
                # One file that stays must not keep the others; a store that is away keeps them all.
                log.error("a document is not deleted", item=item, why=str(error))
                failed += 1
                if failed == FAILURES_MAX:
                    break
        if erased:
            log.info("erased", items=erased)
        return not failed and STEP_MAX in (len(orders), len(uploads))

    async def _erase_due(self, order_id: str) -> None:
        await self.erase(order_id, NOTE)

    async def erase(self, order_id: str, note: str) -> None:
        """Erase one order's personal data; the same where that was done before. Raises IllegalMove: not at its end."""
        order = await self._store.get(order_id)
        if order is not None:
            if not order.terminal:
                raise IllegalMove("only an order at its end can be erased", order.state)
            body = body_json(order.without_person, None)
            archive = self._store.archive
            # Never while orders are moved to the archive: what was read before the erasure would be written after it.
            async with archive.alone() if archive is not None else contextlib.nullcontext():
                if order.erased_ms is None:
                    await self._delete_documents(order)
                await asked(self._store.scripts.run("erase", order_id, note, body))
            if archive is not None:
                # Also where the record is in Redis: a move that was cut short leaves a copy in the archive.
                now_ms = (await self._store.situation()).now_ms
                await archive.rewrite(order_id, lambda record: _without_person(record, body, note, now_ms))
        await asked(self._redis.zrem(keys.ERASE, order_id))

    async def _delete_documents(self, order: Order) -> None:
        # In another folder nothing is found, and all would stay where it is.
        await self._documents.require_ours()
        if order.document_id is not None:
            _, unused = await asked(self._store.scripts.run("let_go", order.id, order.document_id))
            if unused:
                await self._documents.delete_upload(order.document_id)
        await self._documents.delete_stamped(order.id)
        await self._pictures.delete(order)

    async def _due(self, key: str, until_ms: int) -> list[str]:
        found = await asked(self._redis.zrangebyscore(key, "-inf", until_ms, start=0, num=STEP_MAX))
        return [item.decode() for item in found]

    async def _forget_upload(self, document_id: str) -> None:
        # Its record expired unless an order took it; then that order's erasure sees to it.
        if not await asked(self._redis.exists(keys.DOCUMENT + document_id)):
            await self._documents.require_ours()
            await self._documents.delete_upload(document_id)
        await asked(self._redis.zrem(keys.UPLOADS, document_id))


def _without_person(record: Record, body: bytes, note: str, now_ms: int) -> Record:
    """An archived record as `erase.lua` leaves one that is not archived."""
    if b"erased" in record:
        return record
    record.pop(b"pii", None)
    record.pop(b"hook", None)
    at, state = str(now_ms).encode(), record[b"state"].decode()
    history = record[b"hist"] + f"\n{now_ms}|{state}|{_UNFIT.sub(' ', note)}".encode()
    version = str(int(record[b"ver"]) + 1).encode()
    return record | {b"body": body, b"erased": at, b"upd": at, b"ver": version, b"hist": history}
