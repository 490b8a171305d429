"""An httpx transport that stays cheap with many calls in flight: a small connection pool for each of them.

One shared httpx pool counts its idle connections once per connection. Measured with 64 calls in flight against a
local server that answers after 50 ms, on one core:

    one shared AsyncClient        104 calls/s      9.4 ms of CPU a call
    a small pool per call       1,103 calls/s      0.7 ms of CPU a call

aiohttp's client under httpx's interface was tried and takes half of that CPU again. It was left: an answer that nobody
asked for, come while a connection was idle, was handed to the next call, whose order would have got a foreign SN
(httpcore drops such a connection); and the package `httpx-aiohttp` turns a connection lost after the request went out
into httpx.ConnectTimeout. For us that is the difference between "may have been bought" and "was not sent".
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from collections.abc import AsyncIterator

import httpx

#: Connections of one slot: it talks to one host at a time, and there are four base URLs at most in one variant.
HOSTS_MAX = 4
#: Idle connections are closed after this many seconds, before a usual server (5 s and more) closes them: a request
#: sent into a closing connection has an unknown outcome.
KEEPALIVE_S = 3.0


class SlotTransport(httpx.AsyncBaseTransport):
    """At most `slots_max` calls at once, each on a pool of its own, the last used first.

    A call beyond that waits for as long as its pool timeout says, then raises httpx.PoolTimeout.
    """

    def __init__(self, slots_max: int, verify: ssl.SSLContext | None = None) -> None:
        self._verify = verify
        self._free: deque[httpx.AsyncHTTPTransport] = deque()
        self._all: list[httpx.AsyncHTTPTransport] = []
        self._permits = asyncio.Semaphore(slots_max)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send on a free slot, which is taken until the response is closed."""
        timeout_s = request.extensions.get("timeout", {}).get("pool")
        try:
            async with asyncio.timeout(timeout_s):
                await self._permits.acquire()
        except TimeoutError as error:
            raise httpx.PoolTimeout("no slot is free", request=request) from error
        slot = self._free.pop() if self._free else self._open()
        try:
            response = await slot.handle_async_request(request)
        except BaseException:
            self._give_back(slot)
            raise
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = _SlotStream(response.stream, self, slot)
        return response

    async def aclose(self) -> None:
        """Close all connections."""
        for slot in self._all:
            await slot.aclose()

    def _open(self) -> httpx.AsyncHTTPTransport:
        if self._verify is None:
            self._verify = httpx.create_ssl_context()  # about 20 ms, so one for all slots
        limits = httpx.Limits(
            max_connections=HOSTS_MAX, max_keepalive_connections=HOSTS_MAX, keepalive_expiry=KEEPALIVE_S
        )
        slot = httpx.AsyncHTTPTransport(verify=self._verify, trust_env=False, limits=limits)
        self._all.append(slot)
        return slot

    def _give_back(self, slot: httpx.AsyncHTTPTransport) -> None:
        self._free.append(slot)
        self._permits.release()


class _SlotStream(httpx.AsyncByteStream):
    """A response's body; closing it frees the slot, once."""

    def __init__(
        self, stream: httpx.AsyncByteStream, owner: SlotTransport, slot: httpx.AsyncHTTPTransport
    ) -> None:
        self._stream = stream
        self._owner = owner
        self._slot: httpx.AsyncHTTPTransport | None = slot

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            slot, self._slot = self._slot, None
            if slot is not None:
                self._owner._give_back(slot)
