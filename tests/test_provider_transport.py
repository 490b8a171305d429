"""What carries the calls: which failures come before the request is sent, and what is kept of a connection."""

from __future__ import annotations

import asyncio
import gzip
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import httpx
import pytest

from antrean.provider.slots import SlotTransport

#: Answers the n-th request (from 1) of all connections with these bytes; None cuts the connection.
Script = Callable[[int, bytes], bytes | None]
Serve = Callable[[Script], Awaitable[str]]


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


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


@pytest.fixture
async def transport() -> AsyncIterator[SlotTransport]:
    made = SlotTransport(4)
    yield made
    await made.aclose()


def post(url: str, content: bytes = b"{}", connect_s: float = 2, pool_s: float = 2) -> httpx.Request:
    timeout = httpx.Timeout(5, connect=connect_s, pool=pool_s)
    return httpx.Request("POST", url, content=content, extensions={"timeout": timeout.as_dict()})


async def send(transport: SlotTransport, request: httpx.Request) -> bytes:
    response = await transport.handle_async_request(request)
    try:
        return await response.aread()
    finally:
        await response.aclose()


async def test_a_post_on_a_kept_connection_that_is_cut_is_not_sent_again(
    transport: SlotTransport, serve: Serve
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


async def test_an_answer_that_nobody_asked_for_is_not_the_next_call_s(transport: SlotTransport) -> None:
    """A server or proxy that answers twice must not give one order the SN of another."""
    connections = 0
    answered, stale_sent = asyncio.Event(), asyncio.Event()

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"{}")
        writer.write(answer(b"its own"))
        await answered.wait()
        writer.write(answer(b"stale"))
        await writer.drain()
        stale_sent.set()
        writer.close()

    async with await asyncio.start_server(twice, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/x"
        assert await send(transport, post(url)) == b"its own"
        answered.set()
        await stale_sent.wait()
        assert await send(transport, post(url)) == b"its own"
        assert connections == 2


@pytest.mark.parametrize(
    "said",
    [b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", b"hello\r\n\r\n"],
    ids=["half a head", "half a body", "no HTTP"],
)
async def test_an_answer_that_is_none_came_after_the_request(
    transport: SlotTransport, serve: Serve, said: bytes
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
    except (httpx.ReadError, httpx.RemoteProtocolError, TimeoutError):
        pass
    else:
        pytest.fail("taken for an answer")


async def test_what_fails_before_there_is_a_connection_was_not_sent(
    transport: SlotTransport, serve: Serve
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


async def test_a_server_that_takes_no_connections_was_not_sent_anything(transport: SlotTransport) -> None:
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
    transport = SlotTransport(1)
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
    transport: SlotTransport, serve: Serve
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


async def test_a_redirect_is_an_answer(transport: SlotTransport, serve: Serve) -> None:
    url = await serve(lambda number, _: answer(b"", "Location: /elsewhere", status="302 Found"))
    response = await transport.handle_async_request(post(url))
    assert response.status_code == 302
    await response.aclose()
