"""Turns in which a PDF is stamped while the adapter, the worker or the document store is away."""

from __future__ import annotations

import asyncio

import pytest

from antrean.orders import fulfil, keys
from antrean.orders.fulfil import STAMP_CALLS_MAX
from antrean.orders.model import SubmitRefused
from antrean.orders.states import State
from antrean.orders.turn_ends import Outcome
from antrean.provider.errors import SerialUnusable, Unavailable
from orders_support import NO_MONEY, World


async def test_an_adapter_that_is_away_for_long_sends_no_order_to_a_person(world: World) -> None:
    order = await world.affix()
    await world.worker().run(order.id)
    for number in range(30):
        world.upstream.faults["stamp"] = [Unavailable("busy", sent=True)]
        await world.worker(f"w{number}").run(order.id)
        world.now_ms += 60_000
        await world.sweep()
    assert (await world.order(order.id)).state is State.BOUGHT
    await world.worker("last").run(order.id)
    assert (await world.order(order.id)).state is State.COMPLETED


async def test_a_dead_worker_s_stamping_goes_back_to_the_front_with_the_same_sn(world: World) -> None:
    order = await world.affix()
    await world.worker().run(order.id)
    claim = await world.store.claim(order.id, "w1", "a")
    assert claim is not None
    await world.store.begin(claim.order, "b", State.STAMPING, "", 2)
    world.now_ms += 60_000
    await world.beat("w2")
    assert (await world.sweep()).expired == 1
    back = await world.order(order.id)
    assert (back.state, back.serial_number) == (State.BOUGHT, world.upstream.sold[0].serial_number)
    assert back.stamp_tried
    assert await world.worker("w2").run(order.id) is Outcome.COMPLETED
    assert len(world.upstream.sold) == 1


async def test_an_unusable_sn_waits_for_a_person_and_replay_may_take_one_from_the_pool(world: World) -> None:
    order = await world.affix()
    await world.worker().run(order.id)
    world.upstream.faults["stamp"] = [SerialUnusable("97", "SN tidak dapat digunakan")]
    assert await world.worker().run(order.id) is Outcome.REFUSED
    waiting = await world.order(order.id)
    assert (waiting.state, waiting.error and waiting.error.code) == (State.ATTENTION, "97")
    spare = world.upstream.sell("x.pdf")
    await world.redis.hset(keys.POOL, spare.serial_number, "found")
    assert await world.store.replay(order.id, "auto", "ops: another one") is State.BOUGHT
    assert (await world.order(order.id)).serial_number == spare.serial_number
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    assert await world.totals() == NO_MONEY | {"paid": 10000, "stamped": 10000}


async def test_an_affix_may_use_the_sn_of_a_purchase_once(world: World) -> None:
    purchase = await world.submit()
    with pytest.raises(SubmitRefused, match="not completed"):
        await world.affix(purchase_order_id=purchase.id)
    await world.worker().run(purchase.id)
    affix = await world.affix(purchase_order_id=purchase.id)
    with pytest.raises(SubmitRefused, match="used by another"):
        await world.affix(purchase_order_id=purchase.id)
    with pytest.raises(SubmitRefused, match="no such purchase"):
        await world.affix(purchase_order_id=purchase.id, office="JKT-02")
    assert await world.worker().run(affix.id) is Outcome.COMPLETED
    assert (await world.order(affix.id)).serial_number == (await world.order(purchase.id)).serial_number
    assert await world.totals() == NO_MONEY | {"paid": 10000, "stamped": 10000}
    assert len(world.upstream.sold) == 1


async def test_a_stamped_pdf_is_held_for_a_store_that_is_away_for_a_while(world: World) -> None:
    order = await world.affix()
    await world.worker().run(order.id)
    keep, away = world.documents.put_stamped, iter([True, True])

    async def put_stamped(order_id: str, pdf: bytes) -> None:
        if next(away, False):
            raise OSError("503")
        await keep(order_id, pdf)

    world.documents.put_stamped = put_stamped  # type: ignore[method-assign]
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    assert world.upstream.calls["stamp"] == 1


async def test_while_a_stamped_pdf_is_held_no_more_are_stamped_and_purchases_go_on(world: World) -> None:
    worker, held, purchase = world.worker(), await world.affix(), await world.submit()
    other = await world.affix()
    for order in (held, other):
        await worker.run(order.id)
    refused, back = asyncio.Event(), asyncio.Event()
    keep = world.documents.put_stamped

    async def put_stamped(order_id: str, pdf: bytes) -> None:
        if not back.is_set():
            refused.set()
            raise OSError("503")
        await keep(order_id, pdf)

    world.documents.put_stamped = put_stamped  # type: ignore[method-assign]
    holding = asyncio.create_task(worker.run(held.id))
    await refused.wait()
    assert await worker.run(other.id) is Outcome.RELEASED
    assert await worker.run(purchase.id) is Outcome.COMPLETED
    back.set()
    assert await holding is Outcome.COMPLETED
    assert world.upstream.calls["stamp"] == 1


async def test_a_store_that_stays_away_costs_the_order_none_of_its_attempts(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fulfil, "KEEP_MAX_S", 0.0)
    order = await world.affix()
    await world.worker().run(order.id)

    async def put_stamped(order_id: str, pdf: bytes) -> None:
        raise OSError("503")

    keep, world.documents.put_stamped = world.documents.put_stamped, put_stamped  # type: ignore[method-assign]
    for number in range(STAMP_CALLS_MAX + 1):
        assert await world.worker(f"w{number}").run(order.id) is Outcome.RELEASED
        world.now_ms += 60_000
        await world.sweep()
    world.documents.put_stamped = keep  # type: ignore[method-assign]
    world.upstream.faults["stamp"] = ["lost"]
    assert await world.worker("w").run(order.id) is Outcome.RELEASED
    world.now_ms += 60_000
    await world.sweep()
    assert await world.worker("x").run(order.id) is Outcome.COMPLETED


async def test_a_broken_document_store_holds_the_stamp_and_the_sn_is_not_lost(world: World) -> None:
    order, purchase = await world.affix(), await world.submit()
    world.documents.broken = True
    assert await world.worker().run(purchase.id) is Outcome.COMPLETED  # needs none
    assert await world.worker().run(order.id) is Outcome.BOUGHT
    assert await world.worker().run(order.id) is Outcome.RELEASED
    assert (await world.order(order.id)).state is State.BOUGHT
    world.documents.broken = False
    world.now_ms += 10_000
    await world.beat("w1")
    await world.sweep()
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    assert world.upstream.calls == {"generate": 2, "stamp": 1}
