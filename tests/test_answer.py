"""An answer that is written in one piece is the one that aiohttp's own way of writing gives."""

from __future__ import annotations

import asyncio
import email.utils
import time
from collections.abc import AsyncIterator

import orjson
import pytest
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_writer import HttpVersion, StreamWriter
from aiohttp.test_utils import make_mocked_request
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.answer import JOINED_MAX, Answer
from antrean.gateway.app import ROUTES
from antrean.gateway.headers import API_HEADERS
from antrean.gateway.ratelimit import Allowance
from gateway_support import OFFICE, Gateway, purchase, running_gateway

PATIENCE_S = 10
#: Which differ from answer to answer, and which tells how the connection goes on.
OWN = {"date", "x-request-id", "ratelimit-remaining", "ratelimit-reset", "connection"}


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def _asked(gateway: Gateway, first_line: str, *more: str) -> tuple[str, dict[str, str], bytes]:
    """Status line, headers by name, and the body, of a connection of its own."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.client.port)
    key = gateway.keys["terminal", "MDN-01"]
    lines = (first_line, "Host: x", f"Authorization: Bearer {key}", *more, "", "")
    async with asyncio.timeout(PATIENCE_S):
        writer.write("\r\n".join(lines).encode())
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *fields = head.removesuffix("\r\n\r\n").split("\r\n")
        names = [field.partition(": ")[0].lower() for field in fields]
        assert len(names) == len(set(names))
        headers = dict(zip(names, (field.partition(": ")[2] for field in fields), strict=True))
        if first_line.startswith("HEAD"):
            writer.write_eof()
            body = await reader.read()
        else:
            body = await reader.readexactly(int(headers["content-length"]))
        writer.close()
    return status, headers, body


async def test_it_is_the_same_whichever_way_it_goes(gateway: Gateway) -> None:
    order = await gateway.order()
    path = f"/v1/orders/{order['id']}"
    status, headers, body = await _asked(gateway, f"GET {path} HTTP/1.1")
    assert (status, "connection" in headers) == ("HTTP/1.1 200 OK", False)
    assert headers.items() >= {name.lower(): value for name, value in API_HEADERS.items()}.items()
    assert (headers["cache-control"], headers["content-type"]) == ("no-store", "application/json")
    assert abs(email.utils.parsedate_to_datetime(headers["date"]).timestamp() - time.time()) < PATIENCE_S
    for version, method, said, connection in (
        ("1.1", "GET", "Connection: close", "close"),
        ("1.0", "GET", "X-Nothing: 1", None),
        ("1.0", "GET", "Connection: keep-alive", "keep-alive"),
        ("1.1", "HEAD", "X-Nothing: 1", None),
    ):
        other = await _asked(gateway, f"{method} {path} HTTP/{version}", said)
        assert other[0] == f"HTTP/{version} 200 OK"
        assert {n: v for n, v in other[1].items() if n not in OWN} == {
            n: v for n, v in headers.items() if n not in OWN
        }
        assert other[1].keys() - {"connection"} == headers.keys()
        assert other[1].get("connection") == connection
        assert other[2] == (b"" if method == "HEAD" else body)


async def test_requests_sent_at_once_are_answered_in_order(gateway: Gateway) -> None:
    order = await gateway.order()
    key = gateway.keys["terminal", "MDN-01"]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.client.port)
    for number in range(5):
        writer.write(
            f"GET /v1/orders/{order['id']} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            f"X-Request-ID: n{number}\r\n\r\n".encode()
        )
    async with asyncio.timeout(PATIENCE_S):
        for number in range(5):
            head = await reader.readuntil(b"\r\n\r\n")
            assert f"\r\nX-Request-ID: n{number}\r\n".encode() in head
            length = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
            assert order["id"].encode() in await reader.readexactly(length)
    writer.close()


class _Transport(asyncio.WriteTransport):
    """Keeps what is written, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[object] = []

    def is_closing(self) -> bool:
        return False

    def write(self, data: object) -> None:
        self.written.append(data)


