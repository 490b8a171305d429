"""An httpx transport for answers that are worth money: HTTP/1.1 by h11, on asyncio's own connections.

httpx's own pool counts its idle connections once per connection, so each call costs more the more calls are in flight.
The pool here is a list.

Where a general client is lenient, this one closes the connection:

- An answer counts only for the request that was sent before it. What arrives before a request, or after its answer,
  belongs to nobody or to another order. (An answer that was under way when the next request left can not be told apart,
  nor half of one below TLS. If it brings another order's SN, our books notice: see `bought.lua`.)
- A request is sent once, on a kept connection as on a new one, whatever becomes of it.
- A good answer to a long request that is not fully sent yet does not count; a refusal does.
- A call that is given up closes its connection and drops what the kernel has not sent yet, so that no rest of its
  request leaves this machine later.

Errors answer one question: may the request have been sent? ConnectError, ConnectTimeout, PoolTimeout and
UnsupportedProtocol: no byte of it left. ReadError: it may have been.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from typing import Any, cast

import h11
import httpx
from aiohappyeyeballs import start_connection

from antrean.provider.connection import PORTS, Connection, Origin

#: Idle connections are closed after this many seconds, before a usual server (5 s and more) closes them: a request
#: sent into a closing connection has an unknown outcome.
KEEPALIVE_S = 3.0
#: The next address of a host is tried after so many seconds without a connection to the one before (RFC 8305).
NEXT_ADDRESS_S = 0.25
#: Most turns of the loop in which a new TLS connection reads its session tickets.
TLS_TURNS_MAX = 100
#: What looking up a host and connecting to it raise. The last three come of names that are no host names.
NO_CONNECTION = (OSError, ValueError, RuntimeError, LookupError)

Address = tuple[int, int, int, str, tuple[Any, ...]]


class Http1Transport(httpx.AsyncBaseTransport):
    """At most `calls_max` calls at once; one beyond waits for as long as its pool timeout says, then raises
    httpx.PoolTimeout.

    Of a request's timeouts `pool` and `connect` are kept; how long an answer may take is the caller's to bound.
    A response's extension `answer_s`: seconds from the request's first byte until the answer's head was here.

    Redirects are not followed, cookies not kept, proxies of the environment not looked at.
    """

    def __init__(self, calls_max: int) -> None:
        self._calls_max = calls_max
        self._permits = asyncio.Semaphore(calls_max)
        self._connections: set[Connection] = set()
        # With the timer that ends each; the one used last is last.
        self._idle: dict[Connection, asyncio.TimerHandle] = {}
        self._lookups: dict[tuple[str, int], asyncio.Task[list[Address]]] = {}
        self._tls: ssl.SSLContext | None = None
        self._closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; its permit is held until the response is closed. Raises httpx.TransportError."""
        timeouts = request.extensions.get("timeout", {})
        body = await request.aread()
        head = _head(request)
        origin = _origin(request)
        try:
            async with asyncio.timeout(timeouts.get("pool")):
                await self._permits.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no connection is free", request=request) from error
        connection = None
        try:
            connection = self._kept(origin) or await self._connect(origin, timeouts.get("connect"))
            answer = await connection.ask(head, body)
        except BaseException as error:
            self._permits.release()
            if connection is not None:
                connection.cut()
            if isinstance(error, h11.LocalProtocolError):
                raise httpx.ReadError("the request contradicts itself", request=request) from None
            if isinstance(error, httpx.TransportError):
                error.request = request
            raise
        stream = _Body(connection, self)
        return httpx.Response(
            answer.status_code,
            headers=answer.headers.raw_items(),
            stream=stream,
            extensions={"answer_s": connection.answer_s},
        )

    async def aclose(self) -> None:
        """Cut all connections, those in use as well, and begin no more. One that is being made ends within its time."""
        self._closed = True
        for connection in tuple(self._connections):
            connection.cut()

    # ---- the pool

    def give_back(self, connection: Connection) -> None:
        """End a call: free its permit, and keep its connection where nothing is left on it."""
        self._permits.release()
        if connection.next_exchange():
            self._idle[connection] = self._loop.call_later(KEEPALIVE_S, connection.cut)
            if len(self._idle) > self._calls_max:
                next(iter(self._idle)).cut()
        else:
            connection.cut()

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)
        idle_end = self._idle.pop(connection, None)
        if idle_end is not None:
            idle_end.cancel()

    def _kept(self, origin: Origin) -> Connection | None:
        """The kept connection that was used last, if there is one on which nothing came since."""
        while True:
            kept = next((each for each in reversed(self._idle) if each.origin == origin), None)
            if kept is None:
                return None
            self._idle.pop(kept).cancel()
            if kept.is_open and not kept.readable():
                return kept
            kept.cut()

    async def _connect(self, origin: Origin, timeout_s: float | None) -> Connection:
        """Raises ConnectError, ConnectTimeout."""
        connection = Connection(origin, self._connections.add, self._ended)
        try:
            async with asyncio.timeout(timeout_s):
                await self._open(connection)
            if self._closed or not await self._silent(connection):
                raise httpx.ConnectError("the connection was over before anything was sent")
        except BaseException as error:
            connection.cut()
            if isinstance(error, TimeoutError):
                raise httpx.ConnectTimeout("no connection in time") from error
            if isinstance(error, NO_CONNECTION):
                raise httpx.ConnectError("no connection") from error
            raise
        return connection

    async def _silent(self, connection: Connection) -> bool:
        """Whether a new connection brought nothing but what belongs to TLS, which the loop reads by itself."""
        if connection.origin[0] == "https":
            for _ in range(TLS_TURNS_MAX):
                if not connection.is_open or not connection.readable():
                    break
                await asyncio.sleep(0)
        return connection.is_open and not connection.readable()

    async def _open(self, connection: Connection) -> None:
        if self._closed:
            raise ConnectionAbortedError("the transport is closed")
        scheme, host, port = connection.origin
        tls = self._tls_context() if scheme == "https" else None
        addresses = await self._addresses(host, port)
        task = cast("asyncio.Task[Any]", asyncio.current_task())
        before = task.cancelling()
        opened = await start_connection(addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1)
        # The race of addresses swallows a cancellation that comes in its last turn.
        if task.cancelling() > before:
            opened.close()
            raise asyncio.CancelledError
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.below = opened
        await self._loop.create_connection(
            lambda: connection, sock=opened, ssl=tls, server_hostname=host if tls is not None else None
        )

    async def _addresses(self, host: str, port: int) -> list[Address]:
        """Look up a host. Calls share a look-up of the same host: each holds one of few threads until it ends."""
        lookup = self._lookups.get((host, port))
        if lookup is None:
            work = self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            lookup = self._lookups[host, port] = asyncio.ensure_future(cast("Any", work))
            lookup.add_done_callback(lambda _: self._lookups.pop((host, port), None))
        return await asyncio.shield(lookup)

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    def _tls_context(self) -> ssl.SSLContext:
        """With the certificate authorities that httpx brings: a small machine may have none of its own."""
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
            self._tls.set_alpn_protocols(["http/1.1"])
        return self._tls


class _Body(httpx.AsyncByteStream):
    """A response's body; closing it gives the connection and the permit back, once."""

    def __init__(self, connection: Connection, pool: Http1Transport) -> None:
        self._connection: Connection | None = connection
        self._pool = pool

    async def __aiter__(self) -> AsyncIterator[bytes]:
        if self._connection is not None:
            async for chunk in self._connection.chunks():
                yield chunk

    async def aclose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.give_back(connection)


def _head(request: httpx.Request) -> h11.Request:
    """Raises httpx.UnsupportedProtocol."""
    try:
        return h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
    except (h11.LocalProtocolError, ValueError):
        # Without its words: the header at fault may be the one with the token.
        raise httpx.UnsupportedProtocol("not to be put into HTTP", request=request) from None


def _origin(request: httpx.Request) -> Origin:
    """Raises httpx.UnsupportedProtocol."""
    url = request.url
    if url.scheme not in PORTS or not url.host:
        raise httpx.UnsupportedProtocol("not an address that can be called", request=request)
    return url.scheme, url.raw_host.decode("ascii"), url.port or PORTS[url.scheme]
