"""Whether an order of unknown outcome was bought, where list and balance differ or blur: never bought twice, and no
person is called for what traffic explains."""

from __future__ import annotations

import asyncio

import pytest

from antrean.orders import resolve
from antrean.orders.balance import BalanceWatch
from antrean.orders.holding import BALANCE, QUOTA
from antrean.orders.model import Order
from antrean.orders.resolve import (
    AGREEMENTS_MIN,
    CONTRADICTIONS_MIN,
    FAILED_LOOKS_MAX,
    PUT_OFF_IN_DOUBT,
    PUT_OFF_MORE,
)
from antrean.orders.states import State
from antrean.orders.witness import unexplained
from antrean.provider.errors import OutcomeUnknown, Unavailable
from antrean.provider.protocol import SerialPage
from orders_support import SETTLE_S, World

#: What the resolver waits between two looks with SETTLE_S, in ms, and looks that it puts a verdict off for.
LOOK_MS = 15_000
PUT_OFF_MAX = int(SETTLE_S * 1000) // LOOK_MS + PUT_OFF_MORE
SETTLED_MS = int(SETTLE_S * 1000) + 1000
#: More looks than any verdict takes.
LOOKS_MAX = 60


async def asked_about(world: World, fault: str | OutcomeUnknown) -> Order:
    """An order whose purchase ended so and that the resolver has seen; before it the balance was explained."""
    order = await world.submit()
    await world.store.account.set_baseline(world.upstream.quota, 0)
    await unknown(world, order, fault)
    await world.resolver.run_once()
    return order


async def unknown(world: World, order: Order, fault: str | OutcomeUnknown) -> None:
    """Its purchase ends so."""
    world.upstream.faults["generate"] = [fault]
    await world.worker(f"w-{order.id}").run(order.id)


async def sold_and_hidden(world: World) -> Order:
    """An order that was bought, whose answer was lost and whose SN the list does not show."""
    world.upstream.lists_new = False
    order = await asked_about(world, "lost")
    world.upstream.lists_new = True
    world.now_ms += SETTLED_MS
    return order


async def look(world: World, order: Order, most: int = LOOKS_MAX) -> State:
    """Look on until it is decided, or `most` times; answers where the order is then."""
    for _ in range(most):
        await world.resolver.run_once()
        world.now_ms += LOOK_MS
        if (state := (await world.order(order.id)).state) is not State.UNKNOWN:
            return state
    return State.UNKNOWN


async def being_bought(world: World) -> None:
    """One is at the upstream just now, and stays there."""
    busy = await world.submit()
    claim = await world.store.claim(busy.id, "w2", "op-1")
    assert claim is not None
    await world.store.begin(claim.order, "op-2", State.BUYING, "", 1)


async def buy(world: World) -> None:
    """Another purchase, from its order to its SN in our books."""
    order = await world.submit()
    await world.worker(f"w-{order.id}").run(order.id)


async def test_money_gone_that_the_list_does_not_show_calls_a_person_and_stops_purchases(
    world: World,
) -> None:
    world.upstream.lists_new = False
    order = await asked_about(world, "lost")
    for _ in range(CONTRADICTIONS_MIN):
        assert (await world.order(order.id)).state is State.UNKNOWN
        assert BALANCE not in (await world.store.situation()).holds
        world.now_ms += SETTLED_MS
        await world.resolver.run_once()
    waiting = await world.order(order.id)
    assert waiting.state is State.ATTENTION
    assert waiting.error is not None
    assert "1 stamps left the balance" in waiting.error.message
    hold = (await world.store.situation()).holds[BALANCE]
    assert hold.text == unexplained(1, strange=0)
    world.upstream.sold[0].visible = True
    assert await world.store.replay(order.id, "auto", "ops: asked again") is State.UNKNOWN
    world.now_ms += 20_000
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.BOUGHT
    await BalanceWatch(world.store, world.upstream, world.resolver).run_once()
    assert BALANCE not in (await world.store.situation()).holds


