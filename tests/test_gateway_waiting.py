"""Who waits for an order, or follows it, is told of what changes, and of nothing once the key has gone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.keys import Role
from antrean.orders import eta, keys
from gateway_support import OFFICE, Gateway, running_gateway


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def _events(stream: Any, most: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    number = 0
    while len(found) < most and (line := await asyncio.wait_for(stream.content.readline(), 5)):
        if line.startswith(b"id: "):
            number = int(line[4:])
        elif line.startswith(b"data: "):
            found.append((number, orjson.loads(line[6:])["state"]))
    return found


async def _until_waited_for(gateway: Gateway, order_id: str) -> None:
    """Until somebody who watches the order has had a look and waits for a change: what comes before is part of it."""
    while not any(watch._woken._waiters for watch in gateway.parts.hub._watches.get(order_id, ())):
        await asyncio.sleep(0.005)


async def test_a_wait_returns_at_the_next_change_and_not_before(gateway: Gateway) -> None:
    order = await gateway.order()
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/orders/{order['id']}?wait=30"))
    await _until_waited_for(gateway, order["id"])
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    await gateway.buy(order["id"])
    shown = await (await asyncio.wait_for(waiting, 5)).json()
    assert shown["version"] > order["version"]
    assert not gateway.parts.hub.watches


async def test_a_wait_is_over_at_once_for_what_has_changed_since_the_etag(gateway: Gateway) -> None:
    order = await gateway.order()
    first = await gateway.call("GET", f"/v1/orders/{order['id']}")
    etag = first.headers["ETag"]
    unchanged = await gateway.call("GET", f"/v1/orders/{order['id']}", headers={"If-None-Match": etag})
    assert unchanged.status == 304
    path = f"/v1/orders/{order['id']}"
    for tag in (etag.removeprefix("W/"), f'"other", {etag}', "*"):
        assert (await gateway.call("GET", path, headers={"If-None-Match": tag})).status == 304, tag
    for tag in ('"other"', "", f"{etag}x"):
        assert (await gateway.call("GET", path, headers={"If-None-Match": tag})).status == 200, tag
    lines = [("If-None-Match", '"other"'), ("If-None-Match", etag)]
    started_s = time.monotonic()
    assert (await gateway.call("GET", f"{path}?wait=0.5", headers=lines)).status == 304
    assert time.monotonic() - started_s >= 0.5
    await gateway.buy(order["id"])
    changed = await asyncio.wait_for(
        gateway.call("GET", f"/v1/orders/{order['id']}?wait=30", headers={"If-None-Match": etag}), 5
    )
    assert (await changed.json())["state"] == "bought"


async def test_a_wait_ends_with_what_the_order_is_then_also_where_no_change_was_heard(
    gateway: Gateway, redis: Redis
) -> None:
    order = await gateway.order()
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/orders/{order['id']}?wait=0.5"))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    await redis.hset(keys.ORDER + order["id"], "ref", "changed")  # and nobody is told
    assert (await (await waiting).json())["reference"] == "changed"


async def test_a_wait_without_a_change_ends_in_its_time(gateway: Gateway) -> None:
    order = await gateway.order()
    shown = await gateway.call("GET", f"/v1/orders/{order['id']}?wait=0.05")
    assert (await shown.json())["state"] == "queued"
    too_long = await gateway.call("GET", f"/v1/orders/{order['id']}?wait=61")
    assert too_long.status == 422


async def test_a_finished_order_does_not_let_anybody_wait(gateway: Gateway) -> None:
    order = await gateway.order()
    await gateway.complete_purchase(order["id"])
    shown = await asyncio.wait_for(gateway.call("GET", f"/v1/orders/{order['id']}?wait=60"), 5)
    body = await shown.json()
    assert (body["state"], body["position"], body["eta"]) == ("completed", None, None)


async def test_the_stream_tells_each_change_and_resumes_with_what_was_missed(gateway: Gateway) -> None:
    order = await gateway.order()
    path = f"/v1/orders/{order['id']}/events"
    stream = await gateway.call("GET", path)
    assert stream.content_type == "text/event-stream"
    first = await _events(stream, 1)
    assert first == [(1, "queued")]
    stream.close()
    await gateway.complete_purchase(order["id"])
    resumed = await gateway.call("GET", path, headers={"Last-Event-ID": "1"})
    assert await _events(resumed, 99) == [(2, "buying"), (3, "bought"), (4, "completed")]
    over = await gateway.call("GET", path, headers={"Last-Event-ID": "4"})
    assert over.status == 204


@pytest.mark.parametrize("sign", [False, True])
async def test_a_stream_ends_with_the_key_or_the_session_that_it_was_opened_with(
    gateway: Gateway, sign: bool
) -> None:
    order = await gateway.order()
    key = await gateway.parts.keys.create(Role.SUPERVISOR, OFFICE)
    headers = {"Authorization": f"Bearer {key}"}
    if sign:
        session = await gateway.client.post("/v1/session", headers=headers)
        [morsel] = session.cookies.values()
        headers = {"Cookie": f"{morsel.key}={morsel.value}"}
    stream = await gateway.client.get(f"/v1/orders/{order['id']}/events", headers=headers)
    assert await _events(stream, 1) == [(1, "queued")]
    key_id = await gateway.parts.keys.id_of(key)
    assert key_id is not None
    await gateway.parts.keys.revoke(key_id)
    await gateway.parts.store.cancel(order["id"])
    assert await _events(stream, 99) == []


@pytest.mark.parametrize("changes", [True, False])
async def test_a_wait_ends_with_the_key_that_it_was_begun_with(gateway: Gateway, changes: bool) -> None:
    order = await gateway.order()
    key = await gateway.parts.keys.create(Role.SUPERVISOR, OFFICE)
    headers = {"Authorization": f"Bearer {key}"}
    path = f"/v1/orders/{order['id']}?wait={30 if changes else 1}"
    waiting = asyncio.create_task(gateway.client.get(path, headers=headers))
    await _until_waited_for(gateway, order["id"])
    key_id = await gateway.parts.keys.id_of(key)
    assert key_id is not None
    await gateway.parts.keys.revoke(key_id)
    if changes:
        await gateway.parts.store.cancel(order["id"])
    assert (await asyncio.wait_for(waiting, 5)).status == 401


async def test_a_wait_returns_when_a_hold_comes(gateway: Gateway) -> None:
    order = await gateway.order()
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/orders/{order['id']}?wait=30"))
    await _until_waited_for(gateway, order["id"])
    paused = await gateway.call("PUT", "/v1/ops/pause", role="ops", json={"reason": "inventory"})
    assert (await paused.json())["paused"] is True
    shown = await (await asyncio.wait_for(waiting, 5)).json()
    assert shown["holding"]["reason"] == "paused"
    resumed = await gateway.call("DELETE", "/v1/ops/pause", role="ops")
    assert await resumed.json() == {"paused": False}


async def test_a_wait_for_an_order_whose_time_was_told_returns_when_the_last_worker_dies(
    gateway: Gateway, redis: Redis
) -> None:
    for _ in range(eta.LEAST):
        await gateway.complete_purchase((await gateway.order())["id"])
    order = await gateway.order()
    while (await (await gateway.call("GET", f"/v1/orders/{order['id']}")).json())["eta"] is None:
        await asyncio.sleep(0.05)
    # Somebody has waited in vain, so how things stand is known.
    assert (await (await gateway.call("GET", f"/v1/orders/{order['id']}?wait=2")).json())["eta"] is not None
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/orders/{order['id']}?wait=30"))
    await _until_waited_for(gateway, order["id"])
    await redis.zincrby(keys.WORKERS, -keys.WORKER_SILENT_MS, "w")
    assert (await (await asyncio.wait_for(waiting, 5)).json())["eta"] is None
