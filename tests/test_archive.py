"""Old orders leave Redis and are found as before; wherever the move is cut short, nothing is lost."""

from __future__ import annotations

import asyncio
import hashlib
import random
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from antrean.orders import keys, lease, listing
from antrean.orders.archiver import Archiver
from antrean.orders.completeness import Completeness, Gap, find_gaps
from antrean.orders.documents import DocumentStore, DocumentStoreUnavailable
from antrean.orders.erasure import Eraser
from antrean.orders.ids import new_names
from antrean.orders.lease import alone
from antrean.orders.ledger import Ledger
from antrean.orders.listing import Filter
from antrean.orders.model import IllegalMove, Order, StoreUnavailable, SubmitRefused, body_json
from antrean.orders.pictures import Pictures
from antrean.orders.states import State
from antrean.orders.store_mark import StoreMark
from archive_support import DAY_S, Objects, Shelf, Slow
from orders_support import World, new_order

pytestmark = pytest.mark.usefixtures("noted")


@pytest.fixture
async def shelf(redis: Redis, tmp_path: Path) -> Shelf:
    return Shelf(redis, tmp_path / "objects")


async def test_nothing_is_moved_or_erased_where_the_folder_is_not_ours(redis: Redis, tmp_path: Path) -> None:
    """Its disk is not mounted, or it is another host's: what is put there nobody finds."""
    url = "file:///data"
    await DocumentStore.from_url((tmp_path / "ours").as_uri(), StoreMark(redis, url)).claim()
    folder = tmp_path / "other"
    other = Objects(Objects.at(folder)._store, folder, StoreMark(redis, url))
    shelf = Shelf(redis, folder, other)
    ends = await shelf.finished()
    shelf.later()
    with pytest.raises(StoreUnavailable):
        await shelf.move()
    assert await shelf.in_redis() == {order.id for order in ends.values()}
    with pytest.raises(DocumentStoreUnavailable):
        await Eraser(shelf.store, other).erase(ends["affix"].id, "asked for")
    assert (await shelf.world.order(ends["affix"].id)).erased_ms is None


async def test_every_end_is_found_after_the_move_as_it_was_before(shelf: Shelf) -> None:
    ends = await shelf.finished()
    waiting = await shelf.world.submit()
    before = await shelf.listed()
    totals = await shelf.world.totals()
    shelf.later()
    await shelf.move()
    assert await shelf.in_redis() == {waiting.id}
    for order in ends.values():
        assert await shelf.store.get(order.id) == order
        assert await shelf.store.by_ticket(order.ticket_token) is None
        assert await shelf.store.by_old_ticket(order.ticket_token) == order
    assert [order.id for order in await shelf.listed()] == [order.id for order in before]
    assert await shelf.world.totals() == totals
    assert await shelf.world.redis.hlen(keys.TICKETS) == 1


async def test_what_has_not_ended_long_enough_ago_stays(shelf: Shelf) -> None:
    await shelf.finished()
    everything = await shelf.in_redis()
    shelf.later(DAY_S - 60)
    await shelf.move()
    assert await shelf.in_redis() == everything


async def test_a_refused_order_stays_until_its_money_was_given_back(shelf: Shelf) -> None:
    order = await shelf.world.submit()
    claim = await shelf.store.claim(order.id, "w", "1")
    assert claim is not None
    await shelf.store.begin(claim.order, "2", State.BUYING, "asking", 1)
    await shelf.store.refuse(claim.order, "3", "reject", "12", "no", 1)
    shelf.later()
    await shelf.move()
    assert await shelf.in_redis() == {order.id}
    await Ledger(shelf.store).refund(order.id, "ops: paid back")
    shelf.later()
    await shelf.move()
    assert await shelf.in_redis() == set()


