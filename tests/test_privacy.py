"""Personal data: sealed at rest, shown in full to few and noted, erased in time; the books do not suffer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import orjson
import pytest
from redis.asyncio import Redis

from antrean.config.personal_keys import retire_keys, say_sealing
from antrean.config.settings import Settings
from antrean.gateway.access_log import AccessLog
from antrean.gateway.keys import Principal, Role
from antrean.orders import accesses, ids, keys
from antrean.orders.commit import GroupCommit
from antrean.orders.erasure import DAY_MS, Eraser
from antrean.orders.model import IllegalMove, Order, StoreUnavailable, SubmitRefused, Taxpayer
from antrean.orders.resealing import reseal
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.turn_ends import Outcome
from antrean.orders.vault import Unreadable, Vault, VaultKey, sealing_key
from gateway_support import NAME, NIK, OTHER, Gateway, affix, running_gateway
from orders_support import DIGEST_KEY, VAULT, World, new_order, note_vault

PERSON = Taxpayer("KTP", NIK, NAME)
RETENTION_DAYS = 60


@pytest.fixture(name="world")
async def _world(redis: Redis) -> World:
    await note_vault(redis)
    return World(redis)


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


def store_with(world: World, *ring: VaultKey) -> OrderStore:
    """The world's orders through another ring."""
    return OrderStore(
        world.scripts, GroupCommit(world.scripts, "submit"), world.limits, vault=Vault(ring, DIGEST_KEY)
    )


async def everything(redis: Redis) -> bytes:
    """All that Redis holds, values and names."""
    found = []
    async for key in redis.scan_iter(count=1000):
        found += [key, await redis.dump(key) or b""]
        kind = await redis.type(key)
        if kind == b"hash":
            found += [part for pair in (await redis.hgetall(key)).items() for part in pair]
        elif kind == b"string":
            found.append(await redis.get(key) or b"")
    return b"\n".join(found)


# ---- at rest


async def test_number_and_name_are_nowhere_in_redis_in_clear(world: World) -> None:
    order = await world.submit()
    affixed = await world.affix()
    kept = await everything(world.redis)
    assert order.id.encode() in kept
    for secret in (NIK, NAME, "Aminah", "Siti"):
        assert secret.encode() not in kept
    assert world.store.personal.taxpayer_of(await world.order(affixed.id)) == PERSON


async def test_the_record_shows_them_masked_without_a_key(world: World) -> None:
    order = await world.submit()
    assert order.masked == Taxpayer("KTP", "1271********0001", "S*** A***")
    assert NIK not in repr(order)
    assert order.personal is not None


async def test_sealed_data_moved_to_another_order_does_not_open(world: World) -> None:
    one, two = await world.submit(), await world.submit()
    await world.redis.hset(keys.ORDER + two.id, "pii", await world.redis.hget(keys.ORDER + one.id, "pii"))
    with pytest.raises(Unreadable):
        world.store.personal.taxpayer_of(await world.order(two.id))


async def as_version_0_1_wrote_it(world: World, order: Order) -> None:
    """The record with the person in clear in its body."""
    key = keys.ORDER + order.id
    taxpayer = {"identity_type": "KTP", "identity_number": NIK, "name": NAME}
    body = {"document": order.document, "taxpayer": taxpayer, "placement": order.placement}
    body |= {"document_id": order.document_id} if order.document_id else {}
    await world.redis.hset(key, "body", orjson.dumps(body).decode())
    await world.redis.hdel(key, "pii")


async def test_records_in_clear_are_still_read_bought_for_and_masked(world: World) -> None:
    order = await world.submit()
    await as_version_0_1_wrote_it(world, order)
    found = await world.order(order.id)
    assert found.masked == order.masked
    assert world.store.personal.taxpayer_of(found) == PERSON
    await world.beat("w1")
    assert await world.worker().run(order.id) is Outcome.COMPLETED


