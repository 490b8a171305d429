"""Documents: PDFs that orders put a stamp on."""

from __future__ import annotations

import asyncio

from aiohttp import web

from antrean.gateway import exchange
from antrean.gateway.problems import Problem
from antrean.gateway.routes import PRINCIPAL, Access, Route
from antrean.gateway.services import SERVICES
from antrean.orders.pdf import PdfChecksBusy, PdfRefused

#: Longest wait of an upload until there is memory for it, in seconds.
UPLOAD_WAIT_S = 10


async def upload(request: web.Request) -> web.Response:
    """`POST /v1/documents`."""
    services = request.app[SERVICES]
    parts = services.parts
    await services.require_ready()
    try:
        async with asyncio.timeout(UPLOAD_WAIT_S):
            await services.uploads_slots.acquire()
    except TimeoutError:
        raise Problem("unavailable", "Too many documents arrive just now.") from None
    try:
        pdf = await exchange.read_pdf(request, parts.settings.document_bytes_max)
        runs = await parts.pdf.inspect(pdf)
        kept = await parts.uploads.add(request[PRINCIPAL].office, pdf, runs)
    except PdfRefused as refused:
        raise Problem(refused.problem, refused.message) from None
    except PdfChecksBusy:
        raise Problem("unavailable", "Too many documents are being checked just now.") from None
    finally:
        services.uploads_slots.release()
    body = {"id": kept.id, "pages": kept.pages, "bytes": kept.size_bytes, "sha256": kept.sha256}
    return exchange.json_response(body, 201)


ROUTES = (Route("POST", "/v1/documents", upload, Access.COUNTER),)
