"""Parts for the provider's tests: requests, tokens, pictures, a scripted upstream, breakers with their own clock."""

from __future__ import annotations

import base64
import itertools
import json
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import respx
from redis.asyncio import Redis

from antrean.provider.breaker import NotAdmitted, Permit, SharedBreaker
from antrean.provider.errors import Unavailable
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.provider.peruri import PeruriAdapter, PeruriConfig
from antrean.provider.policy import BreakerRules, BreakerState
from antrean.provider.protocol import GenerateRequest, StampRequest
from antrean.provider.token import SharedToken

PREFIX = "test:"
NIK = "1271010101900001"
NAME = "Siti Rahayu Siregar"
SN = "389UY343AP0GE9A40000A9"
BACKEND, STAMPV2, ADAPTER = "http://backend.test", "http://stampv2.test", "http://adapter.test:7777"
FILEUPLOAD, STAMPSERVICE = "http://fileupload.test", "http://stampservice.test"
PDF = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"


def png(side: int = 2) -> bytes:
    """A whole, tiny PNG."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    rows = b"".join(b"\0" + b"\0" * side for _ in range(side))
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def png_text() -> str:
    """The same in base64."""
    return base64.b64encode(png()).decode()


def jwt(**claims: Any) -> str:
    """A token whose payload can be read."""

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    return f"{part({'alg': 'HS256'})}.{part(claims)}.c2lnbmF0dXJl"


def generate_request(order_ref: str = "ord-1") -> GenerateRequest:
    """One SN to buy."""
    return GenerateRequest(order_ref, "4b", "SK-1", "2024-09-04", "KTP", NIK, NAME)


def stamp_request(
    sn: str = SN, *, pdf: bytes = PDF, retry: bool = False, ref: str = "ord-1-7"
) -> StampRequest:
    """One SN to put on one page."""
    return StampRequest("ord-1", ref, sn, png(), pdf, 1, 400.0, 60.0, 490.0, 150.0, retry)


class ScriptedUpstream:
    """Answers by method and path from a script, and keeps what was asked: respx, with a login already in it."""

    def __init__(self) -> None:
        self.router = respx.MockRouter(assert_all_called=False)
        self.on("POST", "/api/users/login", {"statusCode": "00", "token": jwt(id="A77", iat=0, exp=86400)})

    def on(self, method: str, path: str, *replies: Any, status: int = 200) -> None:
        """Script a call; the last reply stands for all further ones. A dict is a JSON answer."""
        answers = [
            httpx.Response(status, json=reply) if isinstance(reply, dict) else reply for reply in replies
        ]
        route = self.router.route(method=method, path=path)
        route.side_effect = itertools.chain(answers, itertools.repeat(answers[-1]))

    @property
    def asked(self) -> list[httpx.Request]:
        """All requests, oldest first."""
        return [call.request for call in self.router.calls]

    def count(self, path: str) -> int:
        """How often a path was asked."""
        return sum(request.url.path == path for request in self.asked)

    @property
    def transport(self) -> httpx.MockTransport:
        """What an adapter is to be given."""
        return httpx.MockTransport(self.router.async_handler)


def scripted_adapter(
    redis: Redis, upstream: ScriptedUpstream, *, shared_dir: Path | None = None, **config: Any
) -> PeruriAdapter:
    """The Peruri adapter on a scripted upstream."""
    urls: dict[str, Any] = {"backend_url": BACKEND, "stampv2_url": STAMPV2}
    if shared_dir is not None:
        urls.update(adapter_url=ADAPTER, shared_dir=shared_dir)
    full = PeruriConfig(user="pos-medan", password="rahasia-sekali", **{**urls, **config})
    return PeruriAdapter(full, shared_token(redis, full), upstream.transport)


def shared_token(redis: Redis, config: PeruriConfig, wait_s: float = 5.0) -> SharedToken:
    """The account's token on a test's Redis."""
    return SharedToken(redis, PREFIX, config.account, wait_s=wait_s, rng=random.Random(1))


class Clock:
    """Milliseconds that pass when told to."""

    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms

    def pass_s(self, seconds: float) -> None:
        """Let time pass."""
        self.ms += int(seconds * 1000)


def make_breaker(
    redis: Redis,
    clock: Clock | None = None,
    *,
    name: str = "provider",
    limits: LimitRules | None = None,
    **rules: Any,
) -> SharedBreaker:
    """A breaker on a test's Redis, with room for many calls unless told otherwise."""
    return SharedBreaker(
        name,
        redis,
        PREFIX,
        BreakerRules(**rules),
        limits or LimitRules(PaceBounds(limit_max=64, start=64)),
        rng=random.Random(1),
        clock_ms=clock,
    )


async def admitted(breaker: SharedBreaker) -> Permit:
    """The right to make one call, which is there."""
    permit = await breaker.admit()
    assert permit is not None
    return permit


async def let_in(breaker: SharedBreaker) -> Permit | None:
    """The right to make one call, or None where there is none."""
    try:
        return await breaker.admit()
    except NotAdmitted:
        return None


async def calls(breaker: SharedBreaker, times: int, outcome: Any = None, duration_s: float = 0.1) -> None:
    """Calls one after another that all end alike."""
    for _ in range(times):
        await breaker.settle(await admitted(breaker), outcome, duration_s)


async def opened(breaker: SharedBreaker) -> None:
    """Open it by refused connections."""
    await calls(breaker, 5, Unavailable("refused"))
    assert (await breaker.status()).state is BreakerState.OPEN


async def half_opened(breaker: SharedBreaker, clock: Clock) -> None:
    """Open it, and let a probe find the upstream back."""
    await opened(breaker)
    clock.pass_s(5)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered")
    assert (await breaker.status()).state is BreakerState.HALF_OPEN