async def test_the_balance_watch_lifts_no_hold_that_came_while_it_looked(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.upstream.lists_new = False
    order = await asked_about(world, "lost")
    balance = world.upstream.balance

    async def slowly() -> int:
        monkeypatch.setattr(world.upstream, "balance", balance)
        while (await world.order(order.id)).state is State.UNKNOWN:
            world.now_ms += SETTLED_MS
            await world.resolver.run_once()
        return await balance()

    monkeypatch.setattr(world.upstream, "balance", slowly)
    await BalanceWatch(world.store, world.upstream, world.resolver).run_once()
    assert (await world.order(order.id)).state is State.ATTENTION
    assert BALANCE in (await world.store.situation()).holds


async def test_a_used_up_quota_is_all_that_is_said_of_an_account_that_is_empty(world: World) -> None:
    order = await sold_and_hidden(world)
    world.upstream.sold[0].visible = False
    await world.store.hold(QUOTA, "", "upstream")
    assert await look(world, order) is State.ATTENTION
    assert set((await world.store.situation()).holds) == {QUOTA}


async def test_stamps_gone_that_a_later_list_explains_call_nobody(world: World) -> None:
    """An overloaded upstream sells for another order between our reading of the list and of the balance."""
    order, other = await asked_about(world, OutcomeUnknown("cut")), await world.submit()
    await world.store.cancel(other.id)
    sold_late = world.upstream.sell(f"{other.id}.pdf")
    sold_late.visible = False
    world.now_ms += SETTLED_MS
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.UNKNOWN
    sold_late.visible = True
    for _ in range(AGREEMENTS_MIN):
        assert (await world.order(order.id)).state is State.UNKNOWN
        world.now_ms += 20_000
        await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.QUEUED


async def test_what_is_sold_while_the_list_is_read_contradicts_nothing(world: World) -> None:
    """With each look two more become unknown between the list and the balance: their stamps have no name yet."""
    order = await asked_about(world, OutcomeUnknown("cut"))
    read_page = world.upstream.serial_page

    async def page_while_others_buy(page: int, size: int) -> SerialPage:
        answer = await read_page(page, size)
        for number in range(2 if page == 1 else 0):
            world.upstream.faults["generate"] = ["lost"]
            await world.worker(f"w-{world.now_ms}-{number}").run((await world.submit()).id)
        return answer

    world.upstream.serial_page = page_while_others_buy  # type: ignore[method-assign]
    world.now_ms += SETTLED_MS
    for _ in range(CONTRADICTIONS_MIN):
        await world.resolver.run_once()
        assert (await world.order(order.id)).state is State.UNKNOWN
        world.now_ms += 20_000
    world.upstream.serial_page = read_page  # type: ignore[method-assign]
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.QUEUED


async def test_traffic_after_one_contradiction_calls_nobody_until_it_has_lasted(world: World) -> None:
    order = await asked_about(world, OutcomeUnknown("cut"))
    world.upstream.sell("01m8855vqnnyr0e6xw3n2f4kkv.pdf").visible = False
    world.now_ms += SETTLED_MS
    assert await look(world, order, 1) is State.UNKNOWN
    # From now on one is always being bought, so that the one stamp may be its own.
    await being_bought(world)
    assert await look(world, order, PUT_OFF_IN_DOUBT * PUT_OFF_MAX) is State.UNKNOWN
    assert await look(world, order, 1) is State.ATTENTION


@pytest.mark.parametrize("during_the_walk", [True, False])
async def test_another_in_doubt_does_not_cover_for_a_stamp_that_the_list_hides(
    world: World, during_the_walk: bool
) -> None:
    """The other one was not bought; until it has settled the missing stamp may be its own, and after that not."""
    order = await sold_and_hidden(world)
    other = await world.submit()
    read_page = world.upstream.serial_page

    async def read_while_another_comes(page: int, size: int) -> SerialPage:
        answer = await read_page(page, size)
        if (await world.order(other.id)).state is State.QUEUED:
            await unknown(world, other, OutcomeUnknown("cut"))
        return answer

    if during_the_walk:
        world.upstream.serial_page = read_while_another_comes  # type: ignore[method-assign]
        await world.resolver.run_once()
        world.upstream.serial_page = read_page  # type: ignore[method-assign]
    else:
        await unknown(world, other, OutcomeUnknown("cut"))
    assert await look(world, order) is State.ATTENTION
    assert len(world.upstream.of(order.id)) == 1


async def test_more_unknown_orders_than_are_looked_at_explain_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolve, "UNKNOWN_MAX", 1)
    order = await sold_and_hidden(world)
    await unknown(world, await world.submit(), OutcomeUnknown("cut"))
    world.now_ms += 3 * SETTLED_MS
    assert await look(world, order) is State.ATTENTION


