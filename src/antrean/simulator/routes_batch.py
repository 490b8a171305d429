"""Many SNs at once, in a simple form: how the upstream really answers is not well known, so build nothing on it."""

from __future__ import annotations

from typing import Any, Final

from aiohttp import web

from antrean.simulator.account import AccountFull, QuotaUsedUp
from antrean.simulator.answers import ACCOUNT_FULL, INVALID, QUOTA_USED_UP, done, read_object, refused
from antrean.simulator.faults import Drawn
from antrean.simulator.gate import require_token
from antrean.simulator.machine import Simulator
from antrean.simulator.routes_channel import sale_error, sale_result

#: Documents in a batch, and batches remembered.
DOCUMENTS_MAX: Final = 100
BATCHES_MAX: Final = 1_000


async def batch(simulator: Simulator, request: web.Request, drawn: Drawn) -> web.Response:
    """`POST {inventory}/api/v2/serialnumber/batch`. Sold at once; `return_url` is never called."""
    require_token(simulator, request)
    body = await read_object(request)
    documents = body.get("document")
    if not isinstance(documents, list) or not 1 <= len(documents) <= DOCUMENTS_MAX:
        return refused(INVALID, f"document: 1 sampai {DOCUMENTS_MAX}")
    if not all(isinstance(document, dict) for document in documents):
        return refused(INVALID, "document: isinya objek")
    partial = body.get("partial") is True
    wrong = [sale_error(document, simulator.config.price_idr) for document in documents]
    if not partial and any(wrong):
        return refused(INVALID, next(message for message in wrong if message))
    no_quota = drawn.take("quota_end") is not None
    if not partial and (no_quota or simulator.account.left < len(documents)):
        return refused(QUOTA_USED_UP, "Kuota habis")
    results = [
        _sell(simulator, document, message, no_quota)
        for document, message in zip(documents, wrong, strict=True)
    ]
    simulator.batch_count += 1
    batch_id = f"B{simulator.batch_count:010d}"
    while len(simulator.batches) >= BATCHES_MAX:
        del simulator.batches[next(iter(simulator.batches))]
    simulator.batches[batch_id] = results
    return done(result={"batchId": batch_id})


def _sell(
    simulator: Simulator, document: dict[str, Any], wrong: str | None, no_quota: bool
) -> dict[str, object]:
    file = str(document.get("namafile", ""))[:255]
    if wrong is not None:
        return {"namafile": file, "statusCode": INVALID, "message": wrong}
    try:
        if no_quota:
            raise QuotaUsedUp
        serial = simulator.account.sell(file, "batch")
    except QuotaUsedUp:
        return {"namafile": file, "statusCode": QUOTA_USED_UP, "message": "Kuota habis"}
    except AccountFull:
        return {"namafile": file, "statusCode": ACCOUNT_FULL, "message": "Akun simulasi penuh"}
    return {"namafile": file, "statusCode": "00", "result": sale_result(simulator, serial)}


async def batch_status(simulator: Simulator, request: web.Request, _: Drawn) -> web.Response:
    """`GET {stampv2}/snqr/status-batch?batchId=`."""
    require_token(simulator, request)
    results = simulator.batches.get(request.query.get("batchId", ""))
    if results is None:
        return refused(INVALID, "batchId tidak dikenal")
    return done(result={"status": "DONE", "data": results})
