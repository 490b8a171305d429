"""An httpx transport on aiohttp's client, which stays cheap with many calls in flight.

httpx's own pool counts its idle connections once per connection: 64 calls in flight on one of them cost 9.4 ms of CPU
a call, with a small pool for each call 0.7 (measured on one core, answers after 50 ms). Where answers come after 200 ms
the small pools cost 0.6 ms and this transport 0.3.

Two things that aiohttp does are not good enough where an answer is worth money, and are otherwise here:

- It hands an answer that nobody asked for, come while its connection was idle, to the next call, whose order would
  get a foreign SN. Here such a connection ends (`_Exchanges`).
- It repeats a GET on a kept connection that broke. Here nothing is sent twice.

Its errors become httpx's by one question: was there a connection? What is raised before is ConnectError or
ConnectTimeout, and the request was not sent; all else is ReadError, and it may have been. (The package `httpx-aiohttp`
calls a connection that is lost after the request went out a ConnectTimeout.)
"""

from __future__ import annotations

import asyncio
import functools
import io
import select
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, cast

import aiohttp
import httpx
from aiohttp.client_proto import ResponseHandler
from yarl import URL

#: Idle connections are closed after this many seconds, before a usual server (5 s and more) closes them: a request
#: sent into a closing connection has an unknown outcome.
KEEPALIVE_S = 3.0
#: Longest line of an answer's head that is read, in bytes.
HEAD_LINE_BYTES_MAX = 64 * 1024
#: Larger requests are written piece by piece, with other calls in between.
AT_ONCE_BYTES_MAX = 256 * 1024
#: Headers that aiohttp writes itself.
OWN_HEADERS = frozenset({b"host", b"content-length", b"transfer-encoding"})


class AiohttpTransport(httpx.AsyncBaseTransport):
    """At most `calls_max` calls at once; one beyond waits for as long as its pool timeout says, then raises
    httpx.PoolTimeout.

    Of a request's timeouts `pool` and `connect` are kept; how long an answer may take is the caller's to bound.
    Redirects are not followed, cookies not kept, proxies of the environment not looked at.
    """

    def __init__(self, calls_max: int) -> None:
        self._permits = asyncio.Semaphore(calls_max)
        self._opened: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send; the place is taken until the response is closed. Raises httpx.TransportError."""
        timeouts = request.extensions.get("timeout", {})
        body = await request.aread()
        try:
            async with asyncio.timeout(timeouts.get("pool")):
                await self._permits.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection is free", request=request) from error
        try:
            with _translated(request):
                answer = await self._session.request(
                    request.method,
                    URL(str(request.url), encoded=True),
                    data=io.BytesIO(body) if len(body) > AT_ONCE_BYTES_MAX else body or None,
                    headers=_headers(request),
                    skip_auto_headers=("Content-Type",),
                    allow_redirects=False,
                    timeout=aiohttp.ClientTimeout(connect=timeouts.get("connect")),
                )
        except BaseException:
            self._permits.release()
            raise
        stream = _Body(answer, request, self._permits)
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=stream)

    async def aclose(self) -> None:
        """Close all connections, without waiting for the other side."""
        if self._opened is not None and self._opened.connector is not None:
            await self._opened.connector.close(abort_ssl=True)

    @property
    def _session(self) -> aiohttp.ClientSession:
        """Opened by the first call: it needs the loop that runs."""
        if self._opened is None:
            self._opened = aiohttp.ClientSession(
                connector=_Connections(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=HEAD_LINE_BYTES_MAX,
                max_field_size=HEAD_LINE_BYTES_MAX,
            )
            self._opened._retry_connection = False
        return self._opened


class _Connections(aiohttp.TCPConnector):
    """Kept connections, their number bounded by the transport's permits."""

    def __init__(self) -> None:
        super().__init__(limit=0, keepalive_timeout=KEEPALIVE_S, ssl=_tls())
        self._factory = cast(
            "functools.partial[ResponseHandler]", functools.partial(_Exchanges, loop=self._loop)
        )


class _Exchanges(ResponseHandler):
    """A connection on which an answer is taken only for the request that was sent before it."""

    def set_response_params(self, **params: Any) -> None:
        """A request is about to be sent."""
        self._payload = None
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Take it, unless the answer is whole already: then nothing more was asked for.

        No data is aiohttp's word to itself to go on parsing.
        """
        if data and self._payload is not None and self._payload.is_eof():
            self.force_close()
            self.abort()
        else:
            super().data_received(data)

    def is_connected(self) -> bool:
        """Whether the next request may go out here: not with anything unread, in the parser or in the socket."""
        return (
            self.transport is not None
            and not self.transport.is_closing()
            and not self.should_close
            and not _readable(self.transport.get_extra_info("socket").fileno())
        )

    def close(self) -> None:
        """What is unfinished is cut: the rest of a request must not leave after it was given up."""
        if self.should_close:
            self.abort()
        else:
            super().close()


class _Body(httpx.AsyncByteStream):
    """A response's body; closing it gives the place back, once. The connection is kept where all was read."""

    def __init__(
        self, answer: aiohttp.ClientResponse, request: httpx.Request, permits: asyncio.Semaphore
    ) -> None:
        self._answer = answer
        self._request = request
        self._permits: asyncio.Semaphore | None = permits

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _translated(self._request):
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        self._answer.close()
        permits, self._permits = self._permits, None
        if permits is not None:
            permits.release()


@contextmanager
def _translated(request: httpx.Request) -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout("no connection in time", request=request) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError("no connection", request=request) from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise httpx.UnsupportedProtocol("not an address that can be called", request=request) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError("the connection broke", request=request) from error


def _headers(request: httpx.Request) -> list[tuple[str, str]]:
    return [
        (name.decode("ascii"), value.decode("latin-1"))
        for name, value in request.headers.raw
        if name.lower() not in OWN_HEADERS
    ]


def _readable(descriptor: int) -> bool:
    """Whether something came, or the end of the connection."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


def _tls() -> ssl.SSLContext:
    """httpx's authorities: a small machine may have none of its own."""
    context = httpx.create_ssl_context()
    context.set_alpn_protocols(["http/1.1"])
    return context
