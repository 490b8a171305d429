"""A serial number is for one order: those in the pool, those given with an affix, those of orders that nobody knows."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.orders import ids, keys
from antrean.orders.codes import Code
from antrean.orders.ledger import Ledger
from antrean.orders.model import IllegalMove, Order, StoreUnavailable, SubmitRefused
from antrean.orders.reconcile import reconcile
from antrean.orders.states import State
from antrean.provider.errors import OutcomeUnknown, Rejected, Unavailable
from antrean.provider.protocol import SerialPage
from archive_support import Shelf
from cli_support import antrean
from gateway_support import running_gateway
from orders_support import World
from test_resolve import asked_about, look
from upstream_model import Sold

SERIAL = "389UY343AP0GE9A40000A9"


async def in_pool(world: World) -> None:
    """SERIAL was bought for an order that was withdrawn meanwhile."""
    gone = await world.submit()
    await world.store.cancel(gone.id)
    assert await world.store.found(gone.id, SERIAL, "found", walk=True) is Code.POOL_EMPTY


async def archived(redis: Redis, folder: Path, end: str) -> tuple[Shelf, Order]:
    """A shelf on which all orders are in the archive, and the one of them that ended so."""
    shelf = Shelf(redis, folder)
    order = (await shelf.finished())[end]
    shelf.later()
    await shelf.move()
    assert await shelf.in_redis() == set()
    return shelf, order


@pytest.mark.parametrize("office", ["MDN-01", "JKT-07"])
async def test_one_in_the_pool_can_not_be_named_by_an_affix(world: World, office: str) -> None:
    await in_pool(world)
    with pytest.raises(SubmitRefused, match="not one of this office"):
        await world.affix(serial_number=SERIAL, office=office)
    await world.beat("w1")
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "op")
    assert claim is not None
    assert await world.store.take_from_pool(claim.order, "op2") == SERIAL
    await world.assert_books_balance()


async def test_one_that_an_affix_was_given_does_not_go_to_the_pool_nor_to_another_order(world: World) -> None:
    affix, gone = await world.affix(serial_number=SERIAL), await world.submit()
    for order_id in (gone.id, ids.new_id(world.now_ms)):
        assert await world.store.found(order_id, SERIAL, "found", walk=True) is Code.MISSING
    assert await world.redis.hlen(keys.POOL) == 0
    assert (await world.order(gone.id)).state is State.QUEUED
    assert await world.redis.hget(keys.SERIAL_USE, SERIAL) == affix.id.encode()


async def test_one_of_an_order_that_nobody_knows_goes_to_nobody(world: World) -> None:
    assert await world.store.found(ids.new_id(world.now_ms), SERIAL, "found", walk=True) is Code.MISSING
    assert await world.redis.hlen(keys.POOL) == 0


async def test_one_of_an_archived_order_that_ended_without_is_used_for_the_next(
    redis: Redis, tmp_path: Path
) -> None:
    shelf, cancelled = await archived(redis, tmp_path, "cancelled")
    assert await shelf.store.found(cancelled.id, SERIAL, "found", walk=True) is Code.POOL_EMPTY
    assert await redis.hkeys(keys.POOL) == [SERIAL.encode()]


async def needs_a_person(world: World) -> Order:
    """A purchase that has the SN "SN2", which can not be used."""
    await world.beat("w1")
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "op")
    assert claim is not None
    await world.store.begin(claim.order, "op2", State.BUYING, "asking", 1)
    await world.store.bought(claim.order, "op3", "SN2", 1)
    await world.store.refuse(claim.order, "op4", "attend", "92", "The SN can not be used.", 1)
    return await world.order(order.id)


async def test_one_of_a_purchase_that_waits_for_a_person_is_given_to_no_affix(world: World) -> None:
    order = await needs_a_person(world)
    with pytest.raises(SubmitRefused) as refused:
        await world.affix(serial_number="SN2")
    assert refused.value.reason == "purchase-not-completed"
    assert await world.redis.hget(keys.SERIAL_USE, "SN2") is None
    await world.store.replay(order.id, "auto", "ops")
    await world.worker("w1").run(order.id)
    assert (await world.order(order.id)).state is State.COMPLETED
    assert (await world.affix(serial_number="SN2")).state is State.QUEUED


@pytest.mark.parametrize("decide", ["refund", "new_serial"])
async def test_a_purchase_whose_sn_an_affix_uses_is_neither_refunded_nor_given_another(
    world: World, decide: str
) -> None:
    """No affix is let in to that any more; one of before is."""
    await in_pool(world)
    order = await needs_a_person(world)
    await world.redis.hset(keys.SERIAL_USE, "SN2", "an affix")
    before = await world.totals()
    refund = decide == "refund"
    decided = Ledger(world.store).refund(order.id, "") if refund else world.store.replay(order.id, decide, "")
    with pytest.raises(IllegalMove, match="used by another order"):
        await decided
    assert await world.totals() == before
    assert await world.redis.hget(keys.SERIAL_USE, "SN2") == b"an affix"
    assert await world.redis.hlen(keys.POOL) == 1


async def test_one_that_was_replaced_stamps_nothing_and_the_book_names_both(world: World) -> None:
    await in_pool(world)
    order = await needs_a_person(world)
    await world.store.replay(order.id, "new_serial", "ops")
    assert (await world.order(order.id)).serial_number == SERIAL
    await world.worker("w1").run(order.id)
    with pytest.raises(SubmitRefused) as refused:
        await world.affix(serial_number="SN2")
    assert refused.value.reason == "serial-in-use"
    rows = [e for e in await Ledger(world.store).entries(None, 100) if e.order_id == order.id]
    assert [(e.source, e.target, e.serial_number) for e in rows] == [
        ("", "held", ""),
        ("held", "bought_unused", "SN2"),
        ("bought_unused", "bought_unused", SERIAL),
    ]
    assert rows[-1].reason == "pool, in place of SN2"
    assert (await world.totals())["bought_unused"] == 10_000


async def test_an_affix_whose_own_sn_can_not_be_used_can_be_given_up_and_the_sn_is_free_again(
    world: World,
) -> None:
    await world.beat("w1")
    order = await world.affix(serial_number=SERIAL)
    claim = await world.store.claim(order.id, "w1", "op")
    assert claim is not None
    await world.store.refuse(claim.order, "op2", "attend", "97", "The SN can not be used.", 1)
    assert (await world.order(order.id)).decisions == ["auto", "cancel"]
    before = await world.totals()
    await world.store.cancel(order.id, "ops:1: the paper is lost")
    ended = await world.order(order.id)
    assert (ended.state, ended.history[-1].note) == (State.CANCELLED, "ops:1: the paper is lost")
    assert await world.totals() == before
    assert (await world.affix(serial_number=SERIAL)).state is State.QUEUED
    bought = await needs_a_person(world)
    with pytest.raises(IllegalMove):
        await world.store.cancel(bought.id)


async def stamped_perhaps(world: World, how: str) -> Order:
    """An affix in line again that brought SERIAL; the adapter may have stamped it."""
    world.upstream.sold.append(Sold(SERIAL, "another.pdf"))
    order = await world.affix(serial_number=SERIAL)
    if how == "worker gone":
        await world.beat("w1")
        claim = await world.store.claim(order.id, "w1", "op")
        assert claim is not None
        assert await world.store.begin(claim.order, "op2", State.STAMPING, "being stamped", 1)
        world.now_ms += 60_000
        await world.sweep()
        return await world.order(order.id)
    if how == "answer lost":
        world.upstream.faults["stamp"] = [OutcomeUnknown("no answer")]
    worker = world.worker()
    if how == "unsound":
        worker._verify = AsyncMock(side_effect=ValueError("nothing was added to page 1"))
    await worker.run(order.id)
    return await world.order(order.id)


@pytest.mark.parametrize("how", ["answer lost", "unsound", "worker gone"])
async def test_one_that_may_be_stamped_already_is_for_no_other_paper(world: World, how: str) -> None:
    order = await stamped_perhaps(world, how)
    assert (order.state, order.stamped_perhaps) == (State.QUEUED, True)
    with pytest.raises(IllegalMove):
        await world.store.cancel(order.id)
    world.now_ms += 60_000
    await world.sweep()
    # What the adapter says of an SN that it has stamped is no proof that it did not do so for this order.
    world.upstream.faults["stamp"] = [Rejected("91", "stamped already")]
    await world.worker("w2").run(order.id)
    assert (await world.order(order.id)).state is State.ATTENTION
    with pytest.raises(SubmitRefused, match="used by another"):
        await world.affix(serial_number=SERIAL)
    # Whether the paper bears it is for somebody who can look, and not for the counter.
    with pytest.raises(IllegalMove):
        await world.store.cancel(order.id)
    await world.store.cancel(order.id, by_ops=True)
    assert (await world.affix(serial_number=SERIAL)).state is State.QUEUED


async def test_one_whose_stamping_did_not_happen_is_free_as_soon_as_its_affix_is_withdrawn(
    world: World,
) -> None:
    order = await world.affix(serial_number=SERIAL)
    world.upstream.faults["stamp"] = [Unavailable("too busy", sent=True)]
    await world.worker().run(order.id)
    await world.store.cancel(order.id)
    assert (await world.affix(serial_number=SERIAL)).state is State.QUEUED


async def test_a_stamping_of_which_only_the_intent_was_written_did_not_happen(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await world.affix(serial_number=SERIAL)
    begin = world.store.begin

    async def unanswered(*args: Any, **more: Any) -> Any:
        await begin(*args, **more)
        raise StoreUnavailable("the answer is lost")

    monkeypatch.setattr(world.store, "begin", unanswered)
    await world.worker().run(order.id)
    put_back = await world.order(order.id)
    assert (put_back.state, put_back.stamp_tried, put_back.stamped_perhaps) == (State.QUEUED, True, False)
    await world.store.cancel(order.id)


async def test_one_whose_order_can_not_be_looked_up_just_now_is_for_a_later_walk(
    redis: Redis, tmp_path: Path
) -> None:
    shelf, cancelled = await archived(redis, tmp_path, "cancelled")
    shelf.objects.fail = "get"
    assert await shelf.store.found(cancelled.id, SERIAL, "found", walk=True) is Code.STATE
    shelf.objects.fail = None
    assert await shelf.store.found(cancelled.id, SERIAL, "found", walk=True) is Code.POOL_EMPTY


async def test_a_second_one_of_an_archived_order_is_used_for_the_next(redis: Redis, tmp_path: Path) -> None:
    shelf, purchase = await archived(redis, tmp_path, "purchase")
    assert await shelf.store.found(purchase.id, SERIAL, "found", walk=True) is Code.POOL_EMPTY


@pytest.mark.parametrize(("as_sold", "as_listed"), [(str.upper, str.lower), (str.lower, str.upper)])
async def test_an_sn_that_the_list_writes_in_other_letters_is_the_same(
    world: World, as_sold: Callable[[str], str], as_listed: Callable[[str], str]
) -> None:
    """Taken for another it went to the pool, and from there to the next citizen."""
    sell, read_page = world.upstream.sell, world.upstream.serial_page

    def sold(file: str) -> Sold:
        sale = sell(file)
        sale.serial_number = as_sold(sale.serial_number)
        return sale

    async def listed(page: int, size: int) -> SerialPage:
        answer = await read_page(page, size)
        rows = [
            dataclasses.replace(each, serial_number=as_listed(each.serial_number)) for each in answer.records
        ]
        return SerialPage(tuple(rows), answer.last)

    world.upstream.sell = sold  # type: ignore[method-assign]
    world.upstream.serial_page = listed  # type: ignore[method-assign]
    done, stamped = await world.submit(), await world.affix()
    for order in (done, stamped, stamped):
        await world.worker(f"w{order.id}").run(order.id)
    serial = (await world.order(done.id)).serial_number
    assert serial is not None
    assert serial == as_sold(serial) != as_listed(serial)
    lost = await asked_about(world, "lost")
    assert await look(world, lost) is State.BOUGHT
    assert await world.redis.hlen(keys.POOL) == 0
    assert await world.store.found(done.id, as_listed(serial), "late") is Code.ALREADY
    assert (await reconcile(world.store, world.upstream)).differences == []

    affix = await world.affix(serial_number=as_listed(serial))
    assert affix.serial_number == serial
    with pytest.raises(SubmitRefused, match="used by another"):
        await world.affix(serial_number=serial)


async def test_another_order_s_sn_in_other_letters_is_no_answer(world: World) -> None:
    """As an upstream that mixes two answers up gives it."""
    first = await world.submit()
    sale = world.upstream.sell(f"{first.id}.pdf")
    assert await world.store.found(first.id, sale.serial_number.lower(), "listed") is Code.OK
    world.upstream.sell = Mock(return_value=sale)  # type: ignore[method-assign]
    second = await world.submit()
    await world.worker().run(second.id)
    assert (await world.order(second.id)).state is State.UNKNOWN


async def test_an_sn_in_two_spellings_with_two_orders_is_a_difference(world: World) -> None:
    order = await world.submit()
    await world.worker().run(order.id)
    serial = (await world.order(order.id)).serial_number
    assert serial is not None
    await world.redis.hset(keys.SERIAL_OWNER, serial.lower(), "another")
    (difference,) = (await reconcile(world.store, world.upstream)).differences
    assert (difference.serial_number, difference.order_id) == (serial.lower(), "another")


async def test_an_archived_order_s_sn_in_other_letters_is_its_own(redis: Redis, tmp_path: Path) -> None:
    """Its owner is not in Redis, as after a restored backup."""
    shelf, completed = await archived(redis, tmp_path, "purchase")
    assert completed.serial_number is not None
    await redis.delete(keys.SERIAL_OWNER, keys.SERIAL_USE)
    assert await shelf.store.found(completed.id, completed.serial_number.lower(), "found") is Code.MISSING
    assert await redis.hlen(keys.POOL) == 0


async def test_what_is_in_the_pool_is_told(redis: Redis, settings: Settings, tmp_path: Path) -> None:
    world = World(redis)

    async def told() -> tuple[str, str]:
        env = {"ANTREAN_REDIS_URL": settings.effective_redis_url}
        backlog = await asyncio.to_thread(antrean, "backlog", cwd=tmp_path, **env)
        assert backlog.returncode == 0, backlog.stderr
        async with running_gateway(redis, settings) as gateway:
            metrics = await (await gateway.call("GET", "/metrics", role=None)).text()
        return backlog.stdout, metrics

    backlog, metrics = await told()
    assert "pool" not in backlog
    assert "antrean_pool_serials 0.0" in metrics
    await in_pool(world)
    backlog, metrics = await told()
    assert "1 serial number in the pool" in backlog
    assert "antrean_pool_serials 1.0" in metrics
