"""What carries the calls: which failures come before the request is sent, and what is kept of a connection."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from antrean.provider.transport import Http1Transport
from raw_server import answer, post, read_request, send, serving, serving_in_thread

pytestmark = pytest.mark.both_loops

#: Answers the n-th request (from 1) of all connections with these bytes; None cuts the connection.
Script = Callable[[int, bytes], bytes | None]
Serve = Callable[[Script], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    servers, writers = [], []

    async def start(script: Script) -> str:
        asked = 0

        async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal asked
            writers.append(writer)
            try:
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    lengths = [
                        int(line[15:])
                        for line in head.split(b"\r\n")
                        if line.lower().startswith(b"content-length:")
                    ]
                    request = head + await reader.readexactly(sum(lengths))
                    asked += 1
                    said = script(asked, request)
                    if said is None:
                        break
                    writer.write(said)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(connection, "127.0.0.1", 0)
        servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"

    yield start
    for server in servers:
        server.close()
    for writer in writers:
        writer.close()


async def test_a_post_on_a_kept_connection_that_is_cut_is_not_sent_again(
    transport: Http1Transport, serve: Serve
) -> None:
    seen: list[int] = []

    def script(number: int, _: bytes) -> bytes | None:
        seen.append(number)
        return answer(b"one") if number == 1 else None

    url = await serve(script)
    assert await send(transport, post(url)) == b"one"
    with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
        await send(transport, post(url))
    assert seen == [1, 2]


@pytest.mark.parametrize(
    ("at_once", "later"),
    [(answer(b"stale"), b""), (b"", answer(b"stale")), (b"", answer(b"stale")[:17])],
    ids=["in the same packet", "while idle", "half of one while idle"],
)
async def test_an_answer_that_nobody_asked_for_is_not_the_next_call_s(
    transport: Http1Transport, at_once: bytes, later: bytes
) -> None:
    """A server or proxy that answers twice must not give one order the SN of another."""
    connections = 0
    answered, stale_sent = asyncio.Event(), asyncio.Event()

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"{}")
        writer.write(answer(b"its own") + at_once)
        await answered.wait()
        writer.write(later)
        await writer.drain()
        stale_sent.set()
        await reader.read()  # open until the other side ends it
        writer.close()

    async with await asyncio.start_server(twice, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        assert await send(transport, post(url)) == b"its own"
        answered.set()
        await stale_sent.wait()
        await asyncio.sleep(0)  # what was sent is read
        assert await send(transport, post(url)) == b"its own"
        assert connections == 2
        await transport.aclose()


async def test_what_came_unasked_and_is_not_read_yet_is_not_the_next_call_s(
    transport: Http1Transport,
) -> None:
    """The server writes from another thread while this loop stands still: nothing was told of it."""
    connections = []
    answered, stale_sent = threading.Event(), threading.Event()

    def serve(listening: socket.socket) -> None:
        for number in range(2):
            taken, _ = listening.accept()
            connections.append(taken)
            received = b""
            while not received.endswith(b"{}"):
                received += taken.recv(4096)
            taken.sendall(answer(b"its own"))
            if number == 0:
                answered.wait(5)
                taken.sendall(answer(b"stale"))
                stale_sent.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        server = threading.Thread(target=serve, args=(listening,))
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/x"
        assert await send(transport, post(url)) == b"its own"
        answered.set()
        assert stale_sent.wait(5)  # blocks the loop on purpose
        assert await send(transport, post(url)) == b"its own"
        server.join(5)
    for each in connections:
        each.close()
    assert len(connections) == 2


async def test_a_connection_is_kept_for_the_next_call(transport: Http1Transport) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(3):
            await reader.readuntil(b"{}")
            writer.write(answer(8000 * b"x"))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        for _ in range(3):
            assert len(await send(transport, post(url))) == 8000
        assert connections == 1


async def test_the_time_of_an_answer_is_that_to_its_head(transport: Http1Transport) -> None:
    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"{}")
            await asyncio.sleep(0.1)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
            await asyncio.sleep(0.4)
            writer.write(b"x")

    async with serving(slow) as url:
        for _ in range(2):
            response = await transport.handle_async_request(post(url))
            assert await response.aread() == b"x"
            assert 0.09 <= response.extensions["answer_s"] < 0.4
            await response.aclose()


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="the kernel does not tell")
async def test_an_answer_that_was_here_while_the_loop_stood_still_took_no_longer_for_that(
    transport: Http1Transport,
) -> None:
    asked = threading.Event()

    def slow(connection: socket.socket) -> None:
        while True:
            read_request(connection)
            asked.set()
            time.sleep(0.1)
            connection.sendall(answer(b"x"))

    with serving_in_thread(slow) as url:
        for _ in range(2):
            asked.clear()
            call = asyncio.create_task(transport.handle_async_request(post(url)))
            assert await asyncio.to_thread(asked.wait, 5)
            time.sleep(0.8)  # the loop, not the test
            response = await call
            assert await response.aread() == b"x"
            assert 0.09 <= response.extensions["answer_s"] < 0.5
            await response.aclose()


async def test_a_get_is_not_repeated_either(transport: Http1Transport, serve: Serve) -> None:
    seen: list[int] = []

    def script(number: int, _: bytes) -> bytes | None:
        seen.append(number)
        return answer(b"one") if number == 1 else None

    url = await serve(script)
    assert await send(transport, httpx.Request("GET", url)) == b"one"
    with pytest.raises(httpx.ReadError):
        await send(transport, httpx.Request("GET", url))
    assert seen == [1, 2]


async def test_a_call_given_up_ends_its_connection_and_gives_its_place_back(serve: Serve) -> None:
    asked = asyncio.Event()

    def script(number: int, _: bytes) -> bytes:
        asked.set()
        return b"" if number == 1 else answer(b"x")

    url = await serve(script)
    transport = Http1Transport(1)
    call = asyncio.create_task(send(transport, post(url)))
    await asked.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await send(transport, post(url)) == b"x"
    await transport.aclose()


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"hello\r\n\r\n"],
    ids=["half a head", "half a body", "no HTTP"],
)
async def test_an_answer_that_is_none_came_after_the_request(
    transport: Http1Transport, serve: Serve, said: bytes
) -> None:
    cut = asyncio.Event()

    def script(number: int, _: bytes) -> bytes | None:
        cut.set()
        return said

    url = await serve(script)
    call = asyncio.create_task(send(transport, post(url)))
    await cut.wait()
    # Whatever came, nothing more will: the caller's patience ends it where the connection does not.
    try:
        async with asyncio.timeout(0.2):
            await call
    except TimeoutError:
        assert said != b"hello\r\n\r\n"
    except httpx.ReadError:
        pass
    else:
        pytest.fail("taken for an answer")


async def test_what_fails_before_there_is_a_connection_was_not_sent(
    transport: Http1Transport, serve: Serve
) -> None:
    plain = await serve(lambda number, _: answer(b""))
    with pytest.raises((httpx.ConnectTimeout, httpx.ConnectError)):  # it speaks no TLS
        await send(transport, post(plain.replace("http", "https"), connect_s=0.3))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with pytest.raises(httpx.ConnectError):
            await send(transport, post(f"http://127.0.0.1:{closed.getsockname()[1]}/"))
    with pytest.raises(httpx.ConnectError):
        await send(transport, post("http://nowhere.invalid/"))
    with pytest.raises(httpx.UnsupportedProtocol):
        await send(transport, post("ftp://127.0.0.1/"))


async def test_a_server_that_takes_no_connections_was_not_sent_anything(transport: Http1Transport) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        address = listening.getsockname()
        # Fill the line of connections that wait to be taken; what comes after them is not answered.
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(address)
        with pytest.raises(httpx.ConnectTimeout):
            await send(transport, post(f"http://127.0.0.1:{address[1]}/", connect_s=0.2))
        for each in waiting:
            each.close()


async def test_a_call_beyond_the_bound_waits_for_a_place(serve: Serve) -> None:
    url = await serve(lambda number, _: answer(b"x"))
    transport = Http1Transport(1)
    first = await transport.handle_async_request(post(url))
    with pytest.raises(httpx.PoolTimeout):
        await transport.handle_async_request(post(url, pool_s=0.05))
    second = asyncio.create_task(send(transport, post(url)))
    await first.aclose()
    await first.aclose()  # gives one place back, not two
    assert await second == b"x"
    assert await send(transport, post(url)) == b"x"
    third = await transport.handle_async_request(post(url))
    with pytest.raises(httpx.PoolTimeout):
        await transport.handle_async_request(post(url, pool_s=0.05))
    await third.aclose()
    await transport.aclose()


async def test_a_large_body_arrives_whole_and_an_answer_is_unpacked(
    transport: Http1Transport, serve: Serve
) -> None:
    sent = []

    def script(number: int, request: bytes) -> bytes:
        sent.append(request)
        return answer(gzip.compress(b"packed"), "Content-Encoding: gzip", "X-Long: " + 20_000 * "x")

    url = await serve(script)
    large = bytes(range(256)) * (4096)
    request = httpx.Request("POST", url, files={"file": ("a.pdf", large, "application/pdf")})
    assert await send(transport, request) == b"packed"
    assert sent[0].count(large) == 1
    assert sent[0].lower().count(b"content-length:") == sent[0].lower().count(b"\r\nhost:") == 1


async def test_a_redirect_is_an_answer(transport: Http1Transport, serve: Serve) -> None:
    url = await serve(lambda number, _: answer(b"", "Location: /elsewhere", status="302 Found"))
    response = await transport.handle_async_request(post(url))
    assert response.status_code == 302
    await response.aclose()
