"""TLS below the transport: what the loops hold back, lose or swallow there must not cost an answer, nor swap two."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import time
from pathlib import Path

import httpx
import pytest

from antrean.provider.connection import FORGET, Connection
from antrean.provider.transport import Http1Transport
from raw_server import answer, authority, post, read_request, send, serving, serving_in_thread

pytestmark = pytest.mark.both_loops


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """A server's side that the client trusts."""
    context, trusted = authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    return context


async def test_tls_is_kept_checked_and_cut(tls: ssl.SSLContext) -> None:
    connections = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        while True:
            await reader.readuntil(b"{}")
            await asyncio.sleep(0.02)  # the session's tickets come before
            writer.write(answer(b"x"))

    transport = Http1Transport(4)
    async with serving(handler, ssl=tls) as url:
        for _ in range(3):
            assert await send(transport, post(url)) == b"x"
        assert connections == ["http/1.1"]
        with pytest.raises(httpx.ConnectError):  # the certificate is another's
            await send(transport, post(url.replace("localhost", "127.0.0.1")))
        waits = asyncio.create_task(send(transport, post(url)))
        await asyncio.sleep(0.01)
        await transport.aclose()
        with pytest.raises(httpx.ReadError):
            await waits


@pytest.mark.parametrize("size", [300, 300_000, 3_000_000])
async def test_a_stale_answer_after_one_that_is_read_late_is_not_the_next_call_s(
    tls: ssl.SSLContext, size: int
) -> None:
    connections = 0
    stale_sent = threading.Event()

    def handle(connection: socket.socket) -> None:
        nonlocal connections
        connections += 1
        read_request(connection)
        if connections == 1:
            connection.sendall(answer(size * b"x"))
            connection.sendall(answer(b"stale"))
            stale_sent.set()
            time.sleep(0.3)  # were the next request sent here, it had its answer already
        else:
            connection.sendall(answer(b"its own"))
        connection.recv(1)

    with serving_in_thread(handle, tls) as url:
        transport = Http1Transport(4)
        response = await transport.handle_async_request(post(url))
        await asyncio.to_thread(stale_sent.wait, 5)
        await asyncio.sleep(0.05)
        assert await response.aread() == size * b"x"
        await response.aclose()
        assert await send(transport, post(url)) == b"its own"
        assert connections == 2
        await transport.aclose()


async def test_an_answer_that_comes_before_the_request_is_not_its_answer(tls: ssl.SSLContext) -> None:
    ready, said = threading.Event(), threading.Event()

    def handle(connection: socket.socket) -> None:
        ready.wait(5)
        connection.sendall(answer(b"foreign"))
        said.set()
        read_request(connection)
        connection.sendall(answer(b"its own"))

    class Late(Http1Transport):
        async def _open(self, connection: Connection) -> None:
            await super()._open(connection)
            for _ in range(3):
                await asyncio.sleep(0)  # our last word of the handshake leaves
            ready.set()
            assert said.wait(5)
            time.sleep(0.05)  # blocks the loop on purpose: the answer waits in the socket

    with serving_in_thread(handle, tls) as url:
        transport = Late(4)
        with pytest.raises(httpx.ConnectError):
            await send(transport, post(url))
        await transport.aclose()


@pytest.mark.parametrize("how", ["cancelled", "closed"])
async def test_a_connection_that_is_lost_in_the_same_turn_costs_no_place(
    tls: ssl.SSLContext, how: str
) -> None:
    """TLS has forgotten its socket then, and our side was not told yet."""
    asked, go = threading.Event(), threading.Event()

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        asked.set()
        go.wait(5)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, FORGET)
        connection.shutdown(socket.SHUT_RDWR)

    with serving_in_thread(handle, tls) as url:
        transport = Http1Transport(4)
        call = asyncio.create_task(send(transport, post(url)))
        async with asyncio.timeout(5):
            await asyncio.to_thread(asked.wait, 5)
            (connection,) = transport._connections
            below = connection._transport
            assert below is not None
            go.set()
            while below.get_extra_info("socket") is not None:
                await asyncio.sleep(0)
        if how == "cancelled":
            call.cancel()
        else:
            await transport.aclose()
        with pytest.raises((asyncio.CancelledError, httpx.ReadError)):  # it may know already
            await call
        assert (transport._permits._value, transport._connections) == (4, set())
        await transport.aclose()


async def test_a_call_given_up_while_its_new_connection_is_looked_at_leaves_none_open(
    tls: ssl.SSLContext,
) -> None:
    class Cancelled(Http1Transport):
        async def _silent(self, connection: Connection) -> bool:
            call.cancel()
            await asyncio.sleep(0)
            return await super()._silent(connection)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler, ssl=tls) as url:
        transport = Cancelled(4)
        call = asyncio.create_task(send(transport, post(url)))
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (transport._permits._value, transport._connections) == (4, set())


async def test_a_large_answer_whose_sender_ends_without_a_word_is_whole(tls: ssl.SSLContext) -> None:
    """As many servers do: the end of TCP, none of TLS."""

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer(2_000_000 * b"y", "Connection: close"))
        with socket.socket(fileno=connection.detach()) as below:
            below.shutdown(socket.SHUT_WR)
            below.recv(1)

    with serving_in_thread(handle, tls) as url:
        transport = Http1Transport(4)
        for _ in range(8):
            assert len(await send(transport, post(url))) == 2_000_000
        await transport.aclose()
