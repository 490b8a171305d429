"""Redis over TLS with an authority of one's own, alone and behind Sentinels. The server itself is the real one."""

from __future__ import annotations

import asyncio
import contextlib
import select
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import hiredis
import pytest
from redis.asyncio import Redis
from redis.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError

from antrean.config import checkup
from antrean.config.redis_client import connect, connect_sync
from antrean.config.settings import Settings
from raw_server import authority

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


@contextlib.asynccontextmanager
async def tls_server(handle: Serve, context: ssl.SSLContext) -> AsyncIterator[int]:
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Servers:
    """The real server behind TLS, and one Sentinel that names it."""

    def __init__(self, socket: str) -> None:
        self.socket = socket
        self.port = self.sentinel_port = 0
        self.tasks: set[asyncio.Task[None]] = set()

    def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.get_running_loop().create_task(self._carry(reader, writer)))

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self.socket)
        await asyncio.gather(pipe(reader, to_server), pipe(from_server, writer))

    def name(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.tasks.add(asyncio.get_running_loop().create_task(self._name(reader, writer)))

    async def _name(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        primary = b"*2\r\n$9\r\nlocalhost\r\n$%d\r\n%d\r\n" % (len(str(self.port)), self.port)
        asked = hiredis.Reader()
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                asked.feed(data)
                while (command := asked.gets()) is not False:
                    writer.write(primary if command[0] == b"SENTINEL" else b"+OK\r\n")
                await writer.drain()
        writer.close()


@pytest.fixture
async def servers(redis: Redis, tmp_path: Path) -> AsyncIterator[Servers]:
    context, _ = authority(tmp_path)
    context.set_alpn_protocols(["redis"])
    servers = Servers(redis.connection_pool.connection_kwargs["path"])
    async with (
        tls_server(servers.carry, context) as servers.port,
        tls_server(servers.name, context) as servers.sentinel_port,
    ):
        yield servers
        for task in servers.tasks:
            task.cancel()
        await asyncio.gather(*servers.tasks, return_exceptions=True)


def urls(servers: Servers) -> list[str]:
    return [
        f"rediss://localhost:{servers.port}/0",
        f"rediss+sentinel://localhost:{servers.sentinel_port}/antrean",
    ]


async def test_an_authority_of_ones_own_is_trusted_where_the_url_names_its_file(
    servers: Servers, settings: Settings, tmp_path: Path
) -> None:
    for url in urls(servers):
        trusting = f"{url}?ssl_ca_certs={tmp_path / 'authority.pem'}"
        client, blocking = connect(trusting, settings), connect_sync(trusting, settings)
        try:
            assert await client.ping()
            async with client.pubsub() as heard:  # on a connection of redis-py's own
                await heard.subscribe("x")
            assert await asyncio.to_thread(blocking.ping)
        finally:
            await client.aclose()
            blocking.close()


async def test_a_certificate_that_nobody_vouches_for_is_told_as_such(
    servers: Servers, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    for url in urls(servers):
        settings = make_settings(redis_url=url, data_dir=tmp_path)
        client = connect(url, settings)
        with pytest.raises(RedisConnectionError, match="certificate"):
            await client.ping()
        await client.aclose()
        found = next(f for f in await checkup.examine(settings) if f.check == "reachable")
        assert "certificate" in found.seen
        assert "?ssl_ca_certs=" in found.advice


async def test_tickets_that_a_server_sends_after_its_greeting_are_no_answer_to_nobody(
    servers: Servers, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    can_read = AbstractConnection.can_read

    def when_there(connection: AbstractConnection, timeout: float = 0) -> bool:
        # They come a moment after the greeting: the pool is given time to see them.
        assert connection._sock is not None
        select.select([connection._sock], [], [], 0.2)
        return bool(can_read(connection, timeout))

    monkeypatch.setattr(AbstractConnection, "can_read", when_there)
    for url in urls(servers):
        client = connect_sync(f"{url}?ssl_ca_certs={tmp_path / 'authority.pem'}", settings)
        try:
            assert await asyncio.to_thread(client.ping)
        finally:
            client.close()