async def _written(body: bytes, version: HttpVersion = HttpVersion11, closing: bool = False) -> list[object]:
    loop = asyncio.get_running_loop()
    protocol, transport = BaseProtocol(loop), _Transport()
    protocol.transport = transport  # type: ignore[assignment] # it is written to, and no more
    writer = StreamWriter(protocol, loop)
    request = make_mocked_request("GET", "/", version=version, closing=closing, writer=writer)
    answer: web.StreamResponse = Answer(body, 200, {"Content-Type": "application/json"})
    await answer.prepare(request)
    await answer.write_eof()
    return transport.written


@pytest.mark.parametrize(
    ("version", "closing"), [(HttpVersion11, False), (HttpVersion11, True), (HttpVersion10, True)]
)
async def test_head_and_body_leave_together_whichever_way_they_go(
    version: HttpVersion, closing: bool
) -> None:
    (written,) = await _written(b'{"a": 1}', version, closing)
    assert isinstance(written, bytes)
    assert written.startswith(b"HTTP/1.")
    assert written.endswith(b'\r\n\r\n{"a": 1}')


async def test_a_long_body_is_sent_without_a_copy_so_that_slow_readers_of_one_list_share_it() -> None:
    body = bytes(JOINED_MAX + 1)
    head, sent = await _written(body)
    assert isinstance(head, bytes)
    assert head.endswith(f"\r\nContent-Length: {len(body)}\r\n\r\n".encode())
    assert sent is body


def test_what_is_left_to_a_key_is_told_alike_whichever_way_it_goes() -> None:
    allowance = Allowance(allowed=True, limit=50, remaining=7, reset_s=3, retry_s=2)
    told = "".join(f"{name}: {value}\r\n" for name, value in allowance.headers.items())
    assert allowance.header_lines == told


@pytest.mark.parametrize("role", ["terminal", "ops"])
async def test_no_answer_to_head_has_a_body(gateway: Gateway, role: str) -> None:
    order = await gateway.order()
    key = gateway.keys[role, OFFICE]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.client.port)
    paths = [route.path for route in ROUTES if route.method == "GET" and not route.path.endswith("/events")]
    async with asyncio.timeout(PATIENCE_S):
        for number, form in enumerate(paths):
            path = form.replace("{id}", order["id"]).replace("{token}", order["ticket"]["token"])
            for first_line in (f"HEAD {path}", "GET /healthz"):
                writer.write(
                    f"{first_line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                    f"X-Request-ID: n{number}\r\n\r\n".encode()
                )
            await reader.readuntil(b"\r\n\r\n")
            following = await reader.readuntil(b"\r\n\r\n")
            assert following.startswith(b"HTTP/1.1 200 OK\r\n"), path
            assert await reader.readexactly(18) == b'{"status":"alive"}', path
    writer.close()


async def test_an_expectation_that_is_not_known_is_passed_over(gateway: Gateway) -> None:
    order = await gateway.order()
    for said in ("1271010101900001", "100-continue, other"):
        status, _, body = await _asked(gateway, f"GET /v1/orders/{order['id']} HTTP/1.1", f"Expect: {said}")
        assert (status, order["id"].encode() in body) == ("HTTP/1.1 200 OK", True)


async def test_who_waits_to_be_asked_for_the_body_is_asked_once(gateway: Gateway) -> None:
    key = gateway.keys["terminal", OFFICE]
    body = orjson.dumps(purchase())
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.client.port)
    writer.write(
        f"POST /v1/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nIdempotency-Key: a\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nExpect: 100-Continue\r\n\r\n".encode()
    )
    async with asyncio.timeout(PATIENCE_S):
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(body)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 Accepted\r\n")
    writer.close()


@pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b", "a\nb", "a\0b", "\x7f"])
async def test_nothing_hides_in_a_header(value: str) -> None:
    with pytest.raises(ValueError, match="header X-Own"):
        await Answer(b"{}", 200, {"X-Own": value}).prepare(make_mocked_request("GET", "/"))


async def test_what_may_stand_in_a_header_does() -> None:
    request = make_mocked_request("GET", "/")
    answer = Answer(b"{}", 200, {"X-Own": "a\tb ü"})
    await answer.prepare(request)
    (written,) = request.writer.write_eof.call_args.args  # type: ignore[attr-defined] # it is a mock
    assert "\r\nX-Own: a\tb ü\r\n" in written.decode()
    assert (answer.prepared, answer.keep_alive) == (True, True)
