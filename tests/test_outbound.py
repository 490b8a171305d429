"""A webhook goes where it may and nowhere else, whatever the name resolves to; no answer can hurt the sender."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from antrean.orders.addresses import is_public
from antrean.workers import outbound
from antrean.workers.outbound import RESOLVERS_EACH_MAX, RESOLVERS_MAX, Outbound, Undelivered
from antrean.workers.webhooks import PER_ENDPOINT_MAX
from receiver import Receiver, receiving

HEADERS = {"content-type": "application/json"}


class Names:
    """A resolver that says what the test wants, and counts."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, host: str, port: int, office: str) -> list[str]:
        self.asked += 1
        return self.answers[min(self.asked, len(self.answers)) - 1]


@pytest.fixture(name="receiver")
async def _receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


async def posted(
    receiver: Receiver, names: Names, *, allow_private: bool, host: str = "hooks.example.com"
) -> int:
    """Status of a POST to that name, at the receiver's port."""
    port = receiver.url.rpartition(":")[2]
    sender = Outbound(allow_private=allow_private, resolver=names)
    try:
        return (await sender.post(f"http://{host}:{port}/hook?a=b", HEADERS, b"{}", "MDN-01")).status
    finally:
        await sender.aclose()


async def test_the_connection_goes_to_the_address_that_was_looked_up_and_the_name_stays_in_the_request(
    receiver: Receiver,
) -> None:
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    assert await posted(receiver, names, allow_private=True) == 204
    assert names.asked == 1
    assert receiver.received[0].headers["host"].startswith("hooks.example.com:")
    assert receiver.received[0].path == "/hook?a=b"


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["127.0.0.1", "8.8.8.8"],
        ["10.0.0.1"],
        ["172.31.255.255"],
        ["192.168.0.1"],
        ["169.254.169.254"],
        ["100.64.0.1"],
        ["100.100.100.200"],
        ["168.63.129.16"],
        ["0.0.0.0"],
        ["224.0.0.1"],
        ["255.255.255.255"],
        ["::1"],
        ["::"],
        ["fe80::1%eth0"],
        ["fc00::1"],
        ["fd00:ec2::254"],
        ["::ffff:127.0.0.1"],
        ["::ffff:10.0.0.1"],
        ["64:ff9b::a00:1"],
        ["2002:7f00:1::"],
        ["ff02::1"],
    ],
)
async def test_a_name_that_leads_inside_is_not_called(receiver: Receiver, addresses: list[str]) -> None:
    with pytest.raises(Undelivered, match="private"):
        await posted(receiver, Names(addresses), allow_private=False)
    assert receiver.received == []


async def test_a_name_that_leads_inside_only_after_it_was_checked_reaches_nothing_inside(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "CONNECT_TIMEOUT_S", 0.2)
    # 192.0.2.1 is nobody's (RFC 5737): here it stands for a public address.
    monkeypatch.setattr(outbound, "is_public", lambda a: str(a) == "192.0.2.1" or is_public(a))
    names = Names(["192.0.2.1"], ["127.0.0.1"])
    with pytest.raises(Undelivered):
        await posted(receiver, names, allow_private=False)
    assert names.asked == 1
    assert receiver.received == []
    with pytest.raises(Undelivered, match="private"):
        await posted(receiver, names, allow_private=False)
    assert receiver.received == []


async def test_an_address_in_another_spelling_is_what_it_is(receiver: Receiver) -> None:
    port = receiver.url.rpartition(":")[2]
    sender = Outbound(allow_private=False)
    for host in ("127.0.0.1", "127.1", "2130706433", "0x7f.1", "localhost", "[::1]"):
        with pytest.raises(Undelivered):
            await sender.post(f"http://{host}:{port}/", HEADERS, b"{}", "MDN-01")
    await sender.aclose()
    assert receiver.received == []


async def test_a_redirect_is_an_answer_and_is_not_followed(receiver: Receiver) -> None:
    receiver.answers = [web.Response(status=307, headers={"Location": "/elsewhere"})]
    assert await posted(receiver, Names(["127.0.0.1"]), allow_private=True) == 307
    assert len(receiver.received) == 1


