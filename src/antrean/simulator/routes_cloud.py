"""The cloud variant: upload a PDF, have it stamped, fetch it from the address in the answer."""

from __future__ import annotations

from typing import Final

from aiohttp import BodyPartReader, web

from antrean.simulator.answers import DONE, FILE_BAD, INVALID, BadRequest, done, read_object, refused
from antrean.simulator.faults import Drawn
from antrean.simulator.gate import TokenRefused
from antrean.simulator.machine import Simulator
from antrean.simulator.qr import qr_png
from antrean.simulator.routes_adapter import (
    PDF_BYTES_MAX,
    StampRefused,
    check_stamp_request,
    put_stamp,
    stamp_answer,
)

#: Parts of an upload that are looked at, and the size of one that is no file.
_PARTS_MAX: Final = 8
_FIELD_BYTES_MAX: Final = 8_192


async def upload(simulator: Simulator, request: web.Request, _: Drawn) -> web.Response:
    """`POST {fileupload}/uploaddoc2`: multipart with `file` and `token`."""
    content: bytes | None = None
    name = token = ""
    try:
        reader = await request.multipart()
        for _part in range(_PARTS_MAX):
            part = await reader.next()
            if part is None:
                break
            if not isinstance(part, BodyPartReader):
                raise BadRequest
            if part.name == "file":
                name = part.filename or "document.pdf"
                content = await _read_part(part, PDF_BYTES_MAX)
            elif part.name == "token":
                token = (await _read_part(part, _FIELD_BYTES_MAX)).decode("utf-8", "replace")
            else:
                await _read_part(part, _FIELD_BYTES_MAX)
    except (ValueError, AssertionError) as error:
        raise BadRequest from error
    if not simulator.tokens.is_good(token):
        raise TokenRefused
    if content is None:
        return refused(INVALID, "file wajib diisi")
    return done(id=simulator.uploads.put(content), name=name[:255])


async def _read_part(part: BodyPartReader, size_max_bytes: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk(65_536):
        content += chunk
        if len(content) > size_max_bytes:
            raise web.HTTPRequestEntityTooLarge(size_max_bytes, len(content))
    return bytes(content)


async def stamp(simulator: Simulator, request: web.Request, drawn: Drawn) -> web.Response:
    """`POST {stampservice}/keystamp/adapter/docSigningZ` with `docId`; the picture is the SN's own."""
    body = await read_object(request)
    stamped: list[bytes] = []
    try:
        check_stamp_request(simulator, body, drawn)
        if body.get("onPrem") is not False:
            raise StampRefused(INVALID, "onPrem harus false")
        pdf = simulator.uploads.get(str(body.get("docId", "")))
        if pdf is None:
            raise StampRefused(FILE_BAD, "docId tidak dikenal")
        picture = qr_png(str(body.get("refToken", ""))[:64] or "-")
        await put_stamp(simulator, body, pdf, picture, stamped.append)
    except StampRefused as error:
        return stamp_answer(simulator, error.code, str(error))
    file_id = simulator.stamped_files.put(stamped[0])
    url = f"{request.scheme}://{request.host}/stampservice/download/{file_id}"
    return stamp_answer(simulator, DONE, "", urlFile=url)


async def download(simulator: Simulator, request: web.Request, _: Drawn) -> web.Response:
    """`GET` of a `urlFile`. The address is the only key to it (assumed)."""
    content = simulator.stamped_files.get(request.match_info["file_id"])
    if content is None:
        raise web.HTTPNotFound
    return web.Response(body=content, content_type="application/pdf")
