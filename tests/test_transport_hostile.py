"""What other sides do to the transport whose answers are worth money: talk too early, too much, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

import httpx
import pytest
from aiohappyeyeballs import start_connection

from antrean.provider import connection as connection_module
from antrean.provider import transport as transport_module
from antrean.provider.connection import Connection
from antrean.provider.transport import Http1Transport
from raw_server import answer, post, send, serving, serving_in_thread

pytestmark = pytest.mark.both_loops

LARGE = 20 * 1024 * 1024
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


# ---- too early


@pytest.mark.parametrize("body", [b"foreign", b""])
@pytest.mark.parametrize("loop_runs", [True, False], ids=["told by the loop", "still in the socket"])
async def test_an_answer_that_comes_before_the_request_is_not_its_answer(
    loop_runs: bool, body: bytes
) -> None:
    """A proxy that hands a new connection what it owed to another one."""
    said = threading.Event()
    received: list[bytes] = []

    def handle(connection: socket.socket) -> None:
        connection.sendall(answer(body))
        said.set()
        received.append(connection.recv(4096))

    class Late(Http1Transport):
        async def _open(self, connection: Connection) -> None:
            await super()._open(connection)
            if loop_runs:
                while connection.is_open:
                    await asyncio.sleep(0.001)
            else:
                assert said.wait(5)  # blocks the loop on purpose

    with serving_in_thread(handle) as url, pytest.raises(httpx.ConnectError):
        await send(Late(4), post(url))
    assert b"".join(received) == b""


# ---- too much


@pytest.mark.parametrize("interim", [b"100 Continue", b"102 Processing", b"103 Early Hints"])
async def test_a_message_before_the_answer_is_not_the_answer(
    transport: Http1Transport, interim: bytes
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in (b"first", b"second"):
            await reader.readuntil(b"{}")
            writer.write(b"HTTP/1.1 " + interim + b"\r\n\r\n")
            await asyncio.sleep(0.02)  # in a segment of its own
            writer.write(answer(body))
        await reader.read()

    async with serving(handler) as url:
        assert await send(transport, post(url)) == b"first"
        assert await send(transport, post(url)) == b"second"


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n" + answer(b"x"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        b"HTTP/1.1 200 OK\r\nX: " + 70_000 * b"x",
        answer(b"x", "Transfer-Encoding: gzip"),
        CHUNKED + b"5\r\nhello\r\nzz\r\n",
        CHUNKED + b"-1\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["other protocol", "two lengths", "endless head", "unknown coding", "no chunk", "odd chunk"],
)
async def test_what_is_no_plain_answer_ends_the_call_at_once(transport: Http1Transport, said: bytes) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(said)
        await reader.read()

    async with serving(handler) as url, asyncio.timeout(2):
        with pytest.raises(httpx.ReadError):
            await send(transport, post(url))


async def test_a_chunk_that_is_none_ends_the_reader_that_waits_for_it(transport: Http1Transport) -> None:
    spoil = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(CHUNKED + b"5\r\nhello\r\n")
        await spoil.wait()
        writer.write(b"zz\r\n")
        await reader.read()

    async with serving(handler) as url, asyncio.timeout(2):
        response = await transport.handle_async_request(post(url))
        reading = asyncio.create_task(response.aread())
        await asyncio.sleep(0.02)
        spoil.set()
        with pytest.raises(httpx.ReadError):
            await reading
        await response.aclose()


async def test_an_answer_that_is_read_as_it_comes_may_be_larger(
    transport: Http1Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "AHEAD_BYTES_MAX", 12 * 1024 * 1024)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % LARGE)
        for _ in range(LARGE // 2**20):
            writer.write(2**20 * b"x")
            await writer.drain()

    async with serving(handler) as url:
        assert len(await send(transport, post(url))) == LARGE


async def test_an_answer_that_grows_unread_ends_its_connection(
    transport: Http1Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "AHEAD_BYTES_MAX", 1024 * 1024)
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer(LARGE * b"x"))
        try:
            await writer.drain()
        finally:
            ended.set()

    async with serving(handler) as url:
        response = await transport.handle_async_request(post(url))
        async with asyncio.timeout(5):
            await ended.wait()
        with pytest.raises(httpx.ReadError):
            await response.aread()
        await response.aclose()


# ---- no more


@pytest.mark.parametrize("size", [60_000, 200_000, LARGE])
async def test_a_request_that_was_given_up_does_not_arrive_later(
    transport: Http1Transport, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Neither what the loop holds nor what the kernel does."""
    monkeypatch.setattr(connection_module, "PIECE_BYTES", LARGE)  # all of it is handed to the loop
    taken, given_up, over = threading.Event(), threading.Event(), threading.Event()
    arrived = 0

    def handle(connection: socket.socket) -> None:
        nonlocal arrived
        arrived += len(connection.recv(1))
        taken.set()
        given_up.wait(5)
        try:
            while some := connection.recv(65536):
                arrived += len(some)
        finally:
            over.set()

    with serving_in_thread(handle) as url:
        call = asyncio.create_task(send(transport, post(url, size * b"x")))
        await asyncio.to_thread(taken.wait, 5)
        await asyncio.sleep(0.1)  # as much as goes out has gone
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        given_up.set()
        await asyncio.to_thread(over.wait, 5)
    assert 0 < arrived < size / 2


