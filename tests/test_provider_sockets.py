"""The Peruri adapter on real sockets: refused, hanging, late, cut off, without end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from redis.asyncio import Redis

from antrean.provider.errors import OutcomeUnknown, Unavailable
from antrean.provider.late import LateCalls
from antrean.provider.peruri import PeruriAdapter, PeruriConfig
from antrean.provider.protocol import CallMeter, Generated
from provider_support import (
    SN,
    generate_request,
    jwt,
    png,
    png_text,
    shared_token,
)

SOLD = {"statusCode": "00", "message": "success", "result": {"sn": SN, "image": png_text()}}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a handler for every path on a free port; a login is answered by itself."""
    runners = []

    async def start(handler: Handler) -> str:
        async def any_path(request: web.Request) -> web.StreamResponse:
            if request.path == "/api/users/login":
                return web.json_response({"statusCode": "00", "token": jwt(id="A77")})
            return await handler(request)

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", any_path)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def socket_adapter(redis: Redis, url: str, stampv2: str = "", timeout_s: float = 1.2) -> PeruriAdapter:
    config = PeruriConfig(
        url,
        stampv2 or url,
        "pos-medan",
        "rahasia",
        adapter_url=url,
        shared_dir=Path(),
        timeout_s=timeout_s,
    )
    return PeruriAdapter(config, shared_token(redis, config))


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_a_refused_connection_did_not_happen(redis: Redis, serve: Serve) -> None:
    async def unused(_: web.Request) -> web.StreamResponse:
        raise AssertionError

    adapter = socket_adapter(redis, await serve(unused), stampv2=closed_port())
    with pytest.raises(Unavailable) as raised:
        await adapter.generate(generate_request(), CallMeter())
    assert not raised.value.sent
    await adapter.aclose()


async def test_a_connection_cut_after_the_request_is_unknown(redis: Redis, serve: Serve) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    adapter = socket_adapter(redis, await serve(cut))
    with pytest.raises(OutcomeUnknown):
        await adapter.generate(generate_request(), CallMeter())
    await adapter.aclose()


async def test_a_late_answer_to_a_call_given_up_on_still_comes_in(redis: Redis, serve: Serve) -> None:
    go = asyncio.Event()

    async def late(_: web.Request) -> web.StreamResponse:
        await go.wait()
        return web.json_response(SOLD)

    adapter = socket_adapter(redis, await serve(late))
    with pytest.raises(OutcomeUnknown) as raised:
        await adapter.generate(generate_request(), CallMeter())
    assert raised.value.late is not None
    answer = asyncio.ensure_future(raised.value.late)
    assert not answer.done()
    go.set()
    assert await asyncio.wait_for(answer, 5) == Generated(SN, png())
    await adapter.aclose()


async def test_closing_does_not_wait_for_late_answers(redis: Redis, serve: Serve) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    adapter = socket_adapter(redis, await serve(never))
    with pytest.raises(OutcomeUnknown):
        await adapter.generate(generate_request(), CallMeter())
    await asyncio.wait_for(adapter.aclose(), 2)


async def test_late_calls_are_bounded_in_number() -> None:
    late = LateCalls(calls_max=2)
    hanging = [late.run(asyncio.sleep(30), 0.01) for _ in range(4)]
    errors = await asyncio.gather(*hanging, return_exceptions=True)
    assert (
        [isinstance(e, OutcomeUnknown) and e.late is not None for e in errors].count(True) == len(late) == 2
    )
    await late.aclose()


async def test_a_free_question_that_hangs_ends_in_time(redis: Redis, serve: Serve) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    adapter = socket_adapter(redis, await serve(drip))
    with pytest.raises(Unavailable):
        await asyncio.wait_for(adapter.balance(), 4)
    await adapter.aclose()


async def test_an_answer_without_end_is_cut_off(
    redis: Redis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antrean.provider.wire.ANSWER_BYTES_MAX", 1000)

    async def endless(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b" " * 5000)

    adapter = socket_adapter(redis, await serve(endless))
    with pytest.raises(OutcomeUnknown, match="too large"):
        await adapter.generate(generate_request(), CallMeter())
    await adapter.aclose()


async def test_the_signing_service_is_probed_by_a_connection_alone(redis: Redis, serve: Serve) -> None:
    asked = []

    async def count(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response()

    up, down = socket_adapter(redis, await serve(count)), socket_adapter(redis, closed_port())
    await up.adapter_reachable()
    with pytest.raises(Unavailable):
        await down.adapter_reachable()
    assert asked == []
    await up.aclose()
    await down.aclose()


async def test_many_calls_at_once_share_the_slots_and_give_them_back(redis: Redis, serve: Serve) -> None:
    async def quick(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.005)
        return web.json_response({"statusCode": "00", "result": {"saldo": 7}})

    adapter = socket_adapter(redis, await serve(quick), timeout_s=10)
    assert await asyncio.gather(*(adapter.balance() for _ in range(400))) == [7] * 400
    await adapter.aclose()
