"""Documents: PDFs that orders put a stamp on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from aiohttp import web

from antrean.gateway import exchange
from antrean.gateway.problems import Problem
from antrean.gateway.routes import PRINCIPAL, Access, Route
from antrean.gateway.services import SERVICES, Services
from antrean.orders import ids, placement
from antrean.orders.pdf import PdfChecksBusy, PdfRefused

#: Longest wait of an upload until there is memory for it, in seconds.
UPLOAD_WAIT_S = 10
#: Width of a page's picture in pixels.
PICTURE_PX_MIN, PICTURE_PX_DEFAULT, PICTURE_PX_MAX = 100, 900, 1600


async def upload(request: web.Request) -> web.StreamResponse:
    """`POST /v1/documents`."""
    services = request.app[SERVICES]
    parts = services.parts
    await services.require_ready(documents=True)
    try:
        async with _memory(services):
            pdf = await exchange.read_pdf(request, parts.settings.document_bytes_max)
            runs = await parts.pdf.inspect(pdf)
            kept = await parts.uploads.add(request[PRINCIPAL].office, pdf, runs)
    except PdfRefused as refused:
        raise Problem(refused.problem, refused.message) from None
    except PdfChecksBusy:
        raise Problem("unavailable", "Too many documents are being checked just now.") from None
    body = {"id": kept.id, "pages": kept.pages, "bytes": kept.size_bytes, "sha256": kept.sha256}
    return exchange.json_response(body, 201)


async def page_picture(request: web.Request) -> web.StreamResponse:
    """`GET /v1/documents/{id}/pages/{page}.png`: what a page of an upload looks like, for placing a stamp on it.

    `X-Page-Box` is the part of the page that the picture shows, in PDF points, unrotated: x0 y0 x1 y1;
    `X-Page-Rotation` says how it is turned, in degrees clockwise.
    """
    services = request.app[SERVICES]
    parts = services.parts
    document_id, number = request.match_info["id"], request.match_info["page"]
    upload = None
    if ids.is_id(document_id):
        upload = await parts.uploads.get(document_id, request[PRINCIPAL].office)
    page = int(number) if number.isascii() and number.isdigit() and len(number) <= 6 else 0
    box = None if upload is None else placement.box_of(upload.runs, page)
    if box is None:
        raise Problem("not-found", "There is no such page.")
    width_px = exchange.query_integer(request, "width", PICTURE_PX_DEFAULT, PICTURE_PX_MIN, PICTURE_PX_MAX)
    async with _memory(services):
        pdf = await parts.documents.get_upload(document_id)
        if pdf is None:
            raise Problem("not-found", "There is no such page.")
        try:
            picture = await parts.pdf.draw(pdf, page, width_px)
        except PdfRefused as refused:
            raise Problem(refused.problem, refused.message) from None
        except PdfChecksBusy:
            raise Problem("unavailable", "Too many documents are being drawn just now.") from None
    services.access_log.note(request[PRINCIPAL], document_id, "document")
    headers = {"X-Page-Box": " ".join(f"{side:g}" for side in box), "X-Page-Rotation": str(picture.rotation)}
    return web.Response(body=picture.png, content_type="image/png", headers=headers)


@contextlib.asynccontextmanager
async def _memory(services: Services) -> AsyncIterator[None]:
    """Room for one PDF in memory. Raises Problem where there is none for too long."""
    try:
        async with asyncio.timeout(UPLOAD_WAIT_S):
            await services.uploads_slots.acquire()
    except TimeoutError:
        raise Problem("unavailable", "Too many documents are under way just now.") from None
    try:
        yield
    finally:
        services.uploads_slots.release()


ROUTES = (
    Route("POST", "/v1/documents", upload, Access.COUNTER),
    Route("GET", "/v1/documents/{id}/pages/{page}.png", page_picture, Access.COUNTER),
)
