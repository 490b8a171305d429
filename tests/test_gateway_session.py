"""Signing in at a browser: a key becomes a cookie, which other sites can not use and which ends with its key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import ClientResponse
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.sessions import Sessions
from gateway_support import OFFICE, OTHER, Gateway, purchase, running_gateway

PAGE = {"X-Antrean-Page": "1"}


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def signed_in(gateway: Gateway, role: str = "terminal", **headers: str) -> ClientResponse:
    """The answer to a sign-in; the test's client keeps cookies only where the test sends them."""
    answer = await gateway.call("POST", "/v1/session", role=role, headers=headers)
    assert answer.status == 201
    gateway.client.session.cookie_jar.clear()
    return answer


def cookie(answer: ClientResponse) -> dict[str, str]:
    [morsel] = answer.cookies.values()
    return {"Cookie": f"{morsel.key}={morsel.value}"}


async def test_a_key_in_header_or_body_opens_a_session_of_its_office_and_role(gateway: Gateway) -> None:
    answer = await signed_in(gateway)
    shown = await answer.json()
    assert (shown["role"], shown["office"]) == ("terminal", OFFICE)
    me = await gateway.client.get("/v1/session", headers=cookie(answer))
    assert await me.json() == shown
    body = {"key": gateway.keys["ops", OTHER]}
    other = await gateway.client.post("/v1/session", json=body)
    assert (other.status, (await other.json())["role"]) == (201, "ops")


async def test_without_a_good_key_there_is_no_session(gateway: Gateway) -> None:
    attempts: list[dict[str, Any]] = [
        {},
        {"json": {}},
        {"json": {"key": "wrong"}},
        {"headers": {"Authorization": "Bearer no"}},
    ]
    for arguments in attempts:
        answer = await gateway.client.post("/v1/session", **arguments)
        assert (answer.status, dict(answer.cookies)) == (401, {})
    for value in ("", "x", "A" * 43):
        answer = await gateway.client.get("/v1/orders", headers={"Cookie": f"antrean={value}"})
        assert answer.status == 401


async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(gateway: Gateway) -> None:
    [plain] = (await signed_in(gateway)).cookies.values()
    assert plain.key == "antrean"
    assert (plain["httponly"], plain["samesite"], plain["path"], plain["secure"]) == (True, "Strict", "/", "")
    assert 0 < int(plain["max-age"]) <= 24 * 3600
    [safe] = (await signed_in(gateway, **{"X-Forwarded-Proto": "https"})).cookies.values()
    assert (safe.key, safe["secure"], safe["domain"]) == ("__Host-antrean", True, "")


async def test_over_https_a_cookie_that_a_neighbour_could_plant_counts_for_nothing(gateway: Gateway) -> None:
    planted = cookie(await signed_in(gateway))
    answer = await gateway.client.get("/v1/orders", headers=planted | {"X-Forwarded-Proto": "https"})
    assert answer.status == 401


async def test_a_change_by_cookie_needs_the_header_that_only_our_pages_can_send(gateway: Gateway) -> None:
    session = cookie(await signed_in(gateway))
    order = session | {"Idempotency-Key": "from-a-form"}
    refused = await gateway.client.post("/v1/orders", json=purchase(), headers=order)
    assert (refused.status, (await refused.json())["type"]) == (403, "/problems/not-our-page")
    assert (await gateway.client.delete("/v1/session", headers=session)).status == 403
    assert (await gateway.client.post("/v1/orders", json=purchase(), headers=order | PAGE)).status == 202
    assert (await gateway.client.get("/v1/orders", headers=session)).status == 200
    bearer = await gateway.submit()
    assert bearer.status == 202


async def test_a_page_of_one_office_does_nothing_with_the_cookie_of_another(gateway: Gateway) -> None:
    session = cookie(await signed_in(gateway)) | PAGE
    order = session | {"Idempotency-Key": "of-a-tab"}
    for owner in (f"terminal:{OTHER}", f"supervisor:{OFFICE}", OFFICE, ""):
        page = {"X-Antrean-Session-Of": owner}
        refused = await gateway.client.post("/v1/orders", json=purchase(), headers=order | page)
        assert (refused.status, (await refused.json())["type"]) == (401, "/problems/unauthorized")
        assert (await gateway.client.get("/v1/orders", headers=session | page)).status == 401
        assert (await gateway.client.delete("/v1/session", headers=session | page)).status == 401
    assert (await (await gateway.client.get("/v1/orders", headers=session)).json())["orders"] == []
    ours = {"X-Antrean-Session-Of": f"terminal:{OFFICE}"}
    assert (await gateway.client.post("/v1/orders", json=purchase(), headers=order | ours)).status == 202
    # A key names its office itself.
    other = await gateway.call("GET", "/v1/orders", headers={"X-Antrean-Session-Of": f"terminal:{OTHER}"})
    assert other.status == 200


async def test_a_key_in_the_header_goes_before_the_cookie(gateway: Gateway) -> None:
    session = cookie(await signed_in(gateway, "ops"))
    assert (await gateway.call("GET", "/v1/ops/backlog", role="terminal", headers=session)).status == 403
    wrong = session | {"Authorization": "Bearer wrong"}
    assert (await gateway.client.get("/v1/ops/backlog", headers=wrong)).status == 401


async def test_signing_out_ends_the_session_and_not_the_key(gateway: Gateway) -> None:
    session = cookie(await signed_in(gateway))
    answer = await gateway.client.delete("/v1/session", headers=session | PAGE)
    assert answer.status == 204
    assert next(iter(answer.cookies.values())).value == ""
    assert (await gateway.client.get("/v1/session", headers=session)).status == 401
    assert (await gateway.call("GET", "/v1/session")).status == 200
    assert (await gateway.call("DELETE", "/v1/session")).status == 204


async def test_a_revoked_key_takes_its_sessions_with_it(gateway: Gateway) -> None:
    answer = await signed_in(gateway)
    await gateway.parts.keys.revoke((await answer.json())["key_id"])
    assert (await gateway.client.get("/v1/session", headers=cookie(answer))).status == 401


async def test_a_session_ends_by_itself_and_what_is_kept_of_it_opens_nothing(redis: Redis) -> None:
    token, _ = await Sessions(redis).open("digest")
    [name] = [str(key, "ascii") for key in await redis.keys("an:session:*")]  # type: ignore[arg-type, unused-ignore]
    assert 0 < await redis.ttl(name) <= 24 * 3600
    assert token not in f"{name} {await redis.get(name)!r}"
    assert await Sessions(redis).find(name.rpartition(":")[2]) is None


async def test_one_key_can_not_fill_the_store_with_sessions(gateway: Gateway) -> None:
    statuses = [(await gateway.call("POST", "/v1/session")).status for _ in range(40)]
    assert set(statuses) == {201, 429}