async def test_a_change_of_keys_seals_every_record_anew_and_the_old_key_can_go(world: World) -> None:
    old, new = VaultKey("old", b"o" * 32), VaultKey("new", b"n" * 32)
    before, both, after = store_with(world, old), store_with(world, new, old), store_with(world, new)
    for store in (before, both):
        await note_vault(world.redis, store.personal.vault)
    order, *_ = await before.submit(new_order(idempotency_key="the same"))
    clear, *_ = await before.submit(new_order())
    await as_version_0_1_wrote_it(world, clear)
    erased, *_ = await before.submit(new_order())
    await before.cancel(erased.id)
    await Eraser(before, world.documents).erase(erased.id, "asked for")

    assert both.personal.taxpayer_of(await world.order(order.id)) == PERSON
    assert [await reseal(both, o.id) for o in (order, clear, erased)] == [True, True, False]
    assert [await reseal(both, o.id) for o in (order, clear, erased)] == [False, False, False]
    for sealed_anew in (order, clear):
        found = await world.order(sealed_anew.id)
        assert isinstance(found.personal, bytes)
        assert sealing_key(found.personal) == "new"
        assert after.personal.taxpayer_of(found) == PERSON
    assert NIK.encode() not in await everything(world.redis)
    with pytest.raises(Unreadable):
        before.personal.taxpayer_of(await world.order(order.id))

    # Repeats are told from reuses before and after.
    for store in (both, after):
        again, replayed, _ = await store.submit(new_order(idempotency_key="the same"))
        assert (again.id, replayed) == (order.id, True)
        with pytest.raises(SubmitRefused):
            await store.submit(new_order(idempotency_key="the same", fingerprint="another"))


async def test_no_order_is_sealed_with_a_key_that_was_retired_and_its_repeat_is_still_known(
    world: World,
) -> None:
    old, new = VaultKey("old", b"o" * 32), VaultKey("new", b"n" * 32)
    before, both = store_with(world, old), store_with(world, new, old)
    for store in (before, both):
        await note_vault(world.redis, store.personal.vault)
    order, *_ = await before.submit(new_order(idempotency_key="of before"))
    await retire_keys(both.personal.vault, world.scripts)
    with pytest.raises(SubmitRefused) as refused:
        await before.submit(new_order())
    assert refused.value.reason == "not-ready"
    assert (await before.submit(new_order(idempotency_key="of before"))).order.id == order.id
    assert (await both.submit(new_order())).order.state is State.QUEUED
    assert [len(await say_sealing(s.personal.vault, world.scripts)) for s in (before, both)] == [1, 0]
    await world.redis.flushdb()
    (said,) = await say_sealing(both.personal.vault, world.scripts)
    assert "what Redis kept is gone" in said
    with pytest.raises(SubmitRefused):
        await both.submit(new_order())


async def test_a_worker_with_the_wrong_keys_buys_nothing_and_leaves_the_order_to_others(world: World) -> None:
    order = await world.submit()
    right = world.store
    world.store = store_with(world, VaultKey("other", b"x" * 32))
    await world.beat("w1", "w2")
    assert await world.worker("w1").run(order.id) is Outcome.RELEASED
    assert world.upstream.calls["generate"] == 0
    world.store = right
    world.now_ms += 30_000
    await world.sweep()
    assert await world.worker("w2").run(order.id) is Outcome.COMPLETED


async def test_the_digest_of_a_submission_is_of_no_use_without_the_keys(world: World) -> None:
    new = new_order(fingerprint="a" * 64)
    await world.store.submit(new)
    [key] = [k async for k in world.redis.scan_iter(keys.IDEMPOTENCY + "*")]
    value = await world.redis.get(key)
    assert isinstance(value, bytes)
    kept = value[ids.PACKED_BYTES :]
    assert kept == VAULT.digest(new.fingerprint)[: len(kept)]
    assert len(kept) == 8
    assert not new.fingerprint.startswith(kept.hex())
    assert Vault([VaultKey("test", bytes(32))], b"x" * 32).digest(new.fingerprint)[:8] != kept


# ---- erasure


async def completed_affix(world: World, **changes: object) -> Order:
    order = await world.affix(**changes)
    await world.beat("w1")
    worker = world.worker()
    await worker.run(order.id)
    await worker.run(order.id)
    done = await world.order(order.id)
    assert done.state is State.COMPLETED
    return done


async def test_when_its_time_is_over_person_and_documents_go_and_the_books_stay(world: World) -> None:
    done = await completed_affix(world, idempotency_key="kept")
    before = await world.totals()
    eraser = Eraser(world.store, world.documents, RETENTION_DAYS)
    world.now_ms += RETENTION_DAYS * DAY_MS - 1000
    assert await eraser.run_once() is False
    assert (await world.order(done.id)).erased_ms is None
    world.now_ms += 2000
    await eraser.run_once()

    erased = await world.order(done.id)
    assert (erased.masked, erased.personal, erased.document.filename) == (None, None, "erased")
    assert erased.erased_ms == world.now_ms
    assert (erased.state, erased.serial_number) == (State.COMPLETED, done.serial_number)
    assert erased.history[:-1] == done.history
    assert erased.history[-1].note == "personal data erased, its time is over"
    assert world.documents.kept == {}
    assert await world.totals() == before
    await world.assert_books_balance()
    assert not await world.redis.zcard(keys.ERASE)
    with pytest.raises(Unreadable):
        world.store.personal.taxpayer_of(erased)
    kept = await everything(world.redis)
    assert not any(trace in kept for trace in (b"1271****", b"S***", b"surat.pdf"))

    # Its idempotency key ends by its own 60 days; until then a repeat finds the erased order.
    again, replayed, _ = await world.store.submit(
        new_order(
            idempotency_key="kept", kind="affix", document_id=done.document_id, placement=done.placement
        )
    )
    assert (again.id, replayed, again.erased_ms) == (done.id, True, world.now_ms)


