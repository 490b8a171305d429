"""A webhook receiver as an office would run one: a real HTTP server that checks signatures by itself."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer


@dataclass
class Received:
    """One request as it came."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Receiver:
    """Answers 204, or what `answers` says for the next requests; `on_receive` runs before it answers."""

    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[web.StreamResponse] = field(default_factory=list)
    always: int = 204
    on_receive: Callable[[], Awaitable[None]] | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(request.path_qs, headers, await request.read()))
        if self.on_receive is not None:
            await self.on_receive()
        return self.answers.pop(0) if self.answers else web.Response(status=self.always)

    def at(self, path: str) -> str:
        """A URL here."""
        return f"{self.url}{path}"


@asynccontextmanager
async def receiving(certificate: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """A receiver while the block runs."""
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", receiver.handle)
    async with TestServer(app) as server:
        if certificate is not None:
            await server.close()
            server = TestServer(app, scheme="https")
            await server.start_server(ssl=certificate)
        receiver.url = str(server.make_url("")).rstrip("/")
        try:
            yield receiver
        finally:
            await server.close()


def verifies(request: Received, secret: str) -> bool:
    """Standard Webhooks, from its text: HMAC-SHA256 over `id.timestamp.body`, any of the signatures will do."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{request.id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = [part.split(",", 1) for part in request.headers["webhook-signature"].split(" ")]
    return any(version == "v1" and hmac.compare_digest(text, expected) for version, text in given)
