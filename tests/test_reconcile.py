"""What an auditor is told of the account's list and our books: what differs, and nothing that only seems to."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from antrean.orders.account_list import ZERO_FAILED_MAX
from antrean.orders.reconcile import Reconciliation, reconcile
from antrean.orders.states import State
from antrean.provider.errors import Rejected, Unavailable
from antrean.provider.protocol import SerialPage
from orders_support import World
from test_ledger import played
from test_resolve import buy
from test_walk import has_no_page_0, lists_by, moves_once


async def test_reconciling_shows_what_differs_and_nothing_else(redis: Redis) -> None:
    world = await played(redis)
    world.upstream.sell("someone-elses.pdf")
    assert await reconcile(world.store, world.upstream, page_size=2) == Reconciliation([], others=1)
    stray = world.upstream.sell("0" * 26 + ".pdf")
    gone = world.upstream.sold[0]
    gone.visible = False
    stamped = next(s for s in world.upstream.sold if s.stamped_on)
    stamped.stamped_on = None
    world.now_ms += 1000
    compared = await reconcile(world.store, world.upstream, page_size=2)
    found = {(d.serial_number, d.what) for d in compared.differences}
    assert found == {
        (stray.serial_number, "sold, and not on our books"),
        (gone.serial_number, "on our books, and not on the account's list"),
        (stamped.serial_number, "stamped by us, NOTSTAMP upstream"),
    }


async def test_what_is_bought_while_it_reads_is_no_difference(world: World) -> None:
    """The list shows it before our books do."""
    await buy(world)
    read_page = world.upstream.serial_page
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "a")
    assert claim is not None
    await world.store.begin(claim.order, "b", State.BUYING, "", 1)
    serial = world.upstream.sell(f"{order.id}.pdf").serial_number

    async def and_then_it_is_noted(page: int, size: int) -> SerialPage:
        answer = await read_page(max(page, 1), size)
        if page > 1:
            await world.store.bought(claim.order, "c", serial, 1)
        return answer

    lists_by(world, and_then_it_is_noted)
    assert await reconcile(world.store, world.upstream, page_size=1) == Reconciliation([], others=0)


async def test_a_list_that_counts_from_0_or_moves_by_a_page_hides_nothing(world: World) -> None:
    for _ in range(5):
        await buy(world)
    moves_once(world, 2, after=0, sales=2, first=0)
    assert await reconcile(world.store, world.upstream, page_size=2) == Reconciliation([], others=0)


@pytest.mark.parametrize("no", [Rejected("99", "no such page"), Unavailable("status 500", sent=True)])
async def test_a_list_without_a_page_0_is_read_all_the_same(world: World, no: Rejected | Unavailable) -> None:
    await buy(world)
    asked = has_no_page_0(world, no)
    assert await reconcile(world.store, world.upstream) == Reconciliation([], others=0)
    assert asked.count(0) == ZERO_FAILED_MAX


async def test_a_page_0_that_fails_once_invents_no_difference(world: World) -> None:
    for _ in range(5):
        await buy(world)
    moves_once(world, 2, after=-1, sales=0, first=0)
    world.upstream.faults["serial_page"] = [Unavailable("status 502", sent=True)]
    assert await reconcile(world.store, world.upstream, page_size=2) == Reconciliation([], others=0)


async def test_a_page_that_fails_later_ends_it(world: World) -> None:
    await buy(world)
    read_page = world.upstream.serial_page

    async def one_page(page: int, size: int) -> SerialPage:
        if page > 1:
            raise Unavailable("status 502", sent=True)
        return SerialPage((await read_page(1, size)).records, last=False)

    lists_by(world, one_page)
    with pytest.raises(Unavailable):
        await reconcile(world.store, world.upstream)


async def test_what_is_stamped_while_it_reads_is_no_difference(world: World) -> None:
    """Its row was read before."""
    order = await world.affix()
    await world.worker().run(order.id)
    read_page = world.upstream.serial_page

    async def and_then_it_is_stamped(page: int, size: int) -> SerialPage:
        answer = await read_page(max(page, 1), size)
        if page == 1:
            world.now_ms += 1000
            await world.worker("another").run(order.id)
            assert (await world.order(order.id)).state is State.COMPLETED
        return answer

    lists_by(world, and_then_it_is_stamped)
    assert await reconcile(world.store, world.upstream) == Reconciliation([], others=0)


async def test_of_a_list_that_has_no_end_it_is_not_said_what_is_not_on_it(world: World) -> None:
    for _ in range(5):
        await buy(world)
    found = await reconcile(world.store, world.upstream, page_size=1, pages_max=3)
    assert found == Reconciliation([], others=0, complete=False)
