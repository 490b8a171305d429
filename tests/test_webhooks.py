"""Who gave a webhook_url is told: signed, at least once, for two days; no dead address hurts the others."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from redis.asyncio import Redis
from structlog.testing import capture_logs

from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.notices import DISABLE_MS, GIVE_UP_MS, PAUSE_FIRST_MS, PAUSE_MAX_MS, pause_ms
from antrean.orders.outbox import Outbox
from antrean.orders.states import State
from antrean.orders.vault import Unreadable, Vault, VaultKey
from gateway_support import NAME, NIK, OFFICE, Gateway, running_gateway
from orders_support import VAULT, note_vault
from receiver import Receiver, verifies
from webhook_support import Post, post_world, webhook_receiver  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("noted")

HOUR_MS = 3600 * 1000


# ---- what is told


async def test_a_completed_order_is_told_signed_and_without_personal_data(
    world: Post, receiver: Receiver
) -> None:
    order = await world.submit(webhook_url=receiver.at("/hook?x=1"), reference="loket 3")
    await world.beat("w1")
    await world.worker().run(order.id)
    await world.send()

    [request] = receiver.received
    done = await world.order(order.id)
    assert request.path == "/hook?x=1"
    assert request.headers["host"] == receiver.url.removeprefix("http://")
    assert request.headers["content-type"] == "application/json"
    assert request.id == f"{order.id}-{done.version}"
    assert verifies(request, (await world.outbox.secrets(order.office)).current)
    assert not verifies(request, (await world.outbox.secrets("JKT-07")).current)
    assert request.headers["webhook-timestamp"] == str(world.now_ms // 1000)
    assert request.event == {
        "type": "order.completed",
        "timestamp": "2027-01-15T08:00:00.000Z",
        "data": {
            "order_id": order.id,
            "office": "MDN-01",
            "kind": "purchase",
            "state": "completed",
            "ticket_number": 1,
            "serial_number": done.serial_number,
            "reference": "loket 3",
            "error_code": None,
        },
    }
    assert not any(secret in request.body.decode() for secret in (NIK, NAME, "1271", "Siti"))
    assert not await world.redis.exists(keys.NOTICES, keys.NOTICES_DUE, keys.NOTICES_DEAD)


@pytest.mark.parametrize(("verb", "told"), [("reject", "order.rejected"), ("attend", "order.attention")])
async def test_what_came_to_nothing_and_what_waits_for_a_person_is_told_with_the_code(
    world: Post, receiver: Receiver, verb: str, told: str
) -> None:
    order = await world.submit(webhook_url=receiver.at("/"))
    await world.beat("w1")
    claim = await world.store.claim(order.id, "w1", "1")
    assert claim is not None
    await world.store.begin(claim.order, "2", State.BUYING, "", 1)
    await world.store.refuse(claim.order, "3", verb, "44", f"a message with {NIK}", 1)
    await world.send()
    assert (receiver.received[0].event["type"], receiver.received[0].event["data"]["error_code"]) == (
        told,
        "44",
    )
    assert NIK.encode() not in receiver.received[0].body


async def test_each_end_is_told_once_and_put_back_orders_are_told_again(
    world: Post, receiver: Receiver
) -> None:
    order = await world.submit(webhook_url=receiver.at("/"))
    await world.beat("w1")
    claim = await world.store.claim(order.id, "w1", "1")
    assert claim is not None
    await world.store.refuse(claim.order, "2", "attend", "x", "a person decides", 0)
    await world.store.replay(order.id, "not_bought", "ops")
    await world.worker().run(order.id)
    await world.send()
    told = [r.event["type"] for r in receiver.received]
    assert sorted(told) == ["order.attention", "order.completed"]
    assert len({r.id for r in receiver.received}) == 2


async def test_an_order_without_an_address_leaves_nothing_behind(world: Post) -> None:
    await world.cancelled(None)
    assert not await world.redis.exists(keys.NOTICES, keys.NOTICES_DUE)


# ---- again and again


async def test_a_failed_notice_comes_again_with_the_same_id_and_body_and_a_new_time(
    world: Post, receiver: Receiver
) -> None:
    receiver.answers = [web.Response(status=500), web.Response(status=503)]
    order = await world.cancelled(receiver.at("/"))
    await world.send()
    assert len(receiver.received) == 1
    await world.send()
    assert len(receiver.received) == 1  # not before its time
    world.now_ms += 60_000
    await world.send()
    world.now_ms += 60_000
    await world.send()
    first, _, last = receiver.received
    assert (first.id, first.body) == (last.id, last.body)
    assert first.headers["webhook-timestamp"] != last.headers["webhook-timestamp"]
    assert verifies(last, (await world.outbox.secrets(order.office)).current)
    view = await world.outbox.view()
    assert (view.pending, view.given_up, view.endpoints) == (0, 0, ())


def test_pauses_double_with_jitter_up_to_a_bound() -> None:
    rng = random.Random(1)
    for tries in range(1, 40):
        longest = min(PAUSE_FIRST_MS * 2 ** (tries - 1), PAUSE_MAX_MS)
        pauses = [pause_ms(tries, rng) for _ in range(50)]
        assert longest / 2 <= min(pauses) < max(pauses) <= longest


async def test_a_receiver_that_asks_for_a_pause_gets_it(world: Post, receiver: Receiver) -> None:
    receiver.answers = [web.Response(status=429, headers={"Retry-After": "600"})]
    await world.cancelled(receiver.at("/"))
    await world.send()
    world.now_ms += 590_000
    await world.send()
    assert len(receiver.received) == 1
    world.now_ms += 20_000
    await world.send()
    assert len(receiver.received) == 2


async def test_after_48_hours_it_is_given_up_and_ops_can_send_it_again(
    world: Post, receiver: Receiver
) -> None:
    receiver.always = 500
    order = await world.cancelled(receiver.at("/"))
    other = await world.cancelled(receiver.at("/"), office="JKT-07")

    async def given_up() -> bool:
        return (await world.outbox.view()).given_up == 2

    started_ms = world.now_ms
    with capture_logs() as logs:
        await world.send_until(given_up, HOUR_MS)
    assert GIVE_UP_MS - PAUSE_MAX_MS <= world.now_ms - started_ms <= GIVE_UP_MS + 2 * HOUR_MS
    assert len(receiver.received) >= 20
    assert [line["log_level"] for line in logs if line["event"] == "a webhook is given up"] == ["error"] * 2
    view = await world.outbox.view()
    assert view.pending == 0
    assert {n.order_id for n, _ in view.dead} == {order.id, other.id}
    assert view.dead[0][0].why == "status 500"

    receiver.always = 204
    assert await world.outbox.replay_all("MDN-01") == 1
    world.now_ms += HOUR_MS
    await world.send()
    assert receiver.received[-1].event["data"]["order_id"] == order.id
    assert receiver.received[-1].id == f"{order.id}-{order.version}"
    [(left, _)] = (await world.outbox.view()).dead
    assert await world.outbox.replay([left.id, "none"]) == 1
    assert await world.outbox.replay([left.id]) == 0
    await world.send()
    assert (await world.outbox.view()).given_up == 0


async def test_an_address_where_all_failed_for_days_is_disabled_loudly_until_ops_enable_it(
    world: Post, receiver: Receiver
) -> None:
    receiver.always = 500
    host = receiver.url.removeprefix("http://")
    started_ms = world.now_ms

    async def disabled() -> bool:
        return any(e.disabled_ms for e in (await world.outbox.view()).endpoints)

    with capture_logs() as logs:
        for _ in range(4):
            await world.cancelled(receiver.at("/"))
            for _ in range(40):
                if not await disabled():
                    world.now_ms += HOUR_MS
                    await world.send()
    assert DISABLE_MS <= world.now_ms - started_ms <= DISABLE_MS + PAUSE_MAX_MS
    [told] = [line for line in logs if "disabled" in line["event"]]
    assert (told["log_level"], told["office"], told["host"]) == ("error", "MDN-01", host)

    count = len(receiver.received)
    receiver.always = 204
    late = await world.cancelled(receiver.at("/"))
    elsewhere = await world.cancelled(receiver.at("/"), office="JKT-07")
    world.now_ms += 5 * HOUR_MS
    await world.send()
    assert [r.event["data"]["order_id"] for r in receiver.received[count:]] == [elsewhere.id]
    assert any(n.order_id == late.id and "disabled" in n.why for n, _ in (await world.outbox.view()).dead)
    assert await world.outbox.enable("MDN-01", host.upper())
    assert not await world.outbox.enable("MDN-01", host)
    assert await world.outbox.replay_all(None) > 0
    await world.send()
    world.now_ms += 10_000
    await world.send()
    assert late.id in {r.event["data"]["order_id"] for r in receiver.received[count + 1 :]}


async def test_a_receiver_that_is_gone_for_good_is_not_asked_again(world: Post, receiver: Receiver) -> None:
    receiver.always = 410
    await world.cancelled(receiver.at("/"))
    await world.send()
    view = await world.outbox.view()
    assert (view.pending, view.given_up, view.endpoints[0].disabled_ms) == (0, 1, world.now_ms)


# ---- secrets


async def test_during_the_overlap_of_a_rotation_both_secrets_verify(world: Post, receiver: Receiver) -> None:
    old = (await world.outbox.secrets(OFFICE)).current
    new = (await world.outbox.rotate(OFFICE, HOUR_MS, world.now_ms)).current
    await world.cancelled(receiver.at("/"))
    await world.send()
    world.now_ms += HOUR_MS + 1
    await world.cancelled(receiver.at("/"))
    await world.send()
    during, after = receiver.received
    assert [verifies(during, s) for s in (old, new)] == [True, True]
    assert [verifies(after, s) for s in (old, new)] == [False, True]


async def test_secrets_are_sealed_and_outlive_a_change_of_keys(world: Post) -> None:
    secret = (await world.outbox.secrets(OFFICE)).current
    sealed = await world.redis.hget(keys.WEBHOOK_SECRETS, OFFICE)
    assert sealed is not None
    assert secret.removeprefix("whsec_").encode() not in sealed
    new = VaultKey("new", b"n" * 32)
    ring = Vault([new, VaultKey("test", bytes(32))])
    both = Outbox(world.scripts, ring)
    with pytest.raises(Unreadable, match="key new is not in use in this Redis"):
        await both.rotate(OFFICE, HOUR_MS, world.now_ms)
    await note_vault(world.redis, ring)
    assert [await both.reseal_secrets(), await both.reseal_secrets()] == [1, 0]
    assert (await Outbox(world.scripts, Vault([new])).secrets(OFFICE)).current == secret
    with pytest.raises(Unreadable):
        await world.outbox.secrets(OFFICE)


async def test_many_who_ask_first_get_the_same_secret(world: Post) -> None:
    secrets = await asyncio.gather(*(world.outbox.secrets(OFFICE) for _ in range(10)))
    assert len({s.current for s in secrets}) == 1


# ---- ops


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def test_ops_see_replay_and_enable_over_http(gateway: Gateway, receiver: Receiver) -> None:
    world = Post(gateway.parts.redis)
    receiver.always = 410
    order = await world.cancelled(receiver.at("/"))
    await world.send()
    shown = await (await gateway.call("GET", "/v1/ops/webhooks", role="ops")).json()
    assert (shown["pending"], shown["given_up"], shown["oldest_due_at"]) == (0, 1, None)
    [notice], [address] = shown["notices"], shown["disabled"]
    assert (notice["order_id"], notice["type"], notice["why"]) == (order.id, "order.cancelled", "status 410")
    assert address["host"] == receiver.url.removeprefix("http://")
    measured = await (await gateway.call("GET", "/metrics", role="ops")).text()
    assert 'antrean_webhook_notices{state="given_up"} 1.0' in measured
    assert 'antrean_webhook_addresses{state="disabled"} 1.0' in measured

    receiver.always = 204
    wanted = {"office": address["office"], "host": address["host"]}
    enabled = await gateway.call("POST", "/v1/ops/webhooks/enable", role="ops", json=wanted)
    assert await enabled.json() == {"enabled": True}
    replayed = await gateway.call("POST", "/v1/ops/webhooks/replay", role="ops", json={"ids": [notice["id"]]})
    assert await replayed.json() == {"replayed": 1}
    await world.send()
    assert receiver.received[-1].id == notice["id"]
    await world.sender.aclose()


async def test_ops_read_and_rotate_an_offices_secret(gateway: Gateway) -> None:
    path = f"/v1/ops/webhook-secrets/{OFFICE}"
    note = await gateway.parts.redis.hget(keys.RING, VAULT.primary)
    await gateway.parts.redis.delete(keys.RING)
    refused = await gateway.call("GET", path, role="ops")
    assert (refused.status, (await refused.json())["type"]) == (503, "/problems/unavailable")
    await gateway.parts.redis.hset(keys.RING, VAULT.primary, note)
    first = await (await gateway.call("GET", path, role="ops")).json()
    assert await (await gateway.call("GET", path, role="ops")).json() == first
    rotated = await (await gateway.call("POST", path, role="ops", json={"overlap_s": 60})).json()
    assert rotated["secret"] != first["secret"]
    assert rotated["previous_until"] is not None
    assert await (await gateway.call("GET", path, role="ops")).json() == rotated
    assert (await gateway.call("GET", "/v1/ops/webhook-secrets/-x", role="ops")).status == 404