@pytest.mark.parametrize("kind", ["put", "get", "script"])
async def test_a_move_cut_short_at_any_step_loses_nothing_and_is_made_up_for(
    shelf: Shelf, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = await shelf.finished()
    everything = await shelf.in_redis()
    before = await shelf.listed()
    shelf.later()
    with monkeypatch.context() as patch:
        if kind == "script":

            async def lost(*_: object) -> Any:
                raise RedisConnectionError("away")

            run = shelf.store.scripts.run
            patch.setattr(
                shelf.store.scripts,
                "run",
                lambda name, *args: lost() if name == "archive" else run(name, *args),
            )
        else:
            shelf.objects.fail = kind
        with pytest.raises(StoreUnavailable):
            await shelf.archiver.run_once()
        shelf.objects.fail = None
    assert await shelf.in_redis() == everything
    assert [order.id for order in await shelf.listed()] == [order.id for order in before]
    await shelf.move()
    assert await shelf.in_redis() == set()
    assert [order.id for order in await shelf.listed()] == [order.id for order in before]
    for order in ends.values():
        assert await shelf.store.get(order.id) == order


async def test_a_store_that_keeps_half_of_what_it_is_given_loses_nothing(shelf: Shelf) -> None:
    await shelf.finished()
    everything = await shelf.in_redis()
    shelf.later()
    shelf.objects.tear = True
    with pytest.raises(StoreUnavailable):
        await shelf.archiver.run_once()
    assert await shelf.in_redis() == everything
    shelf.objects.tear = False
    await shelf.move()
    assert await shelf.in_redis() == set()


async def test_an_order_that_changed_while_it_was_written_stays_and_the_later_record_counts(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = await shelf.finished()
    order = ends["cancelled"]
    shelf.later()
    write = shelf.archive.write

    async def and_then_erased(*given: Any) -> None:
        await write(*given)
        body = body_json(order.without_person, None)
        await shelf.world.scripts.run("erase", order.id, "erased", body)

    with monkeypatch.context() as patch:
        patch.setattr(shelf.archive, "write", and_then_erased)
        await shelf.archiver.run_once()
    assert await shelf.in_redis() == {order.id}
    shelf.later()
    await shelf.move()
    found = await shelf.store.get(order.id)
    assert found is not None
    assert found.erased_ms is not None


async def test_the_key_of_an_archived_order_gives_the_same_order_and_no_other_body(shelf: Shelf) -> None:
    first = (await shelf.store.submit(new_order(idempotency_key="k", fingerprint="a"))).order
    await shelf.world.worker().run(first.id)
    shelf.later()
    await shelf.move()
    again = await shelf.store.submit(new_order(idempotency_key="k", fingerprint="a"))
    assert again.replayed
    assert again.order == await shelf.store.get(first.id)
    with pytest.raises(SubmitRefused, match="another body"):
        await shelf.store.submit(new_order(idempotency_key="k", fingerprint="b"))
    shelf.objects.fail = "get"
    shelf.archive._kept.clear()
    with pytest.raises(StoreUnavailable):
        await shelf.store.submit(new_order(idempotency_key="k", fingerprint="a"))


async def test_an_affix_may_use_an_archived_purchase_of_its_office_once(shelf: Shelf) -> None:
    ends = await shelf.finished()
    bought = ends["purchase"]
    shelf.later()
    await shelf.move()
    with pytest.raises(SubmitRefused, match="no such purchase"):
        await shelf.world.affix(purchase_order_id=bought.id, office="JKT-02")
    assert bought.serial_number is not None
    with pytest.raises(SubmitRefused, match="not one of this office"):
        await shelf.world.affix(serial_number=bought.serial_number, office="JKT-02")
    affix = await shelf.world.affix(purchase_order_id=bought.id)
    assert affix.serial_number == bought.serial_number
    with pytest.raises(SubmitRefused, match="used by another"):
        await shelf.world.affix(purchase_order_id=bought.id)


async def test_an_archived_order_can_neither_be_cancelled_nor_replayed_nor_refunded(shelf: Shelf) -> None:
    order = (await shelf.finished())["rejected"]
    shelf.later()
    await shelf.move()
    with pytest.raises(IllegalMove):
        await shelf.store.cancel(order.id)
    with pytest.raises(IllegalMove):
        await shelf.store.replay(order.id, "auto", "ops")
    with pytest.raises(IllegalMove, match="given back before"):
        await Ledger(shelf.store).refund(order.id, "ops: again")


async def test_a_repeated_withdrawal_is_answered_alike_wherever_the_order_is(shelf: Shelf) -> None:
    order = (await shelf.finished())["cancelled"]
    for _ in ("in Redis", "archived"):
        await shelf.store.cancel(order.id)
        assert await shelf.world.order(order.id) == order
        shelf.later()
        await shelf.move()
    assert order.id not in await shelf.in_redis()


@pytest.mark.parametrize("seed", range(4))
async def test_a_list_is_the_same_page_by_page_wherever_its_orders_are(shelf: Shelf, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(40):
        order = await shelf.world.submit(
            office=rng.choice(["MDN-01", "JKT-02"]), reference=rng.choice(["r", None])
        )
        if rng.random() < 0.7:
            await shelf.store.cancel(order.id)
        if rng.random() < 0.1:
            shelf.later()
            await shelf.move()
    before = await shelf.listed()
    assert len(before) == len({order.id for order in before}) == 40
    shelf.later()
    await shelf.move()
    for limit in (1, 3, 7, 50):
        for wanted in ({}, {"office": "MDN-01"}, {"state": State.CANCELLED}, {"reference": "r"}):
            fits = [order.id for order in before if Filter(**wanted).fits(order)]
            assert [order.id for order in await shelf.listed(limit, **wanted)] == fits


async def test_a_segment_that_is_rewritten_while_it_is_read_is_missed_by_no_list_and_no_check(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every segment is, again and again, when the time of its orders is over."""
    orders = list((await shelf.finished()).values())
    shelf.later()
    await shelf.move()
    eraser = Eraser(shelf.store, shelf.world.documents)
    other, get = shelf.another_archive(), Objects.get

    async def erased_before(objects: Objects, path: str) -> bytes | None:
        if orders and path.startswith("archive/orders"):
            monkeypatch.setattr(Objects, "get", get)
            shelf.store.archive = other
            await eraser.erase(orders.pop().id, "meanwhile")
            shelf.store.archive = shelf.archive
        return await get(objects, path)

    for erased in (1, 2):
        shelf.archive._kept.clear()
        monkeypatch.setattr(Objects, "get", erased_before)
        if erased == 1:
            assert len(await shelf.listed()) == 4
        else:
            assert await find_gaps(shelf.store) == Completeness(4, [])
        assert len(orders) == 4 - erased


async def test_only_the_record_that_was_archived_is_removed(shelf: Shelf) -> None:
    order = (await shelf.finished())["cancelled"]
    assert isinstance(order.personal, bytes)
    sealed = hashlib.sha1(order.personal).hexdigest()
    for version, digest in ((order.version - 1, sealed), (order.version, hashlib.sha1(b"").hexdigest())):
        _, moved = await shelf.store.scripts.run("archive", order.id, version, digest)
        assert moved == 0
    assert order.id in await shelf.in_redis()
    _, moved = await shelf.store.scripts.run("archive", order.id, order.version, sealed)
    assert moved == 1


async def test_what_was_never_given_out_is_not_in_the_archive(shelf: Shelf) -> None:
    for text in ("z" * 26, "7" * 26, "nope", ""):
        assert await shelf.store.get(text) is None


async def test_a_move_by_a_slow_store_is_still_alone_when_its_lease_would_have_ended(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_MS", 200)
    slow = Slow.at(tmp_path)
    shelf = Shelf(redis, tmp_path, slow)
    await shelf.finished()
    shelf.later()
    moving = asyncio.create_task(shelf.archiver.run_once())
    await slow.reached.wait()
    with pytest.raises(StoreUnavailable, match="another process"):
        async with alone(shelf.world.scripts, "archive", wait_s=0.5):
            pass
    slow.go_on.set()
    await moving
    assert await shelf.in_redis() == set()


async def test_a_page_far_back_in_a_list_reads_no_more_of_the_archive_than_the_first(shelf: Shelf) -> None:
    shelf.store._new_names = lambda: new_names(shelf.world.now_ms)
    for _ in range(12):
        for _ in range(3):
            await shelf.store.cancel((await shelf.world.submit()).id)
        shelf.later()
        await shelf.move()
    shelf.later()
    await shelf.move()
    read: list[str] = []
    get = shelf.objects.get

    async def counting(path: str) -> bytes | None:
        read.append(path)
        return await get(path)

    shelf.objects.get = counting  # type: ignore[method-assign]
    cursor, seen, most = None, 0, 0
    while True:
        read.clear()
        page = await listing.page(shelf.world.redis, Filter(), cursor, 3, shelf.another_archive())
        seen, most, cursor = seen + len(page.orders), max(most, len(read)), page.next_cursor
        if cursor is None:
            break
    assert (seen, most) == (36, 2)


async def test_a_move_that_lost_its_lease_leaves_what_the_next_one_has_moved(
    redis: Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both name the segment alike, for it is of the same orders."""
    shelf = Shelf(redis, tmp_path)
    made = await shelf.finished()
    shelf.later()
    pictures = Pictures(shelf.world.scripts, shelf.world.documents)
    next_one = Archiver(shelf.store, shelf.another_archive(), pictures, DAY_S)
    renew = lease.Lease.renew

    async def after_a_minute(self: lease.Lease) -> None:
        monkeypatch.setattr(lease.Lease, "renew", renew)
        await redis.delete(keys.LEASE + "archive")
        await next_one.run_once()
        await renew(self)

    monkeypatch.setattr(lease.Lease, "renew", after_a_minute)
    with pytest.raises(StoreUnavailable, match="another process"):
        await shelf.archiver.run_once()
    assert await shelf.in_redis() == set()
    for order in made.values():
        assert await shelf.another_archive().find(order.id) is not None


async def test_a_lease_is_kept_though_redis_fails_once(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease, "LEASE_MS", 400)
    world = World(redis)
    run, renewals = world.scripts.run, 0

    async def failing_once(name: str, *args: Any) -> Any:
        nonlocal renewals
        renewals += name == "keep_lease"
        if name == "keep_lease" and renewals == 1:
            raise RedisConnectionError("cut")
        return await run(name, *args)

    monkeypatch.setattr(world.scripts, "run", failing_once)
    async with alone(world.scripts, "archive"):
        async with asyncio.timeout(10):
            while renewals < 6:
                await asyncio.sleep(0.02)
        assert await redis.exists(keys.LEASE + "archive")


async def test_an_order_that_is_neither_in_redis_nor_in_a_segment_is_missed(shelf: Shelf) -> None:
    await shelf.finished()
    shelf.later()
    await shelf.move()
    young = [await shelf.world.submit() for _ in range(2)]
    assert await find_gaps(shelf.store) == Completeness(6, [])
    shelf.later()
    for order in young:
        await shelf.world.store.cancel(order.id)
    shelf.later()
    await shelf.move()
    assert await find_gaps(shelf.store) == Completeness(6, [])
    first = min(await shelf.objects.paths("archive"), key=lambda path: int(path.split("-")[-3]))
    await shelf.objects.delete(first)
    shelf.archive._kept.clear()
    assert await find_gaps(shelf.store) == Completeness(6, [Gap(1, 4)])
    held = await shelf.world.submit()
    await shelf.world.redis.zrem(keys.INDEX_ALL, held.id)
    assert (await find_gaps(shelf.store)).gaps == [Gap(1, 4), Gap(7, 7)]


async def test_orders_of_a_clock_that_was_set_back_by_days_are_not_missed(shelf: Shelf) -> None:
    """Their ids stand in a day before that of orders which came earlier."""
    shelf.store._new_names = lambda: new_names(shelf.world.now_ms)
    for days in (0, -400, 400, -2600, 2600):
        shelf.later(days * DAY_S)
        for _ in range(2):
            await shelf.world.store.cancel((await shelf.world.submit()).id)
    shelf.later()
    await shelf.move()
    assert not await shelf.in_redis()
    assert await find_gaps(shelf.store) == Completeness(10, [])


async def test_orders_dated_after_now_do_not_keep_those_behind_them(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A clock was a year ahead for a while, and was set right."""
    monkeypatch.setattr("antrean.orders.archiver.STEP_MAX", 2)
    year_s = 365 * DAY_S
    ahead: list[Order] = []
    behind: list[Order] = []
    for seconds, orders in ((year_s, ahead), (-year_s, behind)):
        shelf.later(seconds)
        for _ in range(3):
            orders.append(await shelf.world.submit())
            await shelf.world.store.cancel(orders[-1].id)
    shelf.later()
    await shelf.move()
    assert await shelf.in_redis() == {order.id for order in ahead}
    shelf.later(year_s)
    await shelf.move()
    assert not await shelf.in_redis()