async def test_a_purchase_that_gets_its_name_while_the_balance_travels_covers_for_none(world: World) -> None:
    order = await sold_and_hidden(world)
    read_balance = world.upstream.balance

    async def balance() -> int:
        read = await read_balance()
        await buy(world)
        return read

    world.upstream.balance = balance  # type: ignore[method-assign]
    assert await look(world, order, PUT_OFF_MAX) is State.UNKNOWN
    world.upstream.balance = read_balance  # type: ignore[method-assign]
    assert await look(world, order) is State.ATTENTION


async def test_one_that_settles_while_the_list_is_read_is_not_held_against_another(world: World) -> None:
    order = await asked_about(world, OutcomeUnknown("cut"))
    world.now_ms += 1500
    await world.resolver.run_once()
    world.upstream.lists_new = False
    await unknown(world, await world.submit(), "lost")
    await world.resolver.run_once()
    world.now_ms += SETTLED_MS - 2000
    read_page = world.upstream.serial_page

    async def slow_page(page: int, size: int) -> SerialPage:
        answer = await read_page(page, size)
        world.now_ms += 2000
        return answer

    world.upstream.serial_page = slow_page  # type: ignore[method-assign]
    await world.resolver.run_once()
    world.upstream.serial_page = read_page  # type: ignore[method-assign]
    world.upstream.sold[0].visible = True
    # With a contradiction one look that agrees would not be enough.
    world.now_ms += LOOK_MS
    assert await look(world, order, 1) is State.QUEUED


async def test_a_top_up_is_no_agreement(world: World) -> None:
    order = await sold_and_hidden(world)
    assert await look(world, order, 1) is State.UNKNOWN
    world.upstream.quota += 1000
    assert await look(world, order) is State.ATTENTION
    waiting = await world.order(order.id)
    assert waiting.error is not None
    assert "but 1 stamps left the balance" in waiting.error.message
    assert "a top-up since then" in waiting.error.message


async def test_after_a_top_up_the_list_alone_decides(world: World) -> None:
    order = await asked_about(world, OutcomeUnknown("cut"))
    world.upstream.quota += 1000
    world.now_ms += SETTLED_MS
    assert await look(world, order, 1) is State.QUEUED


async def test_a_balance_that_can_never_be_read_calls_a_person(world: World) -> None:
    order = await asked_about(world, OutcomeUnknown("cut"))
    world.now_ms += 3 * SETTLED_MS
    world.upstream.faults["balance"] = [Unavailable("no", sent=True)] * FAILED_LOOKS_MAX
    for _ in range(FAILED_LOOKS_MAX):
        assert (await world.order(order.id)).state is State.UNKNOWN
        with pytest.raises(Unavailable):
            await world.resolver.run_once()
        world.now_ms += LOOK_MS
    assert (await world.order(order.id)).state is State.ATTENTION


async def test_a_verdict_of_one_who_led_before_does_not_end_a_later_doubt(world: World) -> None:
    order = await asked_about(world, OutcomeUnknown("cut"))
    world.now_ms += SETTLED_MS
    reached, goes_on = asyncio.Event(), asyncio.Event()
    read_balance = world.upstream.balance

    async def balance() -> int:
        read = await read_balance()
        reached.set()
        await goes_on.wait()
        return read

    world.upstream.balance = balance  # type: ignore[method-assign]
    late = asyncio.create_task(world.resolver.run_once())
    await reached.wait()
    world.upstream.balance = read_balance  # type: ignore[method-assign]
    leads_now = world.new_resolver()
    await leads_now.run_once()
    world.now_ms += SETTLED_MS
    await leads_now.run_once()
    assert (await world.order(order.id)).state is State.QUEUED
    world.upstream.lists_new = False
    await unknown(world, order, "lost")
    goes_on.set()
    await late
    assert (await world.order(order.id)).state is State.UNKNOWN


async def test_an_order_in_doubt_whose_stamp_somebody_gave_with_an_affix_goes_to_a_person(
    world: World,
) -> None:
    order = await sold_and_hidden(world)
    (sale,) = world.upstream.sold
    await world.affix(serial_number=sale.serial_number)
    sale.visible = True
    assert await look(world, order, 20) is State.ATTENTION
    waiting = await world.order(order.id)
    assert waiting.error is not None
    assert "another order" in waiting.error.message