async def test_a_call_given_up_while_its_connection_is_made_is_not_sent(
    transport: Http1Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The race of a host's addresses swallows a cancellation that comes while it ends the losers."""
    received = []

    async def swallow(*addresses: Any, **options: Any) -> socket.socket:
        opened = await start_connection(*addresses, **options)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(0)
        return opened

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.read(1))

    monkeypatch.setattr(transport_module, "start_connection", swallow)
    async with serving(handler) as url:
        call = asyncio.create_task(send(transport, post(url)))
        with pytest.raises(asyncio.CancelledError):
            await call
        async with asyncio.timeout(5):
            while not received:
                await asyncio.sleep(0.01)
    assert received == [b""]


async def test_a_request_that_nobody_takes_waits_where_it_is(transport: Http1Transport) -> None:
    taken = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        taken.set()
        await asyncio.sleep(5)

    async with serving(handler) as url:
        call = asyncio.create_task(send(transport, post(url, LARGE * b"x")))
        await taken.wait()
        await asyncio.sleep(0.1)  # as much as goes out has gone
        (connection,) = transport._connections
        assert connection._transport is not None
        assert connection._transport.get_write_buffer_size() <= 2 * connection_module.PIECE_BYTES
        call.cancel()
        await asyncio.wait([call])


@pytest.mark.parametrize("trailing", [b"", b"x"], ids=["alone", "with a byte too many"])
async def test_a_refusal_ends_the_sending(transport: Http1Transport, trailing: bytes) -> None:
    """The answer to half of a request is one; the connection with the other half is not used again."""
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.1)  # the sender waits for room
        writer.write(answer(b"too large", status="413 Too Large") + trailing)
        await asyncio.sleep(5)

    async with serving(handler) as url, asyncio.timeout(4):
        for _ in range(2):
            assert await send(transport, post(url, LARGE * b"x")) == b"too large"
    assert connections == 2


async def test_a_yes_to_half_of_a_request_is_not_its_answer(transport: Http1Transport) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer(b'{"id":"another"}'))
        await asyncio.sleep(5)

    async with serving(handler) as url, asyncio.timeout(4):
        with pytest.raises(httpx.ReadError):
            await send(transport, post(url, LARGE * b"x"))