async def test_the_next_address_is_tried_where_one_takes_no_connection(receiver: Receiver) -> None:
    assert await posted(receiver, Names(["127.0.0.9", "127.0.0.1"]), allow_private=True) == 204


async def test_a_name_without_an_address_is_told(receiver: Receiver) -> None:
    async def none(host: str, port: int, office: str) -> list[str]:
        raise OSError("no such name")

    for resolver in (none, Names([])):
        sender = Outbound(allow_private=True, resolver=resolver)
        with pytest.raises(Undelivered, match="no address"):
            await sender.post("http://nowhere.example.com/", HEADERS, b"{}", "MDN-01")
        await sender.aclose()


async def test_what_is_no_url_is_told() -> None:
    sender = Outbound(allow_private=True)
    for url in ("http://127.0.0.1:99999/", "http://[::1/", "gopher://127.0.0.1/", "https://"):
        with pytest.raises(Undelivered):
            await sender.post(url, HEADERS, b"{}", "MDN-01")
    await sender.aclose()


async def test_an_endless_answer_is_read_to_a_bound(receiver: Receiver) -> None:
    sent = 0

    class Endless(web.StreamResponse):
        async def write_eof(self, data: bytes = b"") -> None:
            nonlocal sent
            while True:
                await self.write(b"x" * 65536)
                sent += 65536

    receiver.answers = [Endless()]
    async with asyncio.timeout(5):
        assert await posted(receiver, Names(["127.0.0.1"]), allow_private=True) == 200
    assert sent < 64 * 1024 * 1024


async def test_a_status_counts_though_the_body_behind_it_never_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbound, "ANSWER_READ_S", 0.2)
    closed = asyncio.Event()

    async def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nthe rest ")
        await reader.read()
        closed.set()
        writer.close()

    server = await asyncio.start_server(begin, "127.0.0.1", 0)
    async with server:
        sender = Outbound(allow_private=True)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with asyncio.timeout(5):
            assert (await sender.post(url, HEADERS, b"", "MDN-01")).status == 200
            await closed.wait()
        await sender.aclose()


def test_a_pause_is_asked_for_in_seconds_or_by_a_date() -> None:
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=10)
    told = outbound._retry_after_s(format_datetime(at, usegmt=True))
    assert told is not None
    assert 598 < told <= 600
    assert outbound._retry_after_s("120") == 120
    assert outbound._retry_after_s("9" * 5000) == 999_999_999
    assert outbound._retry_after_s("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    for text in (
        "",
        "soon",
        "-5",
        "1.5",
        "Wed, 99 Oct 2026 07:28:00 GMT",
        f"Wed, 21 Oct 2026 {'9' * 20}:28:00 GMT",
    ):
        assert outbound._retry_after_s(text) is None


async def test_who_does_not_answer_in_time_is_given_up_on(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "TOTAL_TIMEOUT_S", 0.3)
    release = asyncio.Event()

    async def wait() -> None:
        await release.wait()

    receiver.on_receive = wait
    with pytest.raises(Undelivered, match="in time"):
        await posted(receiver, Names(["127.0.0.1"]), allow_private=True)
    release.set()


async def test_who_closes_without_an_answer_is_told_so() -> None:
    async def close(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0)
    async with server:
        sender = Outbound(allow_private=True)
        with pytest.raises(Undelivered, match="broke"):
            await sender.post(
                f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", HEADERS, b"{}", "MDN-01"
            )
        await sender.aclose()


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context for that name, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "server.pem"
    file.write_bytes(secret + pem)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cadata=pem.decode())


