"""An answer whose whole body is known, written with its head in one piece.

aiohttp sends a response through a dict of headers, a signal that adds ours, and a writer that puts them together: a
tenth of what an order costs here. The headers of nearly all our answers are the same bytes, so here they are bytes.
Whatever is not plain (HEAD, no body, cookies, HTTP/1.0, a connection that ends) goes aiohttp's way, and looks the same.
"""

from __future__ import annotations

import functools
import re
import time
from email.utils import formatdate

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter

from antrean.gateway.headers import API_HEADERS
from antrean.gateway.routes import ALLOWANCE, REQUEST_ID

_OURS = "".join(f"{name}: {value}\r\n" for name, value in API_HEADERS.items())
#: A longer body, in bytes, is not copied to go with its head: many that read a list slowly share one, and each copy
#: would be kept until it is read.
JOINED_MAX = 64 * 1024
_NO_STORE = "Cache-Control: no-store\r\n"
#: What would end a header, or hide in it (RFC 9110, 5.5).
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class Answer(web.StreamResponse):
    """Bytes that are no page."""

    # A head that aiohttp writes waits for the body, as in its own answers: they leave in one piece too.
    _send_headers_immediately = False

    def __init__(self, body: bytes, status: int, headers: dict[str, str]) -> None:
        """`headers`: those of this answer alone, its type among them."""
        super().__init__(status=status, headers=headers)
        self.body = body

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Written whole where it is plain. Raises ConnectionError where the client has gone, ValueError for a header
        that is none."""
        if self.prepared:
            return await super().prepare(request)
        if not self._plain(request):
            self.content_length = len(self.body)
            return await super().prepare(request)
        head = self._head(request)
        if len(self.body) <= JOINED_MAX:
            await request.writer.write_eof(head + self.body)
        else:
            await request.writer.write(head)
            await request.writer.write_eof(self.body)
        self._keep_alive = True
        self._eof_sent = True
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """The body, where it was not written with its head."""
        if not self._eof_sent:
            await super().write_eof(b"" if self._must_be_empty_body else self.body)

    def _plain(self, request: web.BaseRequest) -> bool:
        return (
            request.version == HttpVersion11
            and request.method != "HEAD"
            and self.status >= 200
            and self.status not in (204, 304)
            and not self._cookies
            and self._keep_alive is not False
            and request.keep_alive
        )

    def _head(self, request: web.BaseRequest) -> bytes:
        own = ""
        for name, value in self.headers.items():
            if not value.isprintable() and _CONTROL.search(value):
                raise ValueError(f"a control character in the header {name}")
            own += f"{name}: {value}\r\n"
        if "Cache-Control" not in self.headers:
            own += _NO_STORE
        if (request_id := request.get(REQUEST_ID)) is not None:
            own += f"X-Request-ID: {request_id}\r\n"
        if (allowance := request.get(ALLOWANCE)) is not None:
            own += allowance.header_lines
        return (
            f"HTTP/1.1 {self.status} {self.reason}\r\n{own}{_OURS}"
            f"Date: {_date(int(time.time()))}\r\nContent-Length: {len(self.body)}\r\n\r\n"
        ).encode()


@functools.lru_cache(maxsize=1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