@pytest.mark.parametrize("end", ["cancelled", "rejected"])
async def test_orders_that_came_to_nothing_are_erased_as_well(world: World, end: str) -> None:
    order = await world.submit()
    if end == "cancelled":
        await world.store.cancel(order.id)
    else:
        await world.beat("w1")
        claim = await world.store.claim(order.id, "w1", "1")
        assert claim is not None
        await world.store.begin(claim.order, "2", State.BUYING, "", 1)
        await world.store.refuse(claim.order, "3", "reject", "44", "no", 1)
    world.now_ms += RETENTION_DAYS * DAY_MS + 1
    await Eraser(world.store, world.documents, RETENTION_DAYS).run_once()
    assert (await world.order(order.id)).erased_ms is not None


async def test_an_order_that_is_not_at_its_end_is_never_erased(world: World) -> None:
    waiting, asking = await world.submit(), await world.submit()
    claim = await world.store.claim(asking.id, "w1", "1")
    assert claim is not None
    await world.store.refuse(claim.order, "2", "attend", "x", "a person decides", 0)
    world.now_ms += 1000 * DAY_MS
    eraser = Eraser(world.store, world.documents, RETENTION_DAYS)
    await eraser.run_once()
    for order in (waiting, asking):
        with pytest.raises(IllegalMove):
            await eraser.erase(order.id, "now")
        assert (await world.order(order.id)).masked is not None


async def test_an_upload_stays_until_the_last_order_that_uses_it_is_erased(world: World) -> None:
    first = await completed_affix(world)
    second = await world.submit(kind="affix", document_id=first.document_id, placement=first.placement)
    eraser = Eraser(world.store, world.documents)
    for _ in range(3):
        await eraser.erase(first.id, "asked for")
    assert f"upload {first.document_id}" in world.documents.kept
    await world.store.cancel(second.id)
    await eraser.erase(second.id, "asked for")
    assert f"upload {first.document_id}" not in world.documents.kept
    with pytest.raises(SubmitRefused, match="document_id"):
        await world.submit(kind="affix", document_id=first.document_id, placement=first.placement)


async def test_an_erasure_that_was_cut_short_is_finished_at_the_next_step(world: World) -> None:
    done = await completed_affix(world)
    world.now_ms += RETENTION_DAYS * DAY_MS + 1
    eraser = Eraser(world.store, world.documents, RETENTION_DAYS)
    world.documents.broken = True
    assert await eraser.run_once() is False
    assert (await world.order(done.id)).erased_ms is None
    assert await world.redis.zcard(keys.ERASE) == 1
    world.documents.broken = False
    await eraser.run_once()
    assert (await world.order(done.id)).erased_ms is not None
    assert world.documents.kept == {}


async def test_an_erasure_tried_again_and_again_lets_go_of_its_upload_once(world: World) -> None:
    first = await completed_affix(world)
    await world.submit(kind="affix", document_id=first.document_id, placement=first.placement)
    world.documents.broken = True
    for _ in range(3):
        with pytest.raises(OSError, match="disk full"):
            await Eraser(world.store, world.documents).erase(first.id, "asked for")
    world.documents.broken = False
    await Eraser(world.store, world.documents).erase(first.id, "asked for")
    assert f"upload {first.document_id}" in world.documents.kept


async def test_a_document_that_can_not_be_deleted_does_not_keep_the_others(world: World) -> None:
    stuck, other = await completed_affix(world), await completed_affix(world)
    world.now_ms += RETENTION_DAYS * DAY_MS + 1
    real = world.documents.delete_stamped

    async def delete_stamped(order_id: str) -> None:
        if order_id == stuck.id:
            raise OSError("immutable")
        await real(order_id)

    world.documents.delete_stamped = delete_stamped  # type: ignore[method-assign]
    assert await Eraser(world.store, world.documents, RETENTION_DAYS).run_once() is False
    assert (await world.order(other.id)).erased_ms is not None
    assert (await world.order(stuck.id)).erased_ms is None