async def test_an_end_cuts_who_sends_who_waits_and_who_reads(transport: Http1Transport) -> None:
    taken = asyncio.Semaphore(0)

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"/half" in head:
            writer.write(CHUNKED + b"5\r\nhello\r\n")
        taken.release()
        await asyncio.sleep(5)

    async with serving(handler) as url:
        reads = await transport.handle_async_request(post(url + "/half"))
        calls = [
            asyncio.create_task(reads.aread()),
            asyncio.create_task(send(transport, post(url, LARGE * b"x"))),
            asyncio.create_task(send(transport, post(url))),
        ]
        for _ in range(3):
            await taken.acquire()
        async with asyncio.timeout(1):
            await transport.aclose()
            ends = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(end) for end in ends] == [httpx.ReadError] * 3
        await reads.aclose()


async def test_after_its_end_it_calls_nobody() -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer(b"x"))
        await reader.read()

    transport = Http1Transport(1)
    async with serving(handler) as url:
        first = await transport.handle_async_request(post(url))
        waits = asyncio.create_task(send(transport, post(url)))
        await asyncio.sleep(0)
        await transport.aclose()
        await first.aclose()
        for call in (waits, send(transport, post(url))):
            with pytest.raises(httpx.ConnectError):
                await call


async def test_an_answer_without_a_length_ends_with_its_connection(transport: Http1Transport) -> None:
    connections = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"{}")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall ")
        await asyncio.sleep(0.02)
        writer.write(b"of it")

    async with serving(handler) as url:
        for _ in range(2):
            assert await send(transport, post(url)) == b"all of it"
            assert not transport._idle
    assert connections == 2


# ---- kept, and not too long


async def test_an_idle_connection_is_closed(
    transport: Http1Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport_module, "KEEPALIVE_S", 0.05)
    ended = asyncio.Event()

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer(b"x"))
        assert await reader.read() == b""
        ended.set()

    async with serving(handler) as url:
        await send(transport, post(url))
        async with asyncio.timeout(2):
            await ended.wait()
        assert await send(transport, post(url)) == b"x"


async def test_kept_connections_of_many_hosts_are_few() -> None:
    open_now = 0

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_now
        open_now += 1
        try:
            await reader.readuntil(b"{}")
            writer.write(answer(b"x"))
            await reader.read()
        finally:
            open_now -= 1

    transport = Http1Transport(2)
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(5):
            await send(transport, post(await stack.enter_async_context(serving(handler))))
        async with asyncio.timeout(2):
            while open_now > 2:
                await asyncio.sleep(0.01)
        assert open_now == 2
        await transport.aclose()


# ---- to be found


async def test_a_host_is_looked_up_once_and_its_dead_address_passed_over(
    transport: Http1Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(answer(b"x"))
        await reader.read()

    async with serving(handler) as url:
        loop = asyncio.get_running_loop()
        port = httpx.URL(url).port
        lookups = 0

        class Loop:
            """The loop, but for its look-ups."""

            def __getattr__(self, name: str) -> Any:
                return getattr(loop, name)

            async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
                nonlocal lookups
                lookups += 1
                await asyncio.sleep(0.05)
                with socket.socket() as closed:
                    closed.bind(("127.0.0.1", 0))
                    dead = closed.getsockname()
                return [
                    (socket.AF_INET, socket.SOCK_STREAM, 6, "", address)
                    for address in (dead, ("127.0.0.1", port))
                ]

        monkeypatch.setattr(Http1Transport, "_loop", Loop())
        url = f"http://stamps.example:{port}/"
        assert await asyncio.gather(*(send(transport, post(url)) for _ in range(3))) == [b"x"] * 3
        assert lookups == 1


# ---- what can not be sent


async def test_a_length_that_is_not_the_body_s_is_an_error_like_others(transport: Http1Transport) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with serving(handler) as url:
        for _ in range(6):  # more than there are places
            with pytest.raises(httpx.ReadError):
                await send(
                    transport, httpx.Request("POST", url, content=b"12", headers={"Content-Length": "1"})
                )
