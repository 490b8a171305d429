"""The login that all workers share, and the probe: one free call, whatever comes of it."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from antrean.provider.errors import Rejected, Unavailable
from antrean.provider.peruri import PeruriConfig
from antrean.provider.protocol import CallMeter
from antrean.provider.token import SharedToken
from antrean.provider.translate import LoginFailed
from provider_support import (
    ScriptedUpstream,
    generate_request,
    jwt,
    scripted_adapter,
    shared_token,
)

GENERATE = "/chanel/stampv2"
BALANCE = "/function/saldopos"
TOKEN_OVER = {"statusCode": "01", "message": "Token tidak berlaku"}


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


async def test_one_login_serves_all_workers(redis: Redis, upstream: ScriptedUpstream) -> None:
    upstream.on("POST", BALANCE, {"statusCode": "00", "result": {"saldo": 1}})
    fleet = [scripted_adapter(redis, upstream) for _ in range(4)]
    assert await asyncio.gather(*(adapter.balance() for adapter in fleet * 5)) == [1] * 20
    assert upstream.count("/api/users/login") == 1


async def test_a_refused_token_is_renewed_once_for_all_workers(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    good = jwt(n=2)

    def balance(request: httpx.Request) -> httpx.Response:
        taken = request.headers["authorization"] == f"Bearer {good}"
        return httpx.Response(200, json={"statusCode": "00", "result": {"saldo": 1}} if taken else TOKEN_OVER)

    upstream.on(
        "POST",
        "/api/users/login",
        {"statusCode": "00", "token": jwt(n=1)},
        {"statusCode": "00", "token": good},
    )
    upstream.on("POST", BALANCE, balance)
    fleet = [scripted_adapter(redis, upstream) for _ in range(4)]
    assert await asyncio.gather(*(adapter.balance() for adapter in fleet * 5)) == [1] * 20
    assert upstream.count("/api/users/login") == 2


async def test_a_token_is_renewed_before_its_end(redis: Redis, upstream: ScriptedUpstream) -> None:
    now = [1_000_000.0]
    config = PeruriConfig("http://b.test", "http://s.test", "u", "p")
    tokens = shared_token(redis, config)
    tokens._now_s = lambda: now[0]
    logins = 0

    async def login() -> str:
        nonlocal logins
        logins += 1
        return jwt(exp=now[0] + 86_400, n=logins)

    first = await tokens.get(login)
    now[0] += 86_400 - 301
    assert await tokens.get(login) == first
    now[0] += 2
    assert await tokens.get(login) != first
    assert logins == 2


async def test_a_token_that_is_over_when_it_is_made_serves_all_until_it_is_refused(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", "/api/users/login", {"statusCode": "00", "token": jwt(exp=1_725_000_000)})
    upstream.on("POST", BALANCE, {"statusCode": "00", "result": {"saldo": 1}})
    fleet = [scripted_adapter(redis, upstream) for _ in range(4)]
    assert await asyncio.gather(*(adapter.balance() for adapter in fleet * 5)) == [1] * 20
    assert upstream.count("/api/users/login") == 1


async def test_a_failed_login_is_not_tried_by_everyone_in_turn(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", "/api/users/login", httpx.Response(500))
    fleet = [scripted_adapter(redis, upstream) for _ in range(10)]
    errors = await asyncio.gather(*(adapter.balance() for adapter in fleet), return_exceptions=True)
    assert all(isinstance(error, LoginFailed) for error in errors)
    assert sum(getattr(error, "ours", False) for error in errors) == upstream.count("/api/users/login") == 1


async def test_a_login_that_fails_between_anothers_look_and_its_lock_is_not_tried_again(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared, logins = SharedToken(redis, "t:", "account"), []
    take = redis.set

    async def set_late(*words: Any, **options: Any) -> Any:
        await take(shared._failed, "1", px=300)  # the other one's login has just failed, and its lock is free
        return await take(*words, **options)

    async def login() -> str:
        logins.append(1)
        return "token"

    monkeypatch.setattr(redis, "set", set_late)
    with pytest.raises(LoginFailed, match="has just failed"):
        await shared.get(login)
    assert logins == []
    assert await redis.exists(shared._lock) == 0


@pytest.mark.parametrize(
    "reply",
    [
        {"statusCode": "12", "message": "salah"},
        {"statusCode": "00"},
        {"statusCode": "00", "token": "a\nb"},
        TOKEN_OVER,
    ],
)
async def test_a_login_that_gives_no_token_is_the_account_s_trouble_not_the_order_s(
    redis: Redis, upstream: ScriptedUpstream, reply: dict[str, Any]
) -> None:
    upstream.on("POST", "/api/users/login", reply)
    with pytest.raises(Unavailable):
        await scripted_adapter(redis, upstream).generate(generate_request(), CallMeter())
    assert upstream.count(GENERATE) == 0


@pytest.mark.parametrize("reply", [httpx.Response(401, text="no"), httpx.Response(403), TOKEN_OVER])
async def test_a_refused_login_is_not_called_a_refused_token(
    redis: Redis, upstream: ScriptedUpstream, reply: Any
) -> None:
    upstream.on("POST", "/api/users/login", reply)
    with pytest.raises(LoginFailed, match="refuses our login"):
        await scripted_adapter(redis, upstream).balance()


async def test_waiting_for_another_worker_s_login_is_bounded(redis: Redis) -> None:
    config = PeruriConfig("http://b.test", "http://s.test", "u", "p")
    one, other = shared_token(redis, config), shared_token(redis, config, wait_s=0.3)
    begun = asyncio.Event()

    async def never() -> str:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    stuck = asyncio.create_task(one.get(never))
    await begun.wait()
    with pytest.raises(LoginFailed):
        await other.get(never)
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


async def test_a_probe_is_one_call_a_login_first_and_the_balance_then(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", BALANCE, {"statusCode": "00", "result": {"saldo": 1}}, TOKEN_OVER)
    adapter = scripted_adapter(redis, upstream)
    paths = []
    for _ in range(4):
        await adapter.probe()
        paths.append(upstream.asked[-1].url.path)
        assert len(upstream.asked) == len(paths)
    assert paths == ["/api/users/login", BALANCE, BALANCE, "/api/users/login"]


async def test_a_balance_in_another_form_is_an_answer_and_one_that_fails_is_followed_by_a_login(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    other_form = {"statusCode": "00", "result": {"data": {"saldo": 1}}}
    upstream.on("POST", BALANCE, other_form, httpx.Response(500), other_form)
    adapter = scripted_adapter(redis, upstream)
    await adapter.ensure_token()
    await adapter.probe()
    with pytest.raises(Unavailable):
        await adapter.probe()
    await adapter.probe()
    await adapter.probe()
    paths = [request.url.path for request in upstream.asked]
    assert paths == ["/api/users/login", BALANCE, BALANCE, "/api/users/login", BALANCE]


async def test_after_a_failed_trial_the_host_that_sells_is_asked(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    listed = "/chanel/sale/stamp/ext/A77"
    answers = (httpx.Response(502), {"statusCode": "05", "message": "no"}, TOKEN_OVER)
    upstream.on("GET", listed, *answers)
    adapter = scripted_adapter(redis, upstream)
    await adapter.probe(after_trial=True)  # without a token there is nothing to ask it with
    with pytest.raises(Unavailable):
        await adapter.probe(after_trial=True)
    with pytest.raises(Rejected):
        await adapter.probe(after_trial=True)
    await adapter.probe(after_trial=True)
    await adapter.probe(after_trial=True)
    paths = [request.url.path for request in upstream.asked]
    assert paths == ["/api/users/login", listed, listed, listed, "/api/users/login"]


@pytest.mark.parametrize(
    "reply", [httpx.Response(500), httpx.ConnectError("x"), httpx.Response(200, text="<html>")]
)
async def test_a_bad_probe_is_one_call_as_well(redis: Redis, upstream: ScriptedUpstream, reply: Any) -> None:
    upstream.on("POST", "/api/users/login", reply)
    adapter = scripted_adapter(redis, upstream)
    with pytest.raises(Unavailable):
        await adapter.probe()
    assert len(upstream.asked) == 1
