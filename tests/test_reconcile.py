"""What an auditor is told of the account's list and our books: what differs, and nothing that only seems to."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from antrean.cli import main
from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.account_list import ZERO_FAILED_MAX
from antrean.orders.codes import Code
from antrean.orders.ledger import Ledger
from antrean.orders.model import Order
from antrean.orders.reconcile import Difference, Ours, Reconciliation, reconcile
from antrean.orders.states import State
from antrean.provider.errors import Rejected, SerialUnusable, Unavailable
from antrean.provider.protocol import SerialPage
from cli_support import antrean
from orders_support import World
from simulated_upstream import PASSWORD, USER, simulated
from test_ledger import played
from test_resolve import buy
from test_walk import has_no_page_0, lists_by, moves_once
from upstream_model import Sold


async def seen(world: World, **how: int) -> tuple[list[Difference], int, bool]:
    """What differs, how many SNs are others', and whether the list was read to its end."""
    found = await reconcile(world.store, world.upstream, **how)
    return found.differences, found.others, found.complete


async def test_reconciling_shows_what_differs_and_nothing_else(redis: Redis) -> None:
    world = await played(redis)
    world.upstream.sell("someone-elses.pdf")
    assert await seen(world, page_size=2) == ([], 1, True)
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


async def test_a_stamped_sn_whose_status_is_not_said_is_no_difference(redis: Redis) -> None:
    world = await played(redis)
    read_page = world.upstream.serial_page

    async def unsaid(page: int, size: int) -> SerialPage:
        answer = await read_page(max(page, 1), size)
        return replace(answer, records=tuple(replace(r, status=None) for r in answer.records))

    lists_by(world, unsaid)
    world.now_ms += 1000
    assert await seen(world) == ([], 0, True)


async def sold_and_not_noted(world: World) -> tuple[Order, str]:
    """A claimed order, and the SN that the upstream has just sold for it."""
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "a")
    assert claim is not None
    await world.store.begin(claim.order, "b", State.BUYING, "", 1)
    return claim.order, world.upstream.sell(f"{order.id}.pdf").serial_number


async def noted_while_the_list_is_read(world: World, from_page: int) -> None:
    """A stamp is sold, and comes to our books once so many pages of the list are read."""
    order, serial = await sold_and_not_noted(world)
    read_page = world.upstream.serial_page

    async def and_then_it_is_noted(page: int, size: int) -> SerialPage:
        answer = await read_page(max(page, 1), size)
        if page >= from_page:
            await world.store.bought(order, "c", serial, 1)
        return answer

    lists_by(world, and_then_it_is_noted)


async def test_what_is_bought_while_it_reads_is_no_difference(world: World) -> None:
    """The list shows it before our books do."""
    await buy(world)
    await noted_while_the_list_is_read(world, 2)
    assert await seen(world, page_size=1) == ([], 0, True)


async def test_a_list_that_counts_from_0_or_moves_by_a_page_hides_nothing(world: World) -> None:
    for _ in range(5):
        await buy(world)
    moves_once(world, 2, after=0, sales=2, first=0)
    assert await seen(world, page_size=2) == ([], 0, True)


@pytest.mark.parametrize("no", [Rejected("99", "no such page"), Unavailable("status 500", sent=True)])
async def test_a_list_without_a_page_0_is_read_all_the_same(world: World, no: Rejected | Unavailable) -> None:
    await buy(world)
    asked = has_no_page_0(world, no)
    assert await seen(world) == ([], 0, True)
    assert asked.count(0) == ZERO_FAILED_MAX


async def test_a_page_0_that_fails_once_invents_no_difference(world: World) -> None:
    for _ in range(5):
        await buy(world)
    moves_once(world, 2, after=-1, sales=0, first=0)
    world.upstream.faults["serial_page"] = [Unavailable("status 502", sent=True)]
    assert await seen(world, page_size=2) == ([], 0, True)


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
    assert await seen(world) == ([], 0, True)


async def test_of_a_list_that_has_no_end_it_is_not_said_what_is_not_on_it(world: World) -> None:
    for _ in range(5):
        await buy(world)
    assert await seen(world, page_size=1, pages_max=3) == ([], 0, False)


async def given(world: World, serial: str) -> Order:
    """An affix at its end that brought its SN."""
    order = await world.affix(serial_number=serial)
    await world.worker(f"w{order.id}").run(order.id)
    assert (await world.order(order.id)).state is State.COMPLETED
    return order


@pytest.mark.parametrize("whose", ["a purchase's", "bought elsewhere"])
async def test_an_sn_that_an_affix_did_not_buy_is_missed_upstream_where_it_was_not_stamped(
    world: World, whose: str
) -> None:
    if whose == "a purchase's":
        await buy(world)
    else:
        world.upstream.sell("somebody-s.pdf")
    [sale] = world.upstream.sold
    affix = await given(world, sale.serial_number)
    world.now_ms += 1000
    assert (await seen(world))[0] == []
    sale.stamped_on = None
    told = Difference(sale.serial_number, affix.id, "stamped by us, NOTSTAMP upstream")
    assert (await seen(world))[0] == [told]


