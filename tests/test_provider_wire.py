"""One exchange on real sockets: bounded in time and size, and nothing sent that is no request."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
import time

import pytest

from antrean.provider.errors import Unavailable
from antrean.provider.translate import Effect
from antrean.provider.transport import Http1Transport
from antrean.provider.wire import Wire
from raw_server import answer, read_request, serving, serving_in_thread

pytestmark = pytest.mark.both_loops


async def test_a_packed_answer_is_unpacked_and_a_bomb_ends_the_call(transport: Http1Transport) -> None:
    bodies = [b'{"statusCode":"00"}', b'{"statusCode":"' + 100 * 2**20 * b"0" + b'"}']

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for body in bodies:
            await reader.readuntil(b"{}")
            writer.write(answer(gzip.compress(body), "Content-Encoding: gzip"))

    async with serving(handler) as url:
        wire = Wire(transport, 5)
        assert await wire.ask("POST", url, Effect.FREE, json={}) == {"statusCode": "00"}
        with pytest.raises(Unavailable, match="too large"):
            await wire.ask("POST", url, Effect.FREE, json={})


async def test_an_answer_that_is_packed_twice_is_none(transport: Http1Transport) -> None:
    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        packed = gzip.compress(gzip.compress(b'{"statusCode":"00"}'))
        writer.write(answer(packed, "Content-Encoding: gzip, gzip"))

    async with serving(handler) as url:
        with pytest.raises(Unavailable):
            await Wire(transport, 5).ask("POST", url, Effect.FREE, json={})


@pytest.mark.parametrize("stands_in", ["a task", "a reader"])
async def test_an_answer_that_came_in_time_counts_though_the_loop_stood_still(
    transport: Http1Transport, stands_in: str
) -> None:
    """The timer and the answer are found in the same turn of the loop, in either order."""
    asked = threading.Event()

    def handle(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer(b'{"statusCode":"00"}'))
        read_request(connection)
        asked.set()
        time.sleep(0.1)
        connection.sendall(answer(b'{"statusCode":"00"}'))
        connection.recv(1)

    with serving_in_thread(handle) as url:
        # The connection is made beforehand: for that a call has a quarter of its time, which a busy machine may take.
        await Wire(transport, 20).ask("POST", url, Effect.FREE, json={})
        call = asyncio.create_task(Wire(transport, 2).ask("POST", url, Effect.STAMPS, json={}))
        async with asyncio.timeout(5):
            while not asked.is_set():
                await asyncio.sleep(0.001)
        if stands_in == "a task":
            time.sleep(2.2)  # blocks the loop on purpose
        else:
            loop, (ours, theirs) = asyncio.get_running_loop(), socket.socketpair()
            with ours, theirs:

                def stand() -> None:
                    loop.remove_reader(ours)
                    time.sleep(2.2)

                loop.add_reader(ours, stand)
                theirs.send(b"x")
                await asyncio.sleep(0.01)
        assert await call == {"statusCode": "00"}


@pytest.mark.parametrize("token", ["two\r\nX-Other: lines", "null\0", "end "], ids=["lines", "null", "blank"])
async def test_a_token_that_is_no_header_is_not_sent_nor_told(transport: Http1Transport, token: str) -> None:
    received = []

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await reader.readuntil(b"{}"))
        writer.write(answer(b'{"statusCode":"00"}'))

    async with serving(handler) as url:
        wire = Wire(transport, 2)
        for _ in range(6):  # more than there are places
            with pytest.raises(Unavailable) as raised:
                await wire.ask("POST", url, Effect.SPENDS, token=token, json={})
            assert not raised.value.sent
            assert token not in str(raised.value)
    assert received == []


async def test_a_name_in_the_address_is_not_sent(transport: Http1Transport) -> None:
    received = b""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal received
        received = await reader.readuntil(b"{}")
        writer.write(answer(b'{"statusCode":"00"}'))

    async with serving(handler) as url:
        address = url.replace("localhost", "someone:secret@localhost")
        await Wire(transport, 2).ask("POST", address, Effect.SPENDS, token="t", json={})
    assert b"Bearer t" in received
    assert b"someone" not in received
