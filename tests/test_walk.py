"""The account's list as evidence: one that moves, fails, is empty or too long while it is read proves nothing that it
has not shown."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.account_list import PAGE_SIZE, PAGES_MAX, ZERO_FAILED_MAX
from antrean.orders.balance import UNREAD_MAX, BalanceWatch
from antrean.orders.holding import BALANCE
from antrean.orders.model import Order
from antrean.orders.resolve import FAILED_LOOKS_MAX, UNWITNESSED_MARGIN_MS
from antrean.orders.states import State
from antrean.provider.breaker import NotAdmitted
from antrean.provider.errors import OutcomeUnknown, Rejected, Unavailable
from antrean.provider.protocol import SerialPage, SerialRecord
from antrean.workers.keeper import Keeper
from orders_support import World
from provider_support import SN, ScriptedUpstream, scripted_adapter
from test_resolve import LOOK_MS, SETTLED_MS, asked_about, being_bought, buy, look

LIST = "/chanel/sale/stamp/ext"


async def sold_and_listed_later(world: World) -> Order:
    """Unknown and sold; the resolver has seen it as unknown before the list showed it. Now the list shows it."""
    world.upstream.lists_new = False
    order = await asked_about(world, "lost")
    world.upstream.lists_new = True
    world.upstream.sold[0].visible = True
    return order


def lists_by(world: World, serial_page: Callable[[int, int], Awaitable[SerialPage]]) -> None:
    """The upstream shows its list so."""
    world.upstream.serial_page = serial_page  # type: ignore[assignment, method-assign, unused-ignore]


async def sold_before(world: World, count: int) -> Order:
    """The same, and so many are sold after it; a top-up has silenced the balance."""
    order = await sold_and_listed_later(world)
    world.upstream.quota += 1000
    for _ in range(count):
        await buy(world)
    return order


async def bought_in_all(world: World, order: Order) -> int:
    """How often it was bought, when all that may go on has gone on."""
    if (await world.order(order.id)).state is State.QUEUED:
        await world.worker("again").run(order.id)
    return len(world.upstream.of(order.id))


def moves_once(world: World, size: int, after: int, sales: int, first: int = 1) -> None:
    """Pages have `size` rows and begin at `first`; once, when page `after` has been shown, `sales` are sold."""
    read_page = world.upstream.serial_page
    waiting = [sales]

    async def page_and_sales(page: int, asked_size: int) -> SerialPage:
        if page < first:
            return SerialPage((), last=True)
        answer = await read_page(page + 1 - first, min(asked_size, size))
        if page == after and waiting:
            for _ in range(waiting.pop()):
                await buy(world)
        return answer

    lists_by(world, page_and_sales)


@pytest.mark.parametrize("size", [10, PAGE_SIZE])
async def test_a_list_that_moves_by_a_page_while_it_is_read_is_read_on(world: World, size: int) -> None:
    """The next page repeats the one before. The balance says nothing, as after a top-up."""
    order = await sold_before(world, size + 5)  # its SN stands on page 2 now
    moves_once(world, size, after=1, sales=size)
    world.now_ms += SETTLED_MS
    await world.resolver.run_once()
    assert await bought_in_all(world, order) == 1
    assert (await world.order(order.id)).state is State.BOUGHT


async def test_the_same_amid_traffic_that_blurs_the_balance(world: World) -> None:
    order = await sold_and_listed_later(world)
    for _ in range(15):
        await buy(world)
    await being_bought(world)
    moves_once(world, 10, after=1, sales=10)
    world.now_ms += SETTLED_MS
    assert await look(world, order) is State.BOUGHT


async def test_a_file_name_listed_in_capitals_is_the_order_s(world: World) -> None:
    order = await sold_and_listed_later(world)
    world.upstream.sold[0].file = f"/SHARE/{order.id}.pdf".upper()
    world.now_ms += SETTLED_MS
    assert await look(world, order) is State.BOUGHT


async def test_what_moves_from_page_0_to_page_1_is_not_missed(world: World) -> None:
    order = await sold_before(world, 9)  # it is the last row of page 0
    moves_once(world, 10, after=1, sales=1, first=0)
    world.now_ms += SETTLED_MS
    await world.resolver.run_once()
    assert await bought_in_all(world, order) == 1
    assert (await world.order(order.id)).state is State.BOUGHT


async def test_a_page_0_that_fails_for_a_moment_proves_nothing(world: World) -> None:
    order = await sold_before(world, 0)
    moves_once(world, PAGE_SIZE, after=-1, sales=0, first=0)
    world.upstream.faults["serial_page"] = [Unavailable("too busy", sent=True)]
    world.now_ms += SETTLED_MS
    with pytest.raises(Unavailable):
        await world.resolver.run_once()
    assert await bought_in_all(world, order) == 1
    world.now_ms += LOOK_MS
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.BOUGHT


def has_no_page_0(world: World, no: Rejected | Unavailable) -> list[int]:
    """The list counts from 1 and says so by an error. Answers the pages asked for, as they come."""
    read_page, asked = world.upstream.serial_page, []

    async def from_1(page: int, size: int) -> SerialPage:
        asked.append(page)
        if page == 0:
            raise no
        return await read_page(page, size)

    lists_by(world, from_1)
    return asked


@pytest.mark.parametrize("no", [Rejected("99", "no such page"), Unavailable("status 500", sent=True)])
async def test_a_page_0_that_is_not_there_is_not_asked_for_for_ever(
    world: World, no: Rejected | Unavailable
) -> None:
    asked = has_no_page_0(world, no)
    for _ in range(ZERO_FAILED_MAX - 1):
        with pytest.raises(type(no)):
            await world.resolver.walk(None)
    for _ in range(3):
        assert (await world.resolver.walk(None)).complete
    assert asked.count(0) == ZERO_FAILED_MAX


async def test_a_page_0_that_repeats_page_1_ends_nothing(world: World) -> None:
    order = await sold_before(world, PAGE_SIZE + 5)  # its SN stands on page 2 now
    read_page = world.upstream.serial_page

    async def from_1(page: int, size: int) -> SerialPage:
        return await read_page(max(1, page), size)

    lists_by(world, from_1)
    world.now_ms += SETTLED_MS
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.BOUGHT


async def test_a_list_that_repeats_its_last_page_ends_there_though_others_buy(world: World) -> None:
    order = await asked_about(world, OutcomeUnknown("cut"))
    for _ in range(PAGE_SIZE + 50):
        world.upstream.sell("theirs.pdf")
    world.upstream.quota += 1000
    read_page, asked = world.upstream.serial_page, []

    async def repeating(page: int, size: int) -> SerialPage:
        asked.append(page)
        world.upstream.sell("theirs.pdf")
        last = -(-len(world.upstream.sold) // size)
        return SerialPage((await read_page(min(page, last), size)).records, last=False)

    lists_by(world, repeating)
    world.now_ms += SETTLED_MS
    await world.resolver.run_once()
    assert len(asked) < 10
    assert (await world.order(order.id)).state is State.QUEUED


async def test_what_was_seen_before_others_led_settles_nothing(world: World) -> None:
    order = await world.submit()
    world.upstream.lists_new = False
    world.upstream.faults["generate"] = ["lost"]
    await world.worker().run(order.id)
    one, other = world.resolver, world.new_resolver()
    await one.run_once()
    for _ in range(40):
        world.upstream.faults["serial_page"] = [Unavailable("away", refused_by_breaker=True)]
        with pytest.raises(Unavailable):
            await other.run_once()
        world.now_ms += LOOK_MS
    one.lead_again()
    await one.run_once()
    assert (await world.order(order.id)).state is State.UNKNOWN


async def test_a_drop_counts_though_the_list_can_never_be_read(world: World) -> None:
    await world.store.account.set_baseline(world.upstream.quota, 0)
    world.upstream.quota -= 50
    watch = BalanceWatch(world.store, world.upstream, world.resolver)

    async def never(page: int, size: int) -> SerialPage:
        raise Rejected("99", "no")

    lists_by(world, never)
    for _ in range(UNREAD_MAX + 3):
        with contextlib.suppress(Rejected):
            await watch.run_once()
    assert "can not be read" in (await world.store.situation()).holds[BALANCE].text


async def test_time_for_which_the_list_could_not_be_read_settles_nothing(world: World) -> None:
    """Sold a moment before an outage of an hour; the list shows it only some time after that."""
    order = await world.submit()
    world.upstream.lists_new = False
    world.upstream.faults["generate"] = ["lost"]
    await world.worker().run(order.id)
    for _ in range(3600_000 // LOOK_MS):
        world.upstream.faults["serial_page"] = [Unavailable("away", refused_by_breaker=True)]
        with pytest.raises(Unavailable):
            await world.resolver.run_once()
        world.now_ms += LOOK_MS
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.UNKNOWN
    world.upstream.sold[0].visible = True
    world.now_ms += LOOK_MS
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.BOUGHT


async def test_a_list_that_fails_now_and_then_settles_in_the_end(world: World) -> None:
    order = await asked_about(world, OutcomeUnknown("cut"))
    for _ in range(SETTLED_MS // LOOK_MS):
        assert (await world.order(order.id)).state is State.UNKNOWN
        world.now_ms += LOOK_MS
        world.upstream.faults["serial_page"] = [Unavailable("away", sent=True)]
        with pytest.raises(Unavailable):
            await world.resolver.run_once()
        world.now_ms += LOOK_MS
        await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.QUEUED


async def test_a_call_that_we_held_back_is_no_failed_look(world: World) -> None:
    order = await asked_about(world, OutcomeUnknown("cut"))
    world.now_ms += 3 * SETTLED_MS
    for _ in range(FAILED_LOOKS_MAX):
        world.upstream.faults["serial_page"] = [
            NotAdmitted("the upstream asked us to wait", retry_after_s=30)
        ]
        with pytest.raises(Unavailable):
            await world.resolver.run_once()
        world.now_ms += LOOK_MS
    assert (await world.order(order.id)).state is State.UNKNOWN


async def test_an_empty_list_proves_nothing_where_our_books_name_purchases(world: World) -> None:
    await buy(world)
    order = await sold_and_listed_later(world)
    for sale in world.upstream.sold:
        sale.visible = False
    world.now_ms += SETTLED_MS
    with pytest.raises(Unavailable, match="empty"):
        await world.resolver.run_once()
    assert await bought_in_all(world, order) == 1


async def test_a_list_refused_under_the_account_s_id_is_not_empty_under_the_other(redis: Redis) -> None:
    upstream = ScriptedUpstream()
    row = {"serialnumber": SN, "status": "NOTSTAMP", "file": "ord-1.pdf"}
    full = httpx.Response(200, json={"statusCode": "00", "result": [row]})
    busy = httpx.Response(200, json={"statusCode": "99", "message": "system busy"})
    upstream.on("GET", f"{LIST}/A77", full, busy)
    upstream.on("GET", f"{LIST}/pos-medan", {"statusCode": "00", "result": []})
    adapter = scripted_adapter(redis, upstream)
    assert len((await adapter.serial_page(1, 10)).records) == 1
    with pytest.raises(Rejected):
        await adapter.serial_page(1, 10)


async def test_a_walk_that_failed_has_explained_nothing_to_the_balance_watch(world: World) -> None:
    """Answered 503 and sold all the same: the list explains the drop, once it can be read."""
    await world.store.account.set_baseline(world.upstream.quota, 0)
    order = await world.submit()
    world.upstream.sell(f"{order.id}.pdf")
    watch = BalanceWatch(world.store, world.upstream, world.resolver)
    assert await watch.run_once()
    world.upstream.faults["serial_page"] = [Unavailable("busy", sent=True)]
    with pytest.raises(Unavailable):
        await watch.run_once()
    for _ in range(3):
        await watch.run_once()
    assert BALANCE not in (await world.store.situation()).holds


@pytest.mark.parametrize(("every_s", "after"), [(2.0, State.QUEUED), (0.05, State.ATTENTION)])
async def test_after_a_change_of_leader_as_much_of_a_long_list_is_read_as_its_age_and_a_margin_ask_for(
    world: World, every_s: float, after: State
) -> None:
    """Others buy on the account, and a day's list is longer than a walk; at 20 a second the last hour is too."""
    now = datetime(2026, 9, 4, tzinfo=UTC)
    assert PAGE_SIZE * PAGES_MAX * every_s < 24 * 3600
    assert (PAGE_SIZE * PAGES_MAX * every_s < UNWITNESSED_MARGIN_MS / 1000) == (after is State.ATTENTION)

    async def page(page: int, size: int) -> SerialPage:
        rows = range(max(page - 1, 0) * size, page * size)
        return SerialPage(
            tuple(
                SerialRecord(
                    f"SN{n:020d}", "STAMP", "theirs.pdf", (now - timedelta(seconds=n * every_s)).isoformat()
                )
                for n in rows
            ),
            last=False,
        )

    await world.resolver.run_once()
    world.now_ms += 1000
    order = await asked_about(world, OutcomeUnknown("cut"))
    lists_by(world, page)
    world.resolver = world.new_resolver()
    await world.resolver.run_once()
    world.now_ms += SETTLED_MS
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is after


async def test_a_keeper_says_when_it_leads_again(world: World) -> None:
    said: list[str] = []
    one = Keeper(world.store, "w1", [], lambda: said.append("w1"))
    other = Keeper(world.store, "w2", [], lambda: said.append("w2"))
    for keeper in (one, one, other):
        await keeper.beat_once()
    assert (said, one.leads, other.leads) == (["w1"], True, False)
    await world.redis.delete(keys.LEADER)
    for keeper in (other, one):
        await keeper.beat_once()
    await world.redis.delete(keys.LEADER)
    await one.beat_once()
    assert said == ["w1", "w2", "w1"]
