"""One connection: requests that are not HTTP, or break a bound, are answered before the application sees them, and what
is still arriving when the gateway stops is taken."""

from __future__ import annotations

import uuid

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from antrean.gateway.headers import API_HEADERS
from antrean.gateway.problems import Problem

log = structlog.get_logger(__name__)


class Connection(RequestHandler):
    """Answers such requests with a problem. Neither the answer nor the log repeats a byte of them.

    aiohttp's own handler puts the faulty line into both, and that line may hold a key.
    """

    def data_received(self, data: bytes) -> None:
        """Bytes of the client.

        Once aiohttp closes it throws away what comes: a body on its way would never be whole, and its request would be
        cut off unanswered, after it has held up the stop for as long as that may take.
        """
        under_way = self._current_request
        if not (self._close or self._force_close) or under_way is None or under_way.content.is_eof():
            super().data_received(data)
            return
        closing, self._close, self._force_close = (self._close, self._force_close), False, False
        try:
            super().data_received(data)
        finally:
            self._close, self._force_close = closing

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer; the connection is closed after it. Raises ConnectionError where none can be given any more."""
        del message
        if isinstance(exc, ConnectionError):  # the client has gone
            raise exc
        request_id = uuid.uuid4().hex
        kind = type(exc).__name__
        if status < 500:
            log.info("a request can not be read", error=kind, request_id=request_id)
        else:
            log.error("a request ended in an error of ours", error=kind, request_id=request_id)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        name = "bad-request" if status < 500 else "internal-error"
        response = Problem(name, "The request is no HTTP, or a line or header of it is too long.").response(
            request_id
        )
        if status >= 500:
            response = Problem(name, "The error is in our log under this request id.").response(request_id)
        response.headers.update(API_HEADERS)
        response.headers["X-Request-ID"] = request_id
        response.force_close()
        return response
