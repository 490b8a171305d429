"""What is known of an uploaded PDF: whose it is and how its pages look. The bytes are in the document store."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass

import orjson

from antrean.orders import ids, keys
from antrean.orders.asking import asked
from antrean.orders.commit import GroupCommit
from antrean.orders.documents import DocumentStore
from antrean.orders.placement import PageRun
from antrean.orders.scripts import Scripts

#: An upload that no order uses is forgotten after this time, in seconds; `submit.lua` lifts it.
UNUSED_S = 7 * 24 * 3600
#: Its bytes are looked at a little later than that, so that the record is gone by then.
FORGET_S = UNUSED_S + 60


@dataclass(frozen=True, slots=True)
class Upload:
    """One uploaded PDF that was checked."""

    id: str
    office: str
    pages: int
    size_bytes: int
    sha256: str
    runs: tuple[PageRun, ...]


class Uploads:
    """Takes in and looks up uploads. Raises StoreUnavailable, DocumentStoreUnavailable."""

    def __init__(
        self,
        scripts: Scripts,
        commit: GroupCommit,
        documents: DocumentStore,
        new_id: Callable[[], str] | None = None,
    ) -> None:
        """`commit` runs `upload.lua` durably."""
        self._redis = scripts.redis
        self._commit = commit
        self._documents = documents
        self._new_id = new_id or (lambda: ids.new_id(time.time_ns() // 1_000_000))

    async def add(self, office: str, pdf: bytes, runs: tuple[PageRun, ...]) -> Upload:
        """Keep a checked PDF durably: first the bytes, then what makes them findable."""
        upload = Upload(
            id=self._new_id(),
            office=office,
            pages=sum(run.count for run in runs),
            size_bytes=len(pdf),
            sha256=await asyncio.to_thread(lambda: hashlib.sha256(pdf).hexdigest()),
            runs=runs,
        )
        # First of all among those to be forgotten: bytes that nothing else knows would be kept for ever.
        forget_ms = int(time.time() * 1000) + FORGET_S * 1000
        await asked(self._redis.zadd(keys.UPLOADS, {upload.id: forget_ms}))
        await self._documents.put_upload(upload.id, pdf)
        sizes = orjson.dumps([[r.count, r.x0, r.y0, r.x1, r.y1] for r in runs])
        await self._commit.run(
            (upload.id, office, upload.pages, upload.size_bytes, upload.sha256, sizes, UNUSED_S, FORGET_S)
        )
        return upload

    async def get(self, document_id: str, office: str) -> Upload | None:
        """An upload of this office, or None."""
        raw = await asked(self._redis.hgetall(keys.DOCUMENT + document_id))
        if raw.get(b"office", b"").decode() != office or b"sizes" not in raw:
            return None
        return Upload(
            id=document_id,
            office=office,
            pages=int(raw[b"pages"]),
            size_bytes=int(raw[b"bytes"]),
            sha256=raw[b"sha256"].decode(),
            runs=tuple(PageRun(int(row[0]), *row[1:]) for row in orjson.loads(raw[b"sizes"])),
        )
