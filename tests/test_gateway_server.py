"""The gateway on its own socket: slow clients are cut off, a crowd of idle ones harms nobody, the end is orderly."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import orjson
import psutil
import pytest
from aiohttp import ClientError
from redis.asyncio import Redis
from structlog.testing import capture_logs

from antrean.config.settings import Settings
from antrean.gateway import exchange, server
from antrean.orders import keys
from antrean.orders.documents import PART_BYTES, DocumentStore
from gateway_process import running_gateway_process
from gateway_support import Gateway, affix, purchase, running_gateway

PATIENCE_S = 10


@dataclass
class Listening:
    """A gateway that listens, and how to stop it."""

    gateway: Gateway
    port: int
    stop: asyncio.Event
    task: asyncio.Task[None]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    def get(self, path: str) -> bytes:
        key = self.gateway.keys["terminal", "MDN-01"]
        return f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()


@pytest.fixture(name="listening")
async def _listening(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Listening]:
    monkeypatch.setattr(server, "IDLE_S", 0.3)
    monkeypatch.setattr(server, "CONNECTIONS_MAX", 50)
    monkeypatch.setattr(exchange, "BODY_TIMEOUT_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    async with running_gateway(redis, settings.model_copy(update={"http_port": port})) as gateway:
        stop, ready = asyncio.Event(), asyncio.Event()
        task = asyncio.create_task(server.serve(gateway.parts, stop, ready.set))
        await asyncio.wait_for(ready.wait(), PATIENCE_S)
        yield Listening(gateway, port, stop, task)
        stop.set()
        await asyncio.wait_for(task, PATIENCE_S)


@pytest.mark.parametrize(
    ("soft", "hard", "room"),
    [
        (1024, 1_048_576, 8192),
        (-1, -1, 8192),
        (256, -1, 8192),
        (4096, 4096, 3840),
        (256, 1024, 768),
        (64, 64, 16),
    ],
)
def test_no_more_connections_are_held_than_there_are_files_for(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, room: int
) -> None:
    limits = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    with capture_logs() as lines:
        assert server._room() == room
    assert limits[-1][0] in (-1, min(hard if hard > 0 else 9216, 9216))
    assert [line["connections_max"] for line in lines] == ([room] if room < 8192 else [])


async def test_a_client_that_leaves_its_stream_is_no_error_of_ours(listening: Listening) -> None:
    order = await listening.gateway.order()
    with capture_logs() as lines:
        reader, writer = await listening.connect()
        writer.write(listening.get(f"/v1/orders/{order['id']}/events"))
        await reader.readuntil(b"retry: ")
        writer.transport.abort()
        hub = listening.gateway.parts.hub
        while hub.watches:
            # Each change makes it write.
            hub.wake_all()
            await listening.gateway.parts.redis.hincrby(keys.ORDER + order["id"], "ver", 1)
            await asyncio.sleep(0.01)
    assert [line for line in lines if line["log_level"] == "error"] == []


@pytest.mark.parametrize("sent", [b"", b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nX-Slow: "])
async def test_a_connection_without_a_whole_request_is_closed(listening: Listening, sent: bytes) -> None:
    reader, writer = await listening.connect()
    writer.write(sent)
    assert await asyncio.wait_for(reader.read(), PATIENCE_S) == b""
    writer.close()


async def test_a_header_that_drips_is_closed_all_the_same(listening: Listening) -> None:
    reader, writer = await listening.connect()
    writer.write(b"GET / HTTP/1.1\r\nX-Slow: ")
    end = asyncio.create_task(reader.read())
    async with asyncio.timeout(PATIENCE_S):
        while not end.done():
            writer.write(b"a")
            await asyncio.sleep(0.01)
    await asyncio.gather(end, return_exceptions=True)
    writer.close()


async def test_a_body_that_does_not_arrive_is_answered_with_408(listening: Listening) -> None:
    reader, writer = await listening.connect()
    head = listening.get("/v1/orders").replace(b"GET", b"POST", 1).removesuffix(b"\r\n")
    writer.write(
        head + b"Idempotency-Key: k\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    )
    assert b" 408 " in await asyncio.wait_for(reader.readline(), PATIENCE_S)
    writer.close()


@pytest.mark.both_loops
async def test_one_connection_too_many_is_closed_when_its_request_is_there_and_not_before(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that still sends to a closed connection is reset, and many lose the answer then."""
    monkeypatch.setattr(server, "REFUSAL_S", 60)
    crowd = [await listening.connect() for _ in range(50)]
    reader, writer = await listening.connect()
    assert (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), PATIENCE_S)).startswith(b"HTTP/1.1 503")
    end = asyncio.create_task(reader.read())
    done, _ = await asyncio.wait({end}, timeout=0.2)
    assert not done
    writer.write(listening.get("/v1/orders"))
    assert await asyncio.wait_for(end, PATIENCE_S) == b""
    for _, other in [*crowd, (reader, writer)]:
        other.close()