async def pooled(world: World) -> Sold:
    """One in the pool, sold for an order that was withdrawn."""
    gone = await world.submit()
    await world.store.cancel(gone.id)
    sale = world.upstream.sell(f"{gone.id}.pdf")
    assert await world.store.found(gone.id, sale.serial_number, "found", walk=True) is Code.POOL_EMPTY
    return sale


async def test_an_sn_of_the_pool_that_is_stamped_upstream_is_told(world: World) -> None:
    sale = await pooled(world)
    assert (await seen(world))[0] == []
    sale.stamped_on = "another account's document"
    assert (await seen(world))[0] == [
        Difference(sale.serial_number, None, "in the pool, and stamped upstream")
    ]


async def replaced(world: World) -> tuple[Sold, Sold]:
    """Of an affix at its end: the SN that could not be used, and the one from the pool that it has by now."""
    order = await world.affix()
    await world.worker("r1").run(order.id)
    world.upstream.faults["stamp"] = [SerialUnusable("97", "tidak dapat digunakan")]
    await world.worker("r2").run(order.id)
    new = await pooled(world)
    await world.store.replay(order.id, "new_serial", "ops")
    await world.worker("r3").run(order.id)
    assert (await world.order(order.id)).state is State.COMPLETED
    [old] = world.upstream.of(order.id)
    return old, new


async def test_an_sn_that_was_replaced_is_not_missed_and_the_one_in_its_place_is(world: World) -> None:
    old, new = await replaced(world)
    world.now_ms += 1000
    assert old.stamped_on is None
    assert (await seen(world))[0] == []
    new.stamped_on = None
    assert [d.serial_number for d in (await seen(world))[0]] == [new.serial_number]


async def test_ours_on_the_list_are_counted_by_where_the_ledger_has_them(redis: Redis) -> None:
    """Unused: a purchase and the affix that waits for a person; stamped: an affix, a given SN, one of the pool."""
    world = await played(redis)
    await replaced(world)
    await buy(world)
    await given(world, world.upstream.sold[-1].serial_number)
    await pooled(world)
    world.upstream.sell("someone-elses.pdf")
    found = await reconcile(world.store, world.upstream)
    assert found.ours == Ours(stamped=3, unused=2, pooled=1, written_off=1)
    totals = await world.totals()
    assert (totals["stamped"], totals["bought_unused"]) == (30_000, 20_000)
    await Ledger(world.store).refund(world.named["unusable"].id, "paid back")  # type: ignore[attr-defined]
    for sale in world.upstream.sold:
        sale.serial_number = sale.serial_number.lower()  # as a list may have it
    assert (await reconcile(world.store, world.upstream)).ours == Ours(3, 1, 1, 2)


async def test_one_that_came_to_our_books_while_the_list_was_read_is_counted(world: World) -> None:
    await noted_while_the_list_is_read(world, 1)
    found = await reconcile(world.store, world.upstream)
    assert (found.differences, found.ours) == ([], Ours(unused=1))


async def test_the_command_s_exit_code_says_whether_it_could_compare(
    redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    async with simulated(logged_in=False) as upstream:
        env = {
            f"ANTREAN_UPSTREAM_{name.upper()}_URL": upstream.urls[name]
            for name in ("backend", "stampv2", "adapter")
        } | {
            "ANTREAN_REDIS_URL": settings.effective_redis_url,
            "ANTREAN_UPSTREAM_USER": USER,
            "ANTREAN_UPSTREAM_PASSWORD": PASSWORD,
        }

        async def run() -> tuple[int, list[str]]:
            done = await asyncio.to_thread(antrean, "ledger", "reconcile", cwd=tmp_path, **env)
            return done.returncode, (done.stdout + done.stderr).splitlines()

        assert await run() == (
            0,
            [
                "0 differences",
                "Of our serial numbers on the list 0 are stamped, 0 with a citizen, 0 in the pool, "
                "0 written off (refunded or replaced)",
            ],
        )
        await redis.hset(keys.SERIAL_OWNER, "SN1", "an order")
        code, lines = await run()
        assert (code, lines[1]) == (1, "1 difference")
        await upstream.fault("down", scope=["sn_list"])
        code, lines = await run()
        assert code == 4
        assert lines[-1].startswith("Error: The upstream cannot be asked: ")


@pytest.mark.parametrize(("differences", "code"), [([], 4), ([Difference("SN1", None, "made up")], 1)])
def test_a_list_without_an_end_is_no_comparison_unless_something_differs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, differences: list[Difference], code: int
) -> None:
    async def endless(*_: object) -> Reconciliation:
        return Reconciliation(differences, 0, Ours(), complete=False)

    monkeypatch.setenv("ANTREAN_REDIS_URL", settings.redis_url)
    monkeypatch.setattr("antrean.orders.reconcile.reconcile", endless)
    done = CliRunner().invoke(main, ["ledger", "reconcile"])
    assert done.exit_code == code
    assert "too long to be read to its end" in done.output
