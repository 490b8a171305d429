"""Keys: shown once, kept as hashes, ended everywhere at once, replaced without a gap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.keys import CACHE_S, NO_OFFICE, KeyRing, Role, ensure_first_keys, register_given_keys
from antrean.orders import keys
from antrean.orders.model import StoreUnavailable
from gateway_support import OFFICE, Gateway, running_gateway

PATH = "/v1/ops/keys"


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def test_a_revoked_key_ends_at_once_and_an_expired_one_too(redis: Redis) -> None:
    now_ms = 1_000
    ring = KeyRing(redis, lambda: now_ms)
    text = await ring.create(Role.TERMINAL, OFFICE)
    expiring = await ring.create(Role.OPS, OFFICE, expires_ms=2_000)
    principal = await ring.verify(text)
    assert principal is not None
    assert (principal.role, principal.office) == (Role.TERMINAL, OFFICE)
    assert await ring.verify(expiring) is not None
    now_ms = 2_000
    assert await ring.verify(expiring) is None
    assert await ring.revoke(principal.key_id)
    assert await ring.verify(text) is None
    assert await KeyRing(redis).verify(text) is None
    assert not await ring.revoke("none")


async def test_a_key_is_named_by_its_id_or_whole(redis: Redis) -> None:
    ring = KeyRing(redis)
    text, record = await ring.make(Role.TERMINAL, OFFICE)
    assert [await ring.id_of(name) for name in (record.id, text)] == [record.id, record.id]
    assert [await ring.id_of(name) for name in ("", text[:-1], text + "x", "x" * 1000)] == [None] * 4


async def test_a_key_that_is_revoked_while_it_is_replaced_stays_revoked_and_gets_no_successor(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring, elsewhere = KeyRing(redis), KeyRing(redis)
    text, record = await ring.make(Role.TERMINAL, OFFICE)
    make, successors = ring.make, []

    async def make_slowly(*args: Any) -> Any:
        successors.append(await make(*args))
        await elsewhere.revoke(record.id)
        return successors[0]

    monkeypatch.setattr(ring, "make", make_slowly)
    assert await ring.rotate(record.id, overlap_ms=86_400_000) is None
    assert [await KeyRing(redis).verify(key) for key in (text, successors[0][0])] == [None, None]


async def test_no_gateway_takes_a_key_once_its_revocation_was_answered(redis: Redis) -> None:
    ring, elsewhere = KeyRing(redis), KeyRing(redis)
    text = await ring.create(Role.TERMINAL, OFFICE)
    principal = await elsewhere.verify(text)
    assert principal is not None
    await ring.revoke(principal.key_id)
    assert await elsewhere.verify(text) is None


async def test_a_replaced_key_goes_on_for_its_overlap_and_the_new_one_lives_as_long(redis: Redis) -> None:
    now_ms = 10_000
    ring = KeyRing(redis, lambda: now_ms)
    old, record = await ring.make(Role.TERMINAL, OFFICE, expires_ms=90_000)
    made = await ring.rotate(record.id, overlap_ms=5_000)
    assert made is not None
    new, successor = made
    assert (successor.replaces, successor.expires_ms, successor.office) == (record.id, 90_000, OFFICE)
    now_ms = 14_999
    await asyncio.sleep(CACHE_S)
    assert await ring.verify(old) is not None
    assert await ring.verify(new) is not None
    now_ms = 15_000
    assert await ring.verify(old) is None
    assert await ring.rotate(record.id, 0) is None
    now_ms = 90_000
    assert await ring.verify(new) is None


@pytest.mark.parametrize("life_ms", [None, 80_000])
async def test_a_key_that_is_replaced_once_more_gets_a_successor_that_lives_as_long_as_it_was_made_for(
    redis: Redis, life_ms: int | None
) -> None:
    """As where the first successor was lost on its way to the counter: by then the old key ends soon."""
    now_ms = 10_000
    ring = KeyRing(redis, lambda: now_ms)
    _, record = await ring.make(Role.TERMINAL, OFFICE, life_ms and now_ms + life_ms)
    for _ in range(3):
        now_ms += 1_000
        made = await ring.rotate(record.id, overlap_ms=5_000)
        assert made is not None
        assert made[1].expires_ms == (life_ms and now_ms + life_ms)
    first = next(key for key in await ring.list() if key.replaces == record.id)
    for _ in range(2):
        now_ms += 1_000
        made = await ring.rotate(first.id, overlap_ms=5_000)
        assert made is not None
        assert made[1].expires_ms == (life_ms and now_ms + life_ms)


async def test_an_overlap_of_nothing_ends_the_old_key_on_every_gateway(redis: Redis) -> None:
    ring, elsewhere = KeyRing(redis), KeyRing(redis)
    old, record = await ring.make(Role.OPS, OFFICE)
    assert await elsewhere.verify(old) is not None
    assert await ring.rotate(record.id, 0) is not None
    assert await elsewhere.verify(old) is None


@pytest.mark.parametrize("office", ["", "a b", "x" * 33, "*", "../etc"])
async def test_a_key_of_no_office_is_not_made_for_a_counter(redis: Redis, office: str) -> None:
    with pytest.raises(ValueError, match="office"):
        await KeyRing(redis).create(Role.TERMINAL, office)


async def test_no_key_is_kept_in_a_form_that_opens_anything(redis: Redis) -> None:
    ring = KeyRing(redis)
    text = await ring.create(Role.OPS, OFFICE)
    kept = repr(await redis.hgetall(keys.API_KEYS))
    assert text not in kept
    assert text.split("_", 3)[3] not in kept
    assert await ring.verify((await ring.list())[0].digest) is None


async def test_first_keys_are_made_once_and_bootstrap_keys_work(redis: Redis, settings: Settings) -> None:
    ring = KeyRing(redis)
    made = await ensure_first_keys(ring, settings)
    assert [(role, office) for role, office, _ in made] == [(Role.TERMINAL, "DEMO-01"), (Role.OPS, "DEMO-01")]
    assert await ensure_first_keys(ring, settings) == []
    given = "a bootstrap key of more than 32 characters"
    fixed = settings.model_copy(update={"bootstrap_ops_key": type(settings.upstream_password)(given)})
    assert await ensure_first_keys(ring, fixed) == []
    principal = await ring.verify(given)
    assert principal is not None
    assert principal.role is Role.OPS
    assert await ensure_first_keys(ring, fixed) == []
    assert len(await ring.list()) == 3


async def test_a_gateway_alone_takes_the_bootstrap_keys_and_a_revoked_one_stays_revoked(
    redis: Redis, settings: Settings
) -> None:
    given = "a bootstrap key of more than 32 characters"
    fixed = settings.model_copy(update={"bootstrap_ops_key": type(settings.upstream_password)(given)})
    ring = KeyRing(redis)
    assert await register_given_keys(ring, fixed) == {Role.OPS}
    assert await ring.verify(given) is not None
    await ring.revoke((await ring.list())[0].id)
    await register_given_keys(ring, fixed)
    assert await ring.verify(given) is None


async def _made(gateway: Gateway, **body: Any) -> dict[str, Any]:
    answer = await gateway.call("POST", PATH, role="ops", json=body)
    assert answer.status == 201, await answer.text()
    made: dict[str, Any] = await answer.json()
    return made


async def _with(gateway: Gateway, key: str) -> int:
    answer = await gateway.client.get("/v1/orders", headers={"Authorization": f"Bearer {key}"})
    return answer.status


async def test_ops_make_list_replace_and_revoke_keys_over_http(gateway: Gateway) -> None:
    made = await _made(gateway, role="terminal", office="BDG-02", expires_in_s=3600)
    assert (made["role"], made["office"], made["replaces"]) == ("terminal", "BDG-02", None)
    assert await _with(gateway, made["key"]) == 200

    async def listed(key_id: str) -> dict[str, Any]:
        answer = await gateway.call("GET", PATH, role="ops")
        text = await answer.text()
        assert made["key"] not in text
        found: dict[str, Any] = next(k for k in (await answer.json())["keys"] if k["id"] == key_id)
        assert set(found) == set(made) - {"key"}
        return found

    end_s = time.monotonic() + 5
    while (await listed(made["id"]))["last_used_at"] is None:
        assert time.monotonic() < end_s

    rotated = await gateway.call("POST", f"{PATH}/{made['id']}/rotate", role="ops", json={"overlap_s": 60})
    successor = await rotated.json()
    assert (rotated.status, successor["replaces"]) == (201, made["id"])
    assert (await _with(gateway, made["key"]), await _with(gateway, successor["key"])) == (200, 200)

    for _ in range(2):
        revoked = await gateway.call("DELETE", f"{PATH}/{made['id']}", role="ops")
        assert (revoked.status, (await revoked.json())["revoked_at"] is None) == (200, False)
    assert (await _with(gateway, made["key"]), await _with(gateway, successor["key"])) == (401, 200)
    ended = await gateway.call("POST", f"{PATH}/{made['id']}/rotate", role="ops")
    assert (ended.status, (await ended.json())["type"]) == (409, "/problems/key-ended")


async def test_a_key_for_ops_needs_no_office(gateway: Gateway) -> None:
    made = await _made(gateway, role="ops")
    assert (made["role"], made["office"]) == ("ops", NO_OFFICE)
    assert await _with(gateway, made["key"]) == 200


async def test_nobody_locks_himself_out_and_an_unknown_key_is_not_found(gateway: Gateway) -> None:
    mine = gateway.keys["ops", OFFICE].split("_")[2]
    refused = await gateway.call("DELETE", f"{PATH}/{mine}", role="ops")
    assert (refused.status, (await refused.json())["type"]) == (409, "/problems/key-in-use")
    assert (await gateway.call("DELETE", f"{PATH}/none", role="ops")).status == 404
    assert (await gateway.call("POST", f"{PATH}/none/rotate", role="ops")).status == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"role": "boss", "office": "X"}, "role"),
        ({"role": "terminal"}, "office"),
        ({"role": "terminal", "office": "a/b"}, "office"),
        ({"role": "ops", "office": "X", "expires_in_s": 0}, "expires_in_s"),
        ({"role": "ops", "office": "X", "secret": "x"}, "secret"),
    ],
)
async def test_a_key_that_can_not_be_made_is_refused_with_the_field(
    gateway: Gateway, body: dict[str, Any], field: str
) -> None:
    answer = await gateway.call("POST", PATH, role="ops", json=body)
    assert (answer.status, (await answer.json())["errors"][0]["field"]) == (422, field)


async def test_a_key_from_the_settings_is_ended_at_the_machine_only(gateway: Gateway) -> None:
    text = "a bootstrap key of more than 32 characters"
    await gateway.parts.keys.register(text, Role.TERMINAL, OFFICE)
    fixed = next(record for record in await gateway.parts.keys.list() if record.fixed)
    for method, path in (("DELETE", f"{PATH}/{fixed.id}"), ("POST", f"{PATH}/{fixed.id}/rotate")):
        refused = await gateway.call(method, path, role="ops")
        assert (refused.status, (await refused.json())["type"]) == (409, "/problems/key-fixed")
    assert await _with(gateway, text) == 200
    assert await gateway.parts.keys.revoke(fixed.id)
    assert await _with(gateway, text) == 401


async def test_a_given_key_that_is_known_is_not_written_again(
    redis: Redis, make_settings: Callable[..., Settings]
) -> None:
    """A full server refuses every write; a gateway must start on it."""
    ring, given = KeyRing(redis), make_settings(bootstrap_ops_key="k" * 40)
    await register_given_keys(ring, given)
    used = (await redis.info("memory"))["used_memory"]
    await redis.config_set("maxmemory", used // 2)
    try:
        with pytest.raises(StoreUnavailable, match="refuses"):
            await ring.create(Role.OPS, OFFICE)
        assert await register_given_keys(ring, given) == {Role.OPS}
    finally:
        await redis.config_set("maxmemory", 0)
