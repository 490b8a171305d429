"""Reading requests and rendering answers: bodies with bounds, query values, JSON."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.multipart import MultipartReader
from aiohttp.web_protocol import RequestPayloadError

from antrean.gateway.answer import Answer
from antrean.gateway.faults import FIELD_NAME
from antrean.gateway.operations import JSON
from antrean.gateway.problems import Problem, invalid
from antrean.orders.holding import Language

#: Longest time that a whole body may take to arrive, in seconds.
BODY_TIMEOUT_S = 30
JSON_BYTES_MAX = 64 * 1024
BATCH_BYTES_MAX = 2 * 1024 * 1024
#: What multipart adds around a file, in bytes, and how many parts are looked at for it.
MULTIPART_BYTES_MAX = 16 * 1024
PARTS_MAX = 16

_NUMBER = re.compile(r"\d{1,16}(\.\d{1,20})?([eE][+-]?\d{1,3})?", re.ASCII)
_INTEGER = re.compile(r"\d{1,16}", re.ASCII)
_LANGUAGE = re.compile(r"\s*([A-Za-z*]{1,8})(?:-[A-Za-z0-9-]{1,20})?\s*(?:;\s*q=([01](?:\.\d{1,3})?)\s*)?")


def json_response(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """A JSON answer."""
    return json_bytes(orjson.dumps(body), status, headers)


def json_bytes(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Answer:
    """The same of what is JSON already."""
    typed = {"Content-Type": JSON} if headers is None else {"Content-Type": JSON, **headers}
    return Answer(body, status, typed)


async def read_json(request: web.Request, bytes_max: int = JSON_BYTES_MAX) -> Any:
    """The body as JSON. Raises Problem: 415, 413, 408 or 400."""
    # Most send it so; taking it apart costs more than the comparison.
    if request.headers.get("Content-Type") != JSON and request.content_type != JSON:
        raise Problem("unsupported-media-type", "Send the body as application/json.")
    body = await read_bytes(request, bytes_max)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem("broken-json", "The body is not JSON in UTF-8.") from None


async def read_bytes(request: web.Request, bytes_max: int) -> bytes:
    """The whole body. Raises Problem: 415, 413 above `bytes_max`, 408 where it takes longer than BODY_TIMEOUT_S."""
    _refuse_compressed(request)
    if request.content_length is not None and request.content_length > bytes_max:
        raise _too_large(bytes_max)
    content = request.content
    if content.is_eof() and content.exception() is None:
        # It came whole with the head, as small ones do: there is nothing to wait for.
        whole = content.read_nowait()
        if len(whole) > bytes_max:
            raise _too_large(bytes_max)
        return whole
    body = bytearray()
    async with _arriving():
        async for chunk in content.iter_any():
            body += chunk
            if len(body) > bytes_max:
                raise _too_large(bytes_max)
    return bytes(body)


async def read_pdf(request: web.Request, bytes_max: int) -> bytes:
    """The PDF in the body, bare or as the part `file` of a form. Raises Problem."""
    if request.content_type == "application/pdf":
        return await read_bytes(request, bytes_max)
    if request.content_type != "multipart/form-data":
        raise Problem(
            "unsupported-media-type", "Send application/pdf, or multipart/form-data with a part `file`."
        )
    _refuse_compressed(request)
    if request.content_length is not None and request.content_length > bytes_max + MULTIPART_BYTES_MAX:
        raise _too_large(bytes_max)
    try:
        async with _arriving():
            return await _read_part(await request.multipart(), bytes_max)
    except (ValueError, AssertionError, RuntimeError):
        raise Problem("bad-request", "The form is not readable.") from None


async def _read_part(reader: MultipartReader, bytes_max: int) -> bytes:
    found: bytes | None = None
    for _ in range(PARTS_MAX):
        part = await reader.next()
        if part is None:
            break
        if not isinstance(part, BodyPartReader):
            continue
        wanted = part.name == "file"
        if wanted and found is not None:
            raise invalid("file", "one", "must be there once: one document a request")
        body = bytearray()
        while chunk := await part.read_chunk(64 * 1024):
            body += chunk
            most = bytes_max if wanted else MULTIPART_BYTES_MAX
            if len(body) > most:
                raise _too_large(most)
        if wanted:
            found = bytes(body)
    if found is None:
        raise invalid("file", "missing", "is required: the part `file` of the form")
    return found


def _refuse_compressed(request: web.Request) -> None:
    encoding = request.headers.get("Content-Encoding")
    if encoding is not None and encoding.lower() != "identity":
        raise Problem("unsupported-media-type", "Send the body as it is, without Content-Encoding.")


@asynccontextmanager
async def _arriving() -> AsyncIterator[None]:
    """Bounds the time in which a body arrives, and names what may go wrong with it."""
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            yield
    except TimeoutError:
        raise Problem(
            "timeout", "The body did not arrive in time.", headers={"Connection": "close"}
        ) from None
    except web.HTTPRequestEntityTooLarge:
        raise Problem("body-too-large", "The body is too large.") from None
    except (
        web.PayloadAccessError,
        web.HTTPBadRequest,
        RequestPayloadError,
        HttpProcessingError,
        ConnectionError,
    ):
        raise Problem("bad-request", "The body is not readable.") from None


def _too_large(bytes_max: int) -> Problem:
    return Problem("body-too-large", f"At most {bytes_max} bytes are taken.")


def known_tags(request: web.Request) -> frozenset[str]:
    """What the client has by `If-None-Match`, to be compared weakly (RFC 9110, 13.1.2): without `W/`."""
    lines = request.headers.getall("If-None-Match", [])
    tags = (tag.strip().removeprefix("W/") for line in lines for tag in line.split(","))
    return frozenset(tag for tag in tags if tag)


def only_query(request: web.Request, *known: str) -> None:
    """Refuse what this route does not know: a filter that is passed over makes a wrong answer. Raises Problem."""
    for name in request.query:
        if name not in known:
            shown = name if FIELD_NAME.fullmatch(name) else "(unnamed)"
            takes = ", ".join(known) or "none"
            raise invalid(shown, "unknown-parameter", f"is not a query parameter here; known: {takes}")


def query_text(request: web.Request, name: str) -> str | None:
    """A value from the query; None where there is none or it is blank. Raises Problem where it is given twice: which of
    the two is meant is not known."""
    texts = request.query.getall(name, [])
    if len(texts) > 1:
        raise invalid(name, "repeated-parameter", "must be given once")
    return texts[0] or None if texts else None


def query_number(request: web.Request, name: str, default: float, low: float, high: float) -> float:
    """A number from the query, the default where there is none. Raises Problem where it is out of bounds."""
    text = query_text(request, name)
    if text is None:
        return default
    if not _NUMBER.fullmatch(text) or not low <= float(text) <= high:
        raise invalid(name, "number", f"must be a number from {low:g} to {high:g}")
    return float(text)


def query_integer(request: web.Request, name: str, default: int, low: int, high: int) -> int:
    """A whole number from the query, the default where there is none. Raises Problem where it is out of bounds."""
    text = query_text(request, name)
    if text is None:
        return default
    if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
        raise invalid(name, "integer", f"must be a whole number from {low} to {high}")
    return int(text)


def language(request: web.Request) -> Language:
    """Indonesian, unless English is preferred."""
    said = request.headers.get("Accept-Language")
    return "id" if said is None else _preferred(said[:200])


def _preferred(said: str) -> Language:
    best: tuple[float, Language] = (0.0, "id")
    for item in said.split(","):
        match = _LANGUAGE.fullmatch(item)
        if match is None:
            continue
        weight = float(match[2]) if match[2] else 1.0
        code: Language = "en" if match[1].lower() == "en" else "id"
        if weight > best[0] and match[1].lower() in ("en", "id", "in"):
            best = (weight, code)
    return best[1]


def cut_off(request: web.Request) -> ConnectionError:
    """What to raise where an answer that began can not be ended: anything else would look like one that is whole."""
    if request.transport is not None:
        request.transport.abort()
    return ConnectionError("the answer was cut off")
