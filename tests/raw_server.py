"""Servers that do with a connection what a test says, plain and over TLS, and the words they say."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from antrean.provider.transport import Http1Transport

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answer(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    """A whole answer with a length."""
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def post(url: str, content: bytes = b"{}", connect_s: float = 2, pool_s: float = 2) -> httpx.Request:
    """A request whose end a server knows by its `{}`."""
    timeout = httpx.Timeout(5, connect=connect_s, pool=pool_s)
    return httpx.Request("POST", url, content=content, extensions={"timeout": timeout.as_dict()})


async def send(transport: Http1Transport, request: httpx.Request) -> bytes:
    """The answer's body."""
    response = await transport.handle_async_request(request)
    try:
        return await response.aread()
    finally:
        await response.aclose()


@contextlib.asynccontextmanager
async def serving(handler: Handler, **options: Any) -> AsyncIterator[str]:
    """A server that does what `handler` does with each connection, then ends it."""

    async def connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, **options)
    scheme = "https" if options.get("ssl") else "http"
    try:
        yield f"{scheme}://localhost:{server.sockets[0].getsockname()[1]}/x"
    finally:
        server.close()


@contextlib.contextmanager
def serving_in_thread(
    handle: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None
) -> Iterator[str]:
    """A server whose connections go on while the test's loop stands still. Small buffers: what is sent stays there."""
    threads: list[threading.Thread] = []
    taken: list[socket.socket] = []  # copies: TLS takes the first ones over

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                taken.append(connection.dup())
                connection.settimeout(5)
                threads.append(threading.Thread(target=one, args=(connection,), daemon=True))
                threads[-1].start()

    def one(connection: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            if tls is not None:
                connection = tls.wrap_socket(connection, server_side=True)
            with connection:
                handle(connection)

    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        threading.Thread(target=serve, daemon=True).start()
        yield f"{'http' if tls is None else 'https'}://localhost:{listening.getsockname()[1]}/x"
        listening.shutdown(socket.SHUT_RDWR)
    for copy in taken:
        with copy, contextlib.suppress(OSError):
            copy.shutdown(socket.SHUT_RDWR)
    for each in threads:
        each.join(5)


def read_request(connection: socket.socket) -> bytes:
    """A whole one, as `post` makes them. Raises EOFError, OSError."""
    received = b""
    while not received.endswith(b"{}"):
        some = connection.recv(65536)
        if not some:
            raise EOFError
        received += some
    return received


def authority(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's side for `localhost`, and what a client has to trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.9"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "authority.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private = folder / "key.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, private)
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context, pem