async def test_tls_asks_for_the_name_and_refuses_another_ones_certificate(tmp_path: Path) -> None:
    server, client = certificate(tmp_path, "hooks.example.com")
    asked: list[str | None] = []
    server.sni_callback = lambda _socket, name, _context: asked.append(name)
    async with receiving(server) as receiver:
        port = receiver.url.rpartition(":")[2]
        sender = Outbound(allow_private=True, resolver=Names(["127.0.0.1"]), verify=client)
        answer = await sender.post(f"https://hooks.example.com:{port}/", HEADERS, b"{}", "MDN-01")
        assert (answer.status, asked) == (204, ["hooks.example.com"])
        # The dot that may stand at a name's end is in no certificate, and is not to be asked for.
        assert (
            await sender.post(f"https://hooks.example.com.:{port}/", HEADERS, b"{}", "MDN-01")
        ).status == 204
        assert asked == ["hooks.example.com"] * 2
        with pytest.raises(Undelivered, match="certificate"):
            await sender.post(f"https://other.example.com:{port}/", HEADERS, b"{}", "MDN-01")
        await sender.aclose()
    assert len(receiver.received) == 2


def test_addresses_that_carry_a_public_one_are_public() -> None:
    for text in ("8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert is_public(ipaddress.ip_address(text))


async def test_an_office_whose_names_are_answered_slowly_delays_no_other_s(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, here = threading.Event(), urlsplit(receiver.url)

    def look_up(host: str, *_: Any, **__: Any) -> list[Any]:
        if host.endswith("slow.example.com"):
            let_go.wait(30)
            raise socket.gaierror("no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    sender = Outbound(allow_private=True)
    slow = [
        asyncio.create_task(sender.post(f"https://h{n}.slow.example.com/", HEADERS, b"{}", "SLOW"))
        for n in range(RESOLVERS_MAX + 1)
    ]
    try:
        target = f"http://hooks.example.com:{here.port}/"
        assert (await sender.post(target, HEADERS, b"{}", "MDN-01")).status == 204
        # Those beyond the office's share do not wait for long, and are not told that a name has no address.
        done, _ = await asyncio.wait(slow, return_when=asyncio.FIRST_COMPLETED)
        assert [(type(task.exception()), "slowly" in str(task.exception())) for task in done] == [
            (Undelivered, True)
        ] * len(done)
    finally:
        let_go.set()
        await asyncio.gather(*slow, return_exceptions=True)
    # Its threads are free again, and so is the office.
    assert (await sender.post(target, HEADERS, b"{}", "SLOW")).status == 204
    await sender.aclose()


async def test_many_notices_at_once_to_several_names_of_one_office_all_find_them(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = under_way = 0

    def look_up(*_: Any, **__: Any) -> list[Any]:
        nonlocal most, under_way
        under_way += 1
        most = max(most, under_way)
        threading.Event().wait(0.01)  # as long as a name server near by takes
        under_way -= 1
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    sender, port = Outbound(allow_private=True), urlsplit(receiver.url).port
    targets = [f"http://h{n}.example.com:{port}/" for n in range(3 * RESOLVERS_EACH_MAX)]
    try:
        answers = await asyncio.gather(*(sender.post(to, HEADERS, b"{}", "MDN-01") for to in targets * 2))
        assert [answer.status for answer in answers] == [204] * len(answers)
        assert most <= RESOLVERS_EACH_MAX
    finally:
        await sender.aclose()


async def test_many_notices_at_once_to_one_name_look_it_up_together(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go, asked = threading.Event(), 0

    def look_up(*_: Any, **__: Any) -> list[Any]:
        nonlocal asked
        asked += 1
        let_go.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert PER_ENDPOINT_MAX > RESOLVERS_EACH_MAX
    sender = Outbound(allow_private=True)
    target = f"http://hooks.example.com:{urlsplit(receiver.url).port}/"
    posts = [
        asyncio.create_task(sender.post(target, HEADERS, b"{}", "MDN-01")) for _ in range(PER_ENDPOINT_MAX)
    ]
    await asyncio.sleep(0)
    posts.pop().cancel()  # and whoever ends takes it from nobody
    await asyncio.sleep(0)
    let_go.set()
    try:
        assert [answer.status for answer in await asyncio.gather(*posts)] == [204] * len(posts)
        assert asked == 1
        assert (await sender.post(target, HEADERS, b"{}", "MDN-01")).status == 204
        assert asked == 2
    finally:
        await sender.aclose()
