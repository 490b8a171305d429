"""An auditor's reading of the whole book: what is right is not blamed, and what is wrong is named with its place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.orders import keys, ledger_check
from antrean.orders.books import Entry, wib_day
from antrean.orders.ledger import Ledger
from antrean.orders.ledger_archive import ROOT, SEGMENT_ENTRIES
from antrean.orders.ledger_check import Check, Fault, check_ledger
from antrean.orders.ledger_trail import Trail
from antrean.orders.model import Order
from antrean.orders.reconcile import reconcile
from antrean.orders.states import State
from cli_support import antrean
from orders_support import World
from test_ledger import DAY_MS, played
from test_ledger_archive import Books, moved
from test_serials import in_pool, needs_a_person

SERIAL = "389UY343AP0GE9A40000A9"


async def told(world: World) -> list[tuple[str, str]]:
    return [(fault.where, fault.what) for fault in (await check_ledger(world.store)).faults]


async def write(world: World, order_id: str, source: str, target: str, serial: str = "", **other: Any) -> str:
    """An entry that the totals know of; the last part of where a fault in it is named."""
    amount = other.pop("idr", 10_000)
    fields = {
        "at": world.now_ms, "order": order_id, "office": "MDN-01", "from": source, "to": target, "idr": amount,
        "sn": serial, "reason": "by hand",
    } | other  # fmt: skip
    day = f"{keys.LEDGER_DAY}{(world.now_ms + 7 * 3600_000) // DAY_MS}"
    for account, by in ((source or "paid", -amount if source else amount), (target, amount)):
        await world.redis.hincrby(keys.LEDGER_TOTALS, account, by)
        await world.redis.hincrby(day, f"{fields['office']}|{account}", by)
    entry: Any = await world.redis.xadd(keys.LEDGER, {k: str(v) for k, v in fields.items()})
    return f"{entry.decode()} {order_id}"


async def stamped(world: World) -> Order:
    """An affix at its end."""
    order = await world.affix()
    for _ in range(2):
        await world.worker(f"w{order.id}").run(order.id)
    return await world.order(order.id)


async def test_a_book_with_every_movement_that_there_is_has_no_fault(redis: Redis) -> None:
    world = await played(redis)
    named = world.named  # type: ignore[attr-defined]
    for order in (named["rejected"], named["unusable"]):
        await Ledger(world.store).refund(order.id, "paid back")
    world.now_ms += DAY_MS
    await in_pool(world)
    exchanged = await needs_a_person(world)
    await world.store.replay(exchanged.id, "new_serial", "ops")
    await world.worker("w9").run(exchanged.id)
    # A purchase's SN, on an affix that paid nothing itself; and one that was never in these books.
    for given in (SERIAL, "ELSEWHERE0001"):
        world.upstream.sell("of-old.pdf").serial_number = given
        affix = await world.affix(serial_number=given)
        await world.worker("w9").run(affix.id)
    entries = [entry async for entry in Ledger(world.store).all_entries()]
    assert {(e.source, e.target) for e in entries} == {
        ("", "held"), ("held", "bought_unused"), ("held", "refunded"), ("bought_unused", "bought_unused"),
        ("bought_unused", "stamped"), ("bought_unused", "refunded"),
    }  # fmt: skip
    assert [e.serial_number for e in entries if e.target == "stamped"][1:] == [SERIAL]
    assert (await world.order(affix.id)).state is State.COMPLETED
    assert await check_ledger(world.store) == Check(entries=len(entries))


async def test_an_empty_book_has_no_fault(redis: Redis) -> None:
    assert await check_ledger(World(redis).store) == Check()


async def test_old_entries_count_wherever_they_are(redis: Redis, tmp_path: Path) -> None:
    books = Books(redis, tmp_path)
    for number in range(SEGMENT_ENTRIES):
        await write(books.world, f"{number:026d}", "", "held")
    books.later()
    assert await moved(books) == 1
    assert await books.left() == 0
    assert await check_ledger(books.store) == Check(entries=SEGMENT_ENTRIES)
    where = await write(books.world, f"{7:026d}", "", "held")
    assert await told(books.world) == [(where, "the order is paid a second time")]


async def test_a_part_of_the_book_that_is_lost_is_a_fault_and_keeps_no_other_back(
    redis: Redis, tmp_path: Path
) -> None:
    books = Books(redis, tmp_path)
    twice = [await write(books.world, "a", "", "held") for _ in range(2)]
    for _ in range(len(twice), 2 * SEGMENT_ENTRIES, 100):
        await asyncio.gather(*(write(books.world, "a", "", "held") for _ in range(100)))
    books.later()
    assert await moved(books) == 2
    first, second = sorted(await books.objects.paths(ROOT))
    await books.objects.delete(second)
    found = await check_ledger(books.store)
    assert found.entries == SEGMENT_ENTRIES
    assert found.faults[0] == Fault(twice[1], "the order is paid a second time")
    assert (found.faults[-1].where, second in found.faults[-1].what) == ("book", True)
    await books.objects.delete(first)
    assert (await reconcile(books.store, books.world.upstream)).ours is None


async def test_what_is_written_while_it_reads_is_no_fault(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = await played(redis)
    entries = Ledger.entries
    late: list[str] = []

    async def and_others_go_on(self: Ledger, after: str | None, limit: int) -> list[Entry]:
        if len(late) < 4:
            late.append((await stamped(world)).id)
        return await entries(self, after, min(limit, 3))

    monkeypatch.setattr(Ledger, "entries", and_others_go_on)
    assert (await check_ledger(world.store)).faults == []
    assert len(late) == 4


@pytest.mark.parametrize("account", ["paid", "held", "stamped"])
async def test_totals_that_are_not_the_sum_of_the_entries_are_named(redis: Redis, account: str) -> None:
    world = await played(redis)
    before = (await world.totals())[account]
    await redis.hincrby(keys.LEDGER_TOTALS, account, 10_000)
    by = 10_000 if account == "paid" else -10_000
    assert await told(world) == [
        (account, f"Rp {before + 10_000:,} by the totals, Rp {before:,} by the entries"),
        ("difference", f"paid is Rp {by:,} more than the sum of its parts"),
    ]


async def test_totals_of_a_day_that_are_not_the_sum_of_its_entries_are_named(redis: Redis) -> None:
    world = await played(redis)
    day = wib_day(world.now_ms)
    number = (world.now_ms + 7 * 3600_000) // DAY_MS
    world.now_ms += 2 * DAY_MS
    await world.submit()
    await redis.hincrby(f"{keys.LEDGER_DAY}{number}", "JKT-02|stamped", 10_000)
    await redis.hset(keys.LEDGER_DAYS, f"MDN-01|{number + 1}|held", "10000")
    assert await told(world) == [
        (f"{day} JKT-02 stamped", "Rp 20,000 by the totals, Rp 10,000 by the entries"),
        (f"{wib_day(world.now_ms - DAY_MS)} MDN-01 held", "Rp 10,000 by the totals, Rp 0 by the entries"),
    ]
    # A day from before there were such totals.
    await redis.delete(keys.LEDGER_DAYS, f"{keys.LEDGER_DAY}{number}")
    assert await told(world) == []


async def test_an_order_that_gives_more_than_it_has_is_named(redis: Redis) -> None:
    world = await played(redis)
    done = await stamped(world)
    serial = done.serial_number
    wrong = [
        (await write(world, done.id, "held", "refunded"), "held falls below 0 for the order"),
        (
            await write(world, done.id, "bought_unused", "refunded", str(serial)),
            f"the SN {serial} leaves bought_unused a second time",
        ),
        (
            await write(world, done.id, "bought_unused", "stamped", "NEVERBOUGHT1"),
            "bought_unused falls below 0: the SN NEVERBOUGHT1 was not bought",
        ),
        (
            await write(world, done.id, "bought_unused", "bought_unused", "ANOTHER00001"),
            "bought_unused falls below 0 for the order",
        ),
    ]
    held = world.named["held"]  # type: ignore[attr-defined]
    wrong.append((await write(world, held.id, "", "held"), "the order is paid a second time"))
    assert await told(world) == wrong


async def test_an_sn_that_is_bought_twice_or_refunded_to_another_is_named(redis: Redis) -> None:
    world = World(redis)
    done, held, other = await stamped(world), await world.submit(), await world.submit()
    await world.submit()
    await world.worker("w8").run(other.id)
    unused = (await world.order(other.id)).serial_number or ""
    used = done.serial_number or ""
    wrong = [
        (await write(world, held.id, "held", "bought_unused", sn), f"the SN {sn} enters bought_unused a second time")
        for sn in (used, unused)
    ]  # fmt: skip
    where = await write(world, held.id, "bought_unused", "refunded", unused)
    assert await told(world) == [*wrong, (where, f"the SN {unused} is that of order {other.id}")]


async def test_an_entry_that_is_none_of_this_book_is_named(redis: Redis) -> None:
    world = World(redis)
    await write(world, "a", "", "held")
    small = await write(world, "b", "", "held", idr=5)
    nameless = await write(world, "a", "held", "bought_unused")
    assert await told(world) == [(small, "moves Rp 5, not Rp 10,000"), (nameless, "names no SN")]
    strange = await write(world, "a", "stamped", "held")
    assert (strange, "there is no movement from stamped to held") in await told(world)


async def test_a_total_that_was_below_0_for_a_while_is_named_once(redis: Redis) -> None:
    world = World(redis)
    first = await write(world, "a", "held", "refunded")
    await write(world, "b", "held", "refunded")
    for order_id in ("a", "b"):
        await write(world, order_id, "", "held")
    assert [fault for fault in await told(world) if "in total" in fault[1]] == [
        (first, "held falls below 0 in total")
    ]


async def test_of_very_many_faults_the_rest_is_counted(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_check, "FAULTS_MAX", 3)
    world = World(redis)
    for _ in range(6):
        await write(world, "a", "", "held")
    found = await check_ledger(world.store)
    assert (len(found.faults), found.untold) == (3, 2)


def test_an_sn_that_was_replaced_before_the_book_told_it_is_no_fault() -> None:
    trail = Trail()
    moves = [("", "held", ""), ("held", "bought_unused", "OLD"), ("bought_unused", "stamped", "NEW")]
    for source, target, serial in moves:
        assert trail.take(Entry("1-0", 0, "a", "MDN-01", source, target, 10_000, serial, "")) == []
    again = Entry("2-0", 0, "a", "MDN-01", "bought_unused", "stamped", 10_000, "OLD", "")
    assert trail.take(again)[-1] == "the SN OLD leaves bought_unused a second time"


async def test_the_command_says_what_is_wrong_and_fails(
    redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    world = await played(redis)
    url = {"ANTREAN_REDIS_URL": settings.effective_redis_url}
    well = await asyncio.to_thread(antrean, "ledger", "check", cwd=tmp_path, **url)
    assert (well.returncode, well.stdout) == (0, f"{await redis.xlen(keys.LEDGER)} entries, no fault\n")
    held = world.named["held"]  # type: ignore[attr-defined]
    where = await write(world, held.id, "", "held")
    wrong = await asyncio.to_thread(antrean, "ledger", "check", cwd=tmp_path, **url)
    assert wrong.returncode == 1
    assert wrong.stdout.splitlines()[0] == f"{where}  the order is paid a second time"
    assert wrong.stdout.splitlines()[-1].endswith("entries, 1 fault")


def test_an_sn_that_was_replaced_is_used_by_nobody_any_more() -> None:
    trail = Trail()
    moves = [("", "held", ""), ("held", "bought_unused", "OLD"), ("bought_unused", "bought_unused", "NEW")]
    for source, target, serial in moves:
        assert trail.take(Entry("1-0", 0, "a", "MDN-01", source, target, 10_000, serial, "")) == []
    used = Entry("2-0", 0, "b", "MDN-01", "bought_unused", "stamped", 10_000, "OLD", "")
    assert trail.take(used) == ["the SN OLD leaves bought_unused a second time"]
