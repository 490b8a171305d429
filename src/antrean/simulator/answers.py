"""Answers in the upstream's own form, and requests read from it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, Final

import orjson
from aiohttp import web

#: Western Indonesian Time, the upstream's.
WIB: Final = timezone(timedelta(hours=7))

DONE: Final = "00"
TOKEN_BAD: Final = "01"  # noqa: S105 - a result code
QUOTA_USED_UP: Final = "93"
# Codes of our own choosing (assumed): the sources name no others.
LOGIN_BAD: Final = "02"
INVALID: Final = "14"
UNKNOWN_SERIAL: Final = "92"
ACCOUNT_FULL: Final = "94"
FILE_BAD: Final = "95"
BUSY: Final = "98"


class BadRequest(Exception):
    """A body that is no JSON object."""


def answer(body: Any, status: int = 200) -> web.Response:
    """A JSON answer."""
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json")


def done(**fields: Any) -> web.Response:
    """`statusCode` 00 with these fields."""
    return answer({"statusCode": DONE, "message": "success", **fields})


def refused(code: str, message: str, status: int = 200) -> web.Response:
    """Another `statusCode`, with its message."""
    return answer({"statusCode": code, "message": message, "result": {}}, status)


async def read_object(request: web.Request) -> dict[str, Any]:
    """The JSON object of the body. Raises BadRequest; aiohttp answers 413 for a body over the app's limit."""
    try:
        body = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest from error
    if not isinstance(body, dict):
        raise BadRequest
    return body


def wib(unix_s: float) -> str:
    """ISO 8601 with +07:00, to the second."""
    return datetime.fromtimestamp(int(unix_s), WIB).isoformat()


def pdf_date(unix_s: float) -> str:
    """A date as PDF writes it."""
    return datetime.fromtimestamp(int(unix_s), WIB).strftime("D:%Y%m%d%H%M%S+07'00'")
