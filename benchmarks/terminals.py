"""Counter terminals that cost little: connections kept open, on which orders are posted and answers only counted.

aiohttp's client takes more CPU for a request than its server does, and client and server share the machine's cores.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

import orjson

from benchmarks.rig import KEY

BODY = {
    "kind": "purchase",
    "document": {"type_code": "4b", "number": "SK-1", "date": "2024-09-04", "filename": "surat.pdf"},
    "taxpayer": {"identity_type": "KTP", "identity_number": "1271010101900001", "name": "Siti Aminah"},
}
_keys = itertools.count()


class _Connection(asyncio.Protocol):
    """One request at a time. Only what comes of answers with a Content-Length is understood."""

    def __init__(self) -> None:
        self._seen = b""
        self._answer: asyncio.Future[bytes] | None = None
        self._transport: asyncio.Transport | None = None

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The answer, head and body."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready."""
        self._transport = transport  # type: ignore[assignment] # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Is the answer whole?"""
        self._seen += data
        head = self._seen.find(b"\r\n\r\n")
        if head < 0 or self._answer is None:
            return
        at = self._seen.find(b"Content-Length: ", 0, head) + 16
        length = int(self._seen[at : self._seen.index(b"\r", at)])
        if len(self._seen) >= head + 4 + length:
            whole, self._seen = self._seen, b""
            if not self._answer.done():
                self._answer.set_result(whole)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has closed it."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionError("the server closed the connection"))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()


class Terminals:
    """Open connections to one gateway; each order takes the one that is free."""

    def __init__(self, host: str, free: asyncio.LifoQueue[_Connection]) -> None:
        self._free = free
        body = orjson.dumps(BODY)
        lines = (
            "POST /v1/orders HTTP/1.1",
            f"Host: {host}",
            f"Authorization: Bearer {KEY}",
            "Accept: */*",
            "User-Agent: bench",
            f"Content-Length: {len(body)}",
            "Content-Type: application/json",
            "Idempotency-Key: ",
        )
        self._head, self._tail = "\r\n".join(lines).encode(), b"\r\n\r\n" + body

    async def submit(self) -> None:
        """One purchase with a key of its own. Raises RuntimeError where it is not accepted."""
        connection = await self._free.get()
        try:
            answer = await connection.ask(b"%sb%d%s" % (self._head, next(_keys), self._tail))
        finally:
            self._free.put_nowait(connection)
        if not answer.startswith(b"HTTP/1.1 202 "):
            raise RuntimeError(answer.decode(errors="replace"))


@asynccontextmanager
async def terminals(origin: str, connections: int) -> AsyncIterator[Terminals]:
    """So many connections, open. Raises OSError."""
    address = urlsplit(origin)
    host, port = str(address.hostname), int(address.port or 80)
    loop = asyncio.get_running_loop()
    free: asyncio.LifoQueue[_Connection] = asyncio.LifoQueue()
    try:
        for _ in range(connections):
            _, connection = await loop.create_connection(_Connection, host, port)
            free.put_nowait(connection)
        yield Terminals(address.netloc, free)
    finally:
        while not free.empty():
            free.get_nowait().close()