async def test_an_upload_that_no_order_took_is_deleted_when_it_is_forgotten(gateway: Gateway) -> None:
    unused = await (await gateway.upload()).json()
    used = await (await gateway.upload()).json()
    await gateway.order(body=affix(used["id"]))
    parts = gateway.parts
    await parts.redis.delete(keys.DOCUMENT + unused["id"])  # what its time to live does
    for document in (unused, used):
        await parts.redis.zadd(keys.UPLOADS, {document["id"]: 1})
    await Eraser(parts.store, parts.documents, RETENTION_DAYS).run_once()
    assert await parts.documents.get_upload(unused["id"]) is None
    assert await parts.documents.get_upload(used["id"]) is not None
    assert not await parts.redis.zcard(keys.UPLOADS)


async def test_ops_erase_on_request_and_the_order_says_so(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    body = affix(document["id"])
    order = await gateway.order(body=body, key="once")
    path = f"/v1/orders/{order['id']}/erase"
    early = await gateway.call("POST", path, role="ops", json={"reason": "asked for"})
    assert (early.status, (await early.json())["type"]) == (409, "/problems/not-erasable")
    await gateway.complete_affix(order["id"])
    answer = await gateway.call("POST", path, role="ops", json={"reason": "asked for"})
    shown = await answer.json()
    assert answer.status == 200
    assert (shown["taxpayer"], shown["state"], shown["document_url"]) == (None, "completed", None)
    assert shown["erased_at"] is not None
    assert shown["history"][-1]["note"].endswith(": asked for")
    for what in ("document", "qr"):
        gone = await gateway.call("GET", f"/v1/orders/{order['id']}/{what}")
        assert (gone.status, (await gone.json())["type"]) == (410, "/problems/erased")
    supervised = await (await gateway.call("GET", f"/v1/orders/{order['id']}", role="supervisor")).json()
    assert supervised["taxpayer"] is None
    repeated = await gateway.submit(body=body, key="once")
    assert (repeated.status, repeated.headers["Idempotent-Replayed"]) == (202, "true")


# ---- who looked


async def test_who_saw_the_number_or_fetched_the_document_is_noted_once_a_minute(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    order = await gateway.order(body=affix(document["id"]))
    await gateway.complete_affix(order["id"])
    own = f"/v1/orders/{order['id']}"
    for _ in range(3):
        await gateway.call("GET", own, role="terminal")
        shown = await (await gateway.call("GET", own, role="supervisor")).json()
        await gateway.call("GET", f"{own}/document", role="terminal")
    page = f"/v1/documents/{document['id']}/pages/1.png"
    assert (await gateway.call("GET", page, role="supervisor")).status == 200
    assert (shown["taxpayer"]["identity_number"], shown["taxpayer"]["name"]) == (NIK, NAME)
    listed = await (await gateway.call("GET", "/v1/orders", role="supervisor")).json()
    assert listed["orders"][0]["taxpayer"]["name"] == NAME

    answer = await gateway.call("GET", f"{own}/access", role="supervisor")
    rows = (await answer.json())["access"]
    assert [(row["actor"].partition(":")[0], row["what"]) for row in rows] == [
        ("supervisor", "document"),
        ("terminal", "document"),
        ("supervisor", "identity"),
    ]
    assert (await gateway.call("GET", f"{own}/access", role="terminal")).status == 403
    assert (await gateway.call("GET", f"{own}/access", role="supervisor", office=OTHER)).status == 404
    assert (await gateway.call("GET", f"{own}/access", role="ops")).status == 200


async def test_a_list_of_orders_decrypts_nothing_for_a_terminal(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    await gateway.order()
    opened: list[str] = []
    real = Vault.open

    def counted(vault: Vault, sealed: bytes, context: str) -> bytes:
        opened.append(context)
        return real(vault, sealed, context)

    monkeypatch.setattr(Vault, "open", counted)
    shown = await (await gateway.call("GET", "/v1/orders")).json()
    assert shown["orders"][0]["taxpayer"]["name"] == "S*** A***"
    assert opened == []
    await gateway.call("GET", "/v1/orders", role="supervisor")
    assert len(opened) == 1


async def test_the_list_of_an_order_is_bounded_and_ends_in_time(redis: Redis) -> None:
    await accesses.write(redis, [accesses.Access("o", n, f"ops:{n}", "identity") for n in range(250)])
    rows = await accesses.read(redis, "o")
    assert [row.at_ms for row in rows] == list(range(249, 49, -1))
    assert 0 < await redis.ttl(keys.ACCESS + "o") <= accesses.KEPT_S


async def test_what_was_noted_while_redis_was_away_is_written_when_it_is_back(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = AccessLog(redis)
    log.note(Principal("k1", Role.SUPERVISOR, "MDN-01"), "o", "identity")

    async def away(*_: object) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(accesses, "write", away)
        with pytest.raises(StoreUnavailable):
            await log.flush()
    await log.flush()
    assert [row.actor for row in await accesses.read(redis, "o")] == ["supervisor:k1"]
