"""Nobody gets in where they do not belong: every route, every role, own and other office."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from antrean.config.redis_link import LinkedRedis
from antrean.config.settings import Settings
from antrean.gateway.app import ROUTES
from antrean.gateway.keys import Role
from antrean.gateway.ratelimit import Buckets
from antrean.gateway.reference import Reference
from antrean.gateway.routes import Access
from gateway_support import OFFICE, OTHER, Gateway, purchase, running_gateway


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


COUNTER = {"terminal", "supervisor"}
ALL = COUNTER | {"ops"}
OPS = {"ops"}
NOBODY: set[str] = set()

#: Who may, route by route: roles that get past the gate, and whether no key is needed. Written by hand on purpose:
#: it must not follow from the routes' own table.
MAY: dict[tuple[str, str], tuple[set[str], bool]] = {
    ("POST", "/v1/orders"): (COUNTER, False),
    ("GET", "/v1/orders"): (ALL, False),
    ("POST", "/v1/search"): (ALL, False),
    ("POST", "/v1/batches"): (COUNTER, False),
    ("GET", "/v1/orders/{id}"): (ALL, False),
    ("POST", "/v1/orders/{id}/cancel"): (ALL, False),
    ("GET", "/v1/orders/{id}/events"): (ALL, False),
    ("GET", "/v1/orders/{id}/qr"): (ALL, False),
    ("GET", "/v1/orders/{id}/document"): (ALL, False),
    ("POST", "/v1/documents"): (COUNTER, False),
    ("GET", "/v1/ops/breaker"): (OPS, False),
    ("PUT", "/v1/ops/breaker/{name}/override"): (OPS, False),
    ("DELETE", "/v1/ops/breaker/{name}/override"): (OPS, False),
    ("GET", "/v1/ops/backlog"): (OPS, False),
    ("PUT", "/v1/ops/pause"): (OPS, False),
    ("DELETE", "/v1/ops/pause"): (OPS, False),
    ("GET", "/v1/ops/ledger"): (OPS, False),
    ("GET", "/v1/ops/ledger.csv"): (OPS, False),
    ("GET", "/v1/ops/attention"): (OPS, False),
    ("POST", "/v1/ops/deadlines"): (OPS, False),
    ("DELETE", "/v1/ops/holds/balance_unexplained"): (OPS, False),
    ("GET", "/v1/ops/keys"): (OPS, False),
    ("POST", "/v1/ops/keys"): (OPS, False),
    ("POST", "/v1/ops/keys/{id}/rotate"): (OPS, False),
    ("DELETE", "/v1/ops/keys/{id}"): (OPS, False),
    ("POST", "/v1/orders/{id}/replay"): (OPS, False),
    ("POST", "/v1/orders/{id}/refund"): (OPS, False),
    ("POST", "/v1/orders/{id}/erase"): (OPS, False),
    ("GET", "/v1/ops/webhooks"): (OPS, False),
    ("POST", "/v1/ops/webhooks/replay"): (OPS, False),
    ("POST", "/v1/ops/webhooks/enable"): (OPS, False),
    ("GET", "/v1/ops/webhook-secrets/{office}"): (OPS, False),
    ("POST", "/v1/ops/webhook-secrets/{office}"): (OPS, False),
    ("GET", "/v1/orders/{id}/access"): ({"supervisor", "ops"}, False),
    ("GET", "/v1/tickets/{token}"): (NOBODY, True),
    ("GET", "/healthz"): (NOBODY, True),
    ("GET", "/readyz"): (NOBODY, True),
    ("GET", "/metrics"): (OPS, True),
    ("GET", "/"): (NOBODY, True),
    ("GET", "/ops"): (NOBODY, True),
    ("GET", "/t/{token}"): (NOBODY, True),
    ("GET", "/v1/tickets/{token}/qr"): (NOBODY, True),
    ("GET", "/static/{build}/{name}"): (NOBODY, True),
    ("GET", "/favicon.ico"): (NOBODY, True),
    ("GET", "/v1/session"): (ALL, False),
    ("POST", "/v1/session"): (ALL, False),
    ("DELETE", "/v1/session"): (ALL, False),
    ("GET", "/v1/documents/{id}/pages/{page}.png"): (COUNTER, False),
    ("GET", "/v1/ops/breaker/history"): (OPS, False),
    ("GET", "/v1/ops/trend"): (OPS, False),
    ("GET", "/openapi.json"): (NOBODY, True),
    ("GET", "/docs"): (NOBODY, True),
    ("GET", "/problems/{name}"): (NOBODY, True),
    ("GET", "/static/reference.css"): (NOBODY, True),
}


def test_the_table_of_who_may_has_every_route() -> None:
    assert {(route.method, route.path) for route in ROUTES} == set(MAY)


def test_every_route_of_the_api_is_described() -> None:
    assert Reference(ROUTES).json


def test_every_path_of_an_order_is_known_as_one() -> None:
    assert {r.path for r in ROUTES if r.own_order} == {p for _, p in MAY if p.startswith("/v1/orders/{id}")}


@pytest.mark.parametrize("route", ROUTES, ids=lambda r: f"{r.method} {r.path}")
async def test_a_route_lets_in_whom_the_table_names_and_nobody_else(gateway: Gateway, route: Any) -> None:
    roles, public = MAY[route.method, route.path]
    order = await gateway.order()
    path = route.path.format(
        id=order["id"], token=order["ticket"]["token"], name="provider", build="b", page=1, office=OFFICE
    )
    body: dict[str, Any] = {"json": {}} if route.method in ("POST", "PUT") else {}

    bare = await gateway.call(route.method, path, role=None, **body)
    assert (bare.status != 401) == public
    wrong = await gateway.client.request(
        route.method, path, headers={"Authorization": "Bearer antrean_ops_none_" + "x" * 40}, **body
    )
    assert (wrong.status != 401) == public
    assert public or "WWW-Authenticate" in wrong.headers
    if public:
        return
    for role in Role:
        for office in (OFFICE, OTHER):
            answer = await gateway.call(route.method, path, role=role, office=office, **body)
            if route.own_order and office == OTHER and role is not Role.OPS:
                assert answer.status == 404, (role, office)
                assert (await answer.json())["type"] == "/problems/not-found"
            elif role not in roles:
                assert answer.status == 403, (role, office)
            else:
                assert answer.status not in (401, 403), (role, office)
            answer.close()


@pytest.mark.parametrize("path", ["/v1/none", "/v1/", "/v1/orders/x/y/z", "/v1/ops/none"])
async def test_a_path_that_does_not_exist_tells_nothing_without_a_key(gateway: Gateway, path: str) -> None:
    assert (await gateway.call("GET", path, role=None)).status == 401
    answer = await gateway.call("GET", path)
    assert (answer.status, answer.content_type) == (404, "application/problem+json")


FIXED = sorted({r.path for r in ROUTES if r.path.startswith("/v1/") and "{" not in r.path})


@pytest.mark.parametrize("path", FIXED)
async def test_a_route_without_a_name_in_its_path_asks_for_a_key_whatever_the_method(
    gateway: Gateway, path: str
) -> None:
    public = {r.method for r in ROUTES if r.path == path and r.access is Access.PUBLIC}
    for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"} - public:
        assert (await gateway.call(method, path, role=None)).status == 401, method


@pytest.mark.parametrize("role", ["terminal", "supervisor"])
async def test_what_another_office_tries_changes_nothing(gateway: Gateway, role: str) -> None:
    order = await gateway.order()
    for route in ROUTES:
        if route.own_order:
            path = route.path.format(id=order["id"])
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"):
                answer = await gateway.call(method, path, role=role, office=OTHER)
                assert answer.status in (404, 405), (method, path)
    listed = await gateway.call("GET", "/v1/orders", role=role, office=OTHER)
    assert (await listed.json())["orders"] == []
    asked = await gateway.call("GET", f"/v1/orders?office={OFFICE}", role=role, office=OTHER)
    assert asked.status == 403
    after = await (await gateway.call("GET", f"/v1/orders/{order['id']}")).json()
    assert (after["state"], after["version"]) == (order["state"], order["version"])


async def test_a_wrong_method_is_answered_with_the_right_ones(gateway: Gateway) -> None:
    assert (await gateway.call("PATCH", "/v1/orders", role=None)).status == 401
    answer = await gateway.call("PATCH", "/v1/orders")
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD, POST")


async def test_metrics_need_a_key_where_a_proxy_stands_between(gateway: Gateway) -> None:
    text = await (await gateway.call("GET", "/metrics", role=None)).text()
    assert "antrean_orders{" in text
    headers = {"X-Forwarded-For": "203.0.113.7"}
    assert (await gateway.call("GET", "/metrics", role=None, headers=headers)).status == 401
    assert (await gateway.call("GET", "/metrics", role="terminal", headers=headers)).status == 403
    assert (await gateway.call("GET", "/metrics", role="ops", headers=headers)).status == 200


async def test_with_redis_away_the_metrics_tell_what_the_gateway_knows_by_itself(gateway: Gateway) -> None:
    assert (await gateway.submit()).status == 202
    text = await (await gateway.call("GET", "/metrics", role=None)).text()
    assert 'antrean_ready{what="orders"} 1.0' in text
    assert "antrean_orders{" in text
    redis = gateway.parts.redis
    assert isinstance(redis, LinkedRedis)
    assert redis.link._wire is not None
    given = redis.connection_pool.connection_kwargs
    there = given["path"]
    given["path"] = f"{there}-away"
    redis.link._wire.fail(RedisConnectionError("away"))
    gateway.not_ready.append("reachable: it is away")
    async with asyncio.timeout(5):  # what was seen of it is a second old at most
        while 'antrean_ready{what="orders"} 0.0' not in text:
            answer = await gateway.call("GET", "/metrics", role=None)
            assert answer.status == 200
            text = await answer.text()
            await asyncio.sleep(0.1)
    assert 'antrean_orders_accepted_total{kind="purchase"} 1.0' in text
    assert "antrean_disk_free_bytes" in text
    assert "antrean_orders{" not in text
    given["path"] = there


async def test_every_answer_has_the_security_headers_and_a_request_id(gateway: Gateway) -> None:
    for path in ("/", "/v1/orders", "/v1/none", "/healthz", "/metrics"):
        answer = await gateway.call("GET", path, headers={"X-Request-ID": "abc-1"})
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Cache-Control"] in ("no-store", "no-cache")
        assert answer.headers["X-Request-ID"] == "abc-1"
    made = await gateway.call("GET", "/v1/none", headers={"X-Request-ID": "not one\x7f of ours"[:3] + "/"})
    assert made.headers["X-Request-ID"] == (await made.json())["request_id"] != "not/"


async def test_wrong_keys_are_slowed_and_right_ones_go_on(gateway: Gateway) -> None:
    assert (await gateway.call("GET", "/v1/orders")).status == 200
    statuses = set()
    for number in range(80):
        headers = {"Authorization": f"Bearer wrong-{number}"}
        answer = await gateway.client.get("/v1/orders", headers=headers)
        statuses.add(answer.status)
    assert statuses == {401, 429}
    assert int(answer.headers["Retry-After"]) >= 1
    assert (await gateway.call("GET", "/v1/orders")).status == 200


async def test_a_stranger_with_wrong_keys_shuts_nobody_out_who_comes_from_the_same_address(
    gateway: Gateway,
) -> None:
    """Behind a proxy all do."""
    signed_in = await gateway.call("POST", "/v1/session", role="ops")
    [morsel] = signed_in.cookies.values()
    for number in range(60):
        answer = await gateway.client.get("/v1/orders", headers={"Authorization": f"Bearer wrong-{number}"})
    assert answer.status == 429
    fresh = await gateway.parts.keys.create(Role.TERMINAL, OFFICE)
    for headers in ({"Cookie": f"{morsel.key}={morsel.value}"}, {"Authorization": f"Bearer {fresh}"}):
        assert (await gateway.client.get("/v1/orders", headers=headers)).status == 200


async def test_made_up_tickets_are_slowed_and_those_in_the_queue_are_not(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Time stands still, so that no allowance grows again meanwhile, however slow the machine is.
    monkeypatch.setattr(Buckets.__init__, "__defaults__", (None, lambda: 1000.0))
    async with running_gateway(redis, settings) as gateway:
        shown = await gateway.order()
        path = f"/v1/tickets/{shown['ticket']['token']}"
        guesses = [gateway.call("GET", f"/v1/tickets/{n:020d}", role=None) for n in range(60)]
        statuses = [(await guess).status for guess in guesses]
        assert statuses[:50] == [404] * 50
        assert statuses[-1] == 429
        page = await gateway.call("GET", f"/t/{7:020d}", role=None)
        assert (page.status, b"data-ticket" in await page.read()) == (200, True)
        assert (await gateway.call("GET", path, role=None)).status == 200


async def test_a_key_that_asks_too_often_is_told_when_to_come_back(redis: Redis, settings: Settings) -> None:
    slow = settings.model_copy(update={"key_rate_per_s": 2.0})
    async with running_gateway(redis, slow) as gateway:
        answers = [await gateway.call("GET", "/v1/orders") for _ in range(6)]
        assert answers[0].headers["RateLimit-Limit"] == "2"
        missing = await gateway.call("GET", "/v1/orders/none", role="supervisor")
        assert (missing.status, missing.headers["RateLimit-Remaining"]) == (404, "1")
        assert {a.status for a in answers} == {200, 429}
        refused = next(a for a in answers if a.status == 429)
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert (await gateway.call("GET", "/v1/orders", role="ops")).status == 200


async def test_one_office_can_not_fill_the_queue(redis: Redis, settings: Settings) -> None:
    small = settings.model_copy(update={"office_backlog_max": 2})
    async with running_gateway(redis, small) as gateway:
        statuses = [(await gateway.submit()).status for _ in range(3)]
        assert statuses == [202, 202, 429]
        assert (await gateway.submit(purchase(), office=OTHER)).status == 202
        rows = {"orders": [purchase() | {"idempotency_key": f"b-{n}"} for n in range(2)]}
        batch = await gateway.call("POST", "/v1/batches", json=rows, office=OTHER)
        assert [row["status"] for row in (await batch.json())["results"]] == [202, 429]
        assert int(batch.headers["Retry-After"]) >= 1