@pytest.mark.both_loops
async def test_one_connection_too_many_is_told_so_and_others_go_on(listening: Listening) -> None:
    reader, writer = await listening.connect()
    with capture_logs() as lines:
        crowd = [await listening.connect() for _ in range(60)]
        answers = [await asyncio.wait_for(r.read(), PATIENCE_S) for r, _ in crowd]
    assert any(a.startswith(b"HTTP/1.1 503") for a in answers)
    assert [line for line in lines if line["log_level"] == "error"] == []
    for _, other in [*crowd, (reader, writer)]:
        other.close()
    reader, writer = await listening.connect()
    writer.write(listening.get("/v1/orders"))
    assert b" 200 " in await asyncio.wait_for(reader.readline(), PATIENCE_S)
    writer.close()


async def test_headers_and_lines_have_bounds(listening: Listening) -> None:
    for request in (
        b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: a\r\n" * 500 + b"\r\n",
        b"\x16\x03\x01\x02\x00",
    ):
        reader, writer = await listening.connect()
        writer.write(request)
        assert b" 400 " in await asyncio.wait_for(reader.readline(), PATIENCE_S)
        writer.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"GET /SECRET" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET\x00\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer SECRET" + b"a" * 9000 + b"\r\n\r\n",
        b"SECRET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: SECRET\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Encoding: br\r\nTransfer-Encoding: SECRET\r\n\r\n",
    ],
    ids=["long line", "bad header", "long header", "no http", "bad length", "bad coding"],
)
async def test_what_is_no_http_is_answered_as_a_problem_and_repeated_nowhere(
    listening: Listening,
    request_bytes: bytes,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    reader, writer = await listening.connect()
    writer.write(request_bytes)
    whole = await asyncio.wait_for(reader.read(), PATIENCE_S)
    writer.close()
    head, _, body = whole.partition(b"\r\n\r\n")
    assert b" 400 " in head.partition(b"\r\n")[0]
    assert b"content-type: application/problem+json" in head.lower()
    assert b"x-content-type-options: nosniff" in head.lower()
    assert orjson.loads(body)["type"] == "/problems/bad-request"
    assert b"SECRET" not in whole
    told = capsys.readouterr()
    assert "SECRET" not in caplog.text + told.out + told.err


async def test_two_thousand_idle_and_slow_connections_keep_nobody_from_ordering(
    redis: Redis, settings: Settings
) -> None:
    async with running_gateway_process(redis, settings) as gateway, contextlib.AsyncExitStack() as crowd:

        async def connect(first: bytes) -> asyncio.StreamWriter:
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            crowd.callback(writer.close)
            writer.write(first)
            return writer

        begun = b"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + gateway.key.encode()
        body = (
            begun
            + b"\r\nContent-Type: application/json\r\nIdempotency-Key: k\r\nContent-Length: 500\r\n\r\n{"
        )
        idle = [w for _ in range(16) for w in await asyncio.gather(*(connect(b"") for _ in range(100)))]
        slow = [await connect(b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ") for _ in range(200)]
        slow += [await connect(body) for _ in range(200)]

        async def drip() -> None:
            while True:
                for writer in slow:
                    writer.write(b"a")
                await asyncio.sleep(0.2)

        dripping = asyncio.create_task(drip())
        async with asyncio.timeout(2 * PATIENCE_S):
            for number in range(100):
                headers = {"Idempotency-Key": f"order-{number}"}
                async with gateway.client.post("/v1/orders", json=purchase(), headers=headers) as answer:
                    assert answer.status == 202
        assert not dripping.done()
        dripping.cancel()
        gateway.assert_unharmed()
        peers = psutil.Process(gateway.process.pid).net_connections("tcp")
        assert sum(peer.status == psutil.CONN_ESTABLISHED for peer in peers) >= 2000
        assert len(idle) + len(slow) == 2000


async def test_stopping_answers_those_who_wait(listening: Listening) -> None:
    order = await listening.gateway.order()
    reader, writer = await listening.connect()
    writer.write(listening.get(f"/v1/orders/{order['id']}?wait=60"))
    while not listening.gateway.parts.hub.watches:
        await asyncio.sleep(0.005)
    listening.stop.set()
    assert b" 200 " in await asyncio.wait_for(reader.readline(), PATIENCE_S)
    await asyncio.wait_for(listening.task, PATIENCE_S)
    writer.close()
    with pytest.raises(OSError, match="onnect"):
        await listening.connect()


@pytest.mark.both_loops
async def test_who_still_sends_when_it_stops_is_answered_and_does_not_hold_it_up(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "BODY_TIMEOUT_S", 60)
    body = orjson.dumps(purchase())
    head = listening.get("/v1/orders").replace(b"GET", b"POST", 1).removesuffix(b"\r\n")
    reader, writer = await listening.connect()
    writer.write(
        head + b"Idempotency-Key: k\r\nContent-Type: application/json\r\nExpect: 100-continue\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body)
    )
    with contextlib.closing(writer):
        async with asyncio.timeout(PATIENCE_S):
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            listening.stop.set()
            while not listening.gateway.parts.hub.closing:
                await asyncio.sleep(0.005)
            for part in (body[:100], body[100:]):
                writer.write(part)
                await asyncio.sleep(0.005)
            # It takes no more orders, and says so.
            answer = await reader.read()
            assert answer.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"\r\nRetry-After: 5\r\n" in answer
            await listening.task


async def _completed_with(gateway: Gateway, stamped: bytes) -> str:
    """The path of the stamped PDF of an order that is completed with it."""
    document = await (await gateway.upload()).json()
    order = await gateway.order(body=affix(document["id"]))
    await gateway.complete_affix(order["id"])
    await gateway.parts.documents.put_stamped(order["id"], stamped)
    return f"/v1/orders/{order['id']}/document"


async def test_a_reader_that_does_not_read_a_document_keeps_little_of_it_in_memory(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, asked = listening.gateway, 0
    stamped = bytes(16 * 1024 * 1024)
    path = await _completed_with(gateway, stamped)
    part = DocumentStore._part

    async def counted(store: DocumentStore, *args: Any) -> Any:
        nonlocal asked
        asked += 1
        return await part(store, *args)

    monkeypatch.setattr(DocumentStore, "_part", counted)
    with socket.socket() as idle:
        idle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        idle.connect(("127.0.0.1", listening.port))
        idle.sendall(listening.get(path))
        idle.setblocking(False)
        head = await asyncio.get_running_loop().sock_recv(idle, 1024)
        assert b"Content-Length: 16777216" in head
        answer = await gateway.call("GET", path)
        assert await answer.read() == stamped
    parts = len(stamped) // PART_BYTES
    assert parts < asked < 2 * parts


async def test_a_document_that_can_not_be_read_on_does_not_look_whole(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = listening.gateway
    path = await _completed_with(gateway, bytes(2 * PART_BYTES))
    part = DocumentStore._part

    async def once(store: DocumentStore, path: str, start: int, tag: str | None) -> Any:
        if start:
            raise OSError("the disk is away")
        return await part(store, path, start, tag)

    monkeypatch.setattr(DocumentStore, "_part", once)
    head = await gateway.call("HEAD", path)
    assert (head.status, head.headers["Content-Length"]) == (200, str(2 * PART_BYTES))
    with pytest.raises(ClientError):
        await (await gateway.call("GET", path)).read()
