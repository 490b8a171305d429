"""The books: every rupiah is in one account, in total and for each office and day; what differs is shown."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from antrean.orders import keys, ledger
from antrean.orders.books import PAID, PARTS
from antrean.orders.ledger import DAYS_MAX, Ledger
from antrean.orders.model import IllegalMove, SubmitRefused
from antrean.orders.states import State
from antrean.provider.errors import Rejected, SerialUnusable
from orders_support import World

DAY_MS = 24 * 3600_000


async def played(redis: Redis) -> World:
    """Two completed, one held, one cancelled, one rejected, one with an unusable SN."""
    world = World(redis)
    await world.beat("w1")
    purchase, held, cancelled = [await world.submit() for _ in range(3)]
    affix, unusable = [await world.affix(office="JKT-02") for _ in range(2)]
    rejected = await world.submit(office="JKT-02")
    worker = world.worker()
    await worker.run(purchase.id)
    await worker.run(affix.id)
    await worker.run(affix.id)
    await worker.run(unusable.id)
    world.upstream.faults["stamp"] = [SerialUnusable("97", "tidak dapat digunakan")]
    await worker.run(unusable.id)
    world.upstream.faults["generate"] = [Rejected("05", "ditolak")]
    await worker.run(rejected.id)
    await world.store.cancel(cancelled.id)
    world.named = {"held": held, "rejected": rejected, "unusable": unusable}  # type: ignore[attr-defined]
    return world


async def test_the_parts_are_the_whole_in_total_and_for_each_office_and_day(redis: Redis) -> None:
    world = await played(redis)
    books = Ledger(world.store)
    totals = await books.totals()
    assert totals == {
        "paid": 60_000,
        "stamped": 10_000,
        "bought_unused": 20_000,
        "refunded": 10_000,
        "held": 20_000,
    }
    days = await books.days()
    assert {d.office for d in days} == {"MDN-01", "JKT-02"}
    for day in days:
        assert day.totals_idr[PAID] == sum(day.totals_idr[p] for p in PARTS)
    for account in (PAID, *PARTS):
        assert sum(d.totals_idr[account] for d in days) == totals[account]


async def test_of_the_days_only_the_last_are_told_and_as_many_as_one_answer_bears(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(redis)
    today = (world.now_ms + 7 * 3600_000) // DAY_MS
    # One that an earlier form of the books has.
    await redis.hset(
        keys.LEDGER_DAYS, mapping={f"MDN-01|{today}|paid": "10000", f"MDN-01|{today - 31}|paid": "10000"}
    )
    for _ in range(DAYS_MAX + 1):
        for office in ("MDN-01", "JKT-02"):
            await world.submit(office=office)
        world.now_ms += DAY_MS
    world.now_ms -= DAY_MS * (DAYS_MAX + 1)
    totals = await Ledger(world.store).days()
    assert [(d.office, d.totals_idr[PAID]) for d in totals] == [("JKT-02", 10_000), ("MDN-01", 20_000)]

    world.now_ms += DAY_MS * DAYS_MAX
    days = [d.day for d in await Ledger(world.store).days()]
    assert len(days) == 2 * DAYS_MAX
    assert days == sorted(days)
    monkeypatch.setattr(ledger, "DAYS_FIELDS_MAX", 9)  # paid and held, for two offices: two days have 8
    assert [d.day for d in await Ledger(world.store).days()] == days[-4:]
    monkeypatch.setattr(ledger, "DAYS_FIELDS_MAX", 1)
    assert [d.day for d in await Ledger(world.store).days()] == days[-2:]


async def test_the_entries_alone_give_the_totals(redis: Redis) -> None:
    world = await played(redis)
    books = Ledger(world.store)
    summed = dict.fromkeys((PAID, *PARTS), 0)
    count = 0
    async for entry in books.all_entries():
        count += 1
        summed[entry.target] += entry.amount_idr
        if entry.source:
            summed[entry.source] -= entry.amount_idr
        else:
            summed[PAID] += entry.amount_idr
    assert summed == await books.totals()
    first = await books.entries(None, 4)
    rest = await books.entries(first[-1].id, 1000)
    assert len(first) + len(rest) == count


async def test_a_refund_is_recorded_once_with_its_reason(redis: Redis) -> None:
    world = await played(redis)
    books = Ledger(world.store)
    named = world.named  # type: ignore[attr-defined]
    assert await books.refund(named["rejected"].id, "ops Rina: paid back at the counter") == "held"
    assert await books.refund(named["unusable"].id, "ops Rina: another stamp was bought") == "bought_unused"
    for order in (named["rejected"], named["unusable"], named["held"]):
        with pytest.raises(IllegalMove):
            await books.refund(order.id, "again")
    with pytest.raises(IllegalMove, match="waits for a person"):
        await world.store.replay(named["unusable"].id, "auto", "x")
    assert (await world.order(named["unusable"].id)).state is State.CANCELLED
    assert await world.redis.zscore(keys.ERASE, named["unusable"].id) is not None
    totals = await books.totals()
    assert (totals["refunded"], totals["held"], totals["bought_unused"]) == (30_000, 10_000, 10_000)
    assert (await books.entries(None, 1000))[-1].reason == "ops Rina: another stamp was bought"
    await world.assert_books_balance()


async def test_an_sn_whose_money_was_given_back_is_stamped_for_nobody(redis: Redis) -> None:
    world = await played(redis)
    unusable = await world.order(world.named["unusable"].id)  # type: ignore[attr-defined]
    await Ledger(world.store).refund(unusable.id, "ops: paid back")
    with pytest.raises(SubmitRefused, match="used by another"):
        await world.affix(serial_number=unusable.serial_number, office=unusable.office)


async def test_a_refund_of_what_was_never_bought_ends_the_order(redis: Redis) -> None:
    world = World(redis)
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "a")
    assert claim is not None
    await world.store.begin(claim.order, "b", State.BUYING, "", 1)
    await world.store.doubt(claim.order, "c", "lost", 1)
    await world.store.escalate(order.id, world.now_ms, "outcome-unknown", "evidence")
    assert await Ledger(world.store).refund(order.id, "ops: paid back") == "held"
    assert (await world.order(order.id)).state is State.CANCELLED
    await world.assert_books_balance()


async def test_totals_days_and_entries_of_one_page_agree_while_orders_come_in(redis: Redis) -> None:
    world = World(redis)
    books = Ledger(world.store)
    done = asyncio.Event()

    async def others() -> None:
        for _ in range(100):
            await world.submit()
        done.set()

    coming = asyncio.create_task(others())
    seen: set[int] = set()
    while not done.is_set():
        page = await books.page(None, 1000, None)
        paid = page.totals_idr[PAID]
        seen.add(paid)
        assert paid == page.totals_idr["held"] == sum(entry.amount_idr for entry in page.entries)
        assert paid == sum(day.totals_idr[PAID] for day in page.days)
    await coming
    assert len(seen) > 3
