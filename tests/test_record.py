"""What a held order takes: its record leaves out what is as at acceptance, its key is packed, and nothing is lost."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from antrean.orders import ids, keys, listing
from antrean.orders.asking import asked
from antrean.orders.entropy import ALPHABET
from antrean.orders.model import SubmitRefused
from antrean.orders.record import whole
from antrean.orders.states import State
from orders_support import VAULT, World, new_order

#: What a purchase with nothing optional in it must say of itself. One more is paid for by a million held orders.
FIELDS = {b"office", b"kind", b"body", b"score", b"number", b"token", b"made", b"state", b"pii"}


@pytest.fixture
def world(redis: Redis) -> World:
    return World(redis)


async def record(world: World, order_id: str) -> dict[bytes, bytes]:
    kept: Any = await asked(world.redis.hgetall(keys.ORDER + order_id))
    return dict(kept)


async def test_a_held_order_keeps_no_field_that_is_known_without_it(world: World) -> None:
    order = await world.submit()
    assert set(await record(world, order.id)) == FIELDS
    assert await world.order(order.id) == order
    assert (order.version, order.calls, order.fence, order.updated_ms) == (1, 0, "0", order.created_ms)


async def test_what_was_given_is_kept(world: World) -> None:
    given_too = {
        "reference": "R-1",
        "deadline_ms": world.now_ms + 60_000,
        "webhook_url": "https://a.example/",
    }
    order = await world.submit(**given_too)
    assert set(await record(world, order.id)) == FIELDS | {b"ref", b"deadline", b"hook"}
    assert await world.order(order.id) == order
    assert (order.reference, order.deadline_ms) == ("R-1", given_too["deadline_ms"])


async def test_a_script_and_python_know_the_same_of_a_fresh_record(world: World) -> None:
    order = await world.submit()
    fresh = whole(await record(world, order.id), order.id)
    await world.store.cancel(order.id)
    after = await record(world, order.id)
    lines = after[b"hist"].split(b"\n")
    assert lines[0] == fresh[b"hist"]
    assert len(lines) == 2
    assert int(after[b"ver"]) == int(fresh[b"ver"]) + 1


async def test_the_first_claim_has_the_token_after_that_of_a_fresh_record(world: World) -> None:
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "op")
    assert claim is not None
    assert int(claim.order.fence) == int(order.fence) + 1
    assert claim.order.id == order.id


async def test_orders_without_a_reference_are_told_from_those_with_one(world: World) -> None:
    await world.submit()
    named = await world.submit(reference="R-2")
    page = await listing.page(world.redis, listing.Filter(reference="R-2"), None, 10)
    assert [order.id for order in page.orders] == [named.id]


async def test_those_that_are_not_done_are_found_and_of_an_office_with_none_no_record_is_read(
    world: World,
) -> None:
    first, second = [await world.submit() for _ in range(2)]
    wanted = listing.Filter(office=first.office, is_open=True)
    await world.store.cancel(second.id)
    page = await listing.page(world.redis, wanted, None, 10)
    assert ([order.id for order in page.orders], page.next_cursor) == ([first.id], None)
    await world.store.cancel(first.id)
    await world.redis.config_resetstat()
    page = await listing.page(world.redis, wanted, None, 10)
    assert (page.orders, page.next_cursor) == ((), None)
    assert "cmdstat_hmget" not in await asked(world.redis.info("commandstats"))


async def test_a_webhook_tells_of_an_order_without_a_reference(world: World) -> None:
    order = await world.submit(webhook_url="https://a.example/")
    await world.store.cancel(order.id)
    (notice,) = (await asked(world.redis.hgetall(keys.NOTICES))).values()
    assert b'"ref":""' in notice


# ---- the idempotency key


async def test_an_idempotency_key_takes_one_block(world: World) -> None:
    order = await world.submit(office="a-very-long-office-name-of-32-ch", idempotency_key="k" * 128)
    (key,) = [key async for key in world.redis.scan_iter(keys.IDEMPOTENCY + "*")]
    value = await asked(world.redis.get(key))
    # 16 bytes of head, 8 for its time, 3 + 4 around key and value: above 64 Valkey takes two blocks.
    assert (len(key), len(value)) == (17, 24)
    assert ids.unpacked(value[:16]) == order.id
    assert 59 * 86400 < await world.redis.ttl(key) <= 60 * 86400


async def test_the_same_key_of_two_offices_is_two_keys(world: World) -> None:
    one = await world.submit(office="A", idempotency_key="k")
    two = await world.submit(office="B", idempotency_key="k")
    assert one.id != two.id


async def test_a_key_that_layout_1_kept_is_still_known_and_its_reuse_refused(world: World) -> None:
    new = new_order(idempotency_key="as-before", fingerprint="f" * 32)
    first = await world.submit()
    name = f"{keys.IDEMPOTENCY_BEFORE}{new.office}:{hashlib.sha256(b'as-before').hexdigest()[:32]}"
    for kept in (VAULT.digest(new.fingerprint).hex()[:32], new.fingerprint):
        await world.redis.set(name, f"{first.id} {kept}")
        again, replayed, _ = await world.store.submit(new)
        assert (again.id, replayed) == (first.id, True)
    await world.redis.set(name, f"{first.id} {'0' * 32}")
    with pytest.raises(SubmitRefused, match="another body"):
        await world.store.submit(new)
    assert (await world.store.situation()).by_state[State.QUEUED] == 1


@given(st.integers(0, 2**48 - 1), st.text(ALPHABET, min_size=31, max_size=31))
def test_an_id_is_packed_and_unpacked(now_ms: int, random: str) -> None:
    names = ids.new_names(now_ms, lambda count: random[:count].encode())
    assert names.id == ids.new_id(now_ms, lambda count: random[:count].encode())
    assert (ids.is_id(names.id), ids.is_token(names.token)) == (True, True)
    assert ids.time_ms(names.id) == now_ms
    assert ids.unpacked(names.packed) == names.id
    assert len(names.packed) == ids.PACKED_BYTES
