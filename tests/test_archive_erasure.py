"""Whoever is erased, or sealed anew, is so in the archive as well, whatever moves or is damaged there meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.archive import ArchiveDamaged
from antrean.orders.codes import Code
from antrean.orders.completeness import Gap, find_gaps
from antrean.orders.erasure import Eraser
from antrean.orders.model import Order, StoreUnavailable, body_json
from antrean.orders.reconcile import Difference, reconcile
from antrean.orders.store import OrderStore
from antrean.orders.vault import Vault, VaultKey
from archive_support import DAY_S, Shelf, Slow
from orders_support import VAULT

pytestmark = pytest.mark.usefixtures("noted")


@pytest.fixture
async def shelf(redis: Redis, tmp_path: Path) -> Shelf:
    return Shelf(redis, tmp_path / "objects")


async def test_one_person_is_erased_from_the_archive_and_the_others_stay(
    shelf: Shelf, tmp_path: Path
) -> None:
    ends = await shelf.finished()
    order, other = ends["affix"], ends["purchase"]
    shelf.later()
    await shelf.move()
    eraser = Eraser(shelf.store, shelf.world.documents)
    for _ in range(2):
        await eraser.erase(order.id, "erased by ops")
    erased = await shelf.store.get(order.id)
    assert erased is not None
    assert (erased.personal, erased.masked) == (None, None)
    assert erased.history[-1].note == "erased by ops"
    assert erased.serial_number == order.serial_number
    assert shelf.store.personal.taxpayer_of(await shelf.world.order(other.id)).name == "Siti Aminah"
    assert await shelf.another_archive().find(other.id) == other
    paths = await shelf.objects.paths("archive")
    assert len(paths) == 1
    assert f"upload {order.document_id}" not in shelf.world.documents.kept


async def test_people_erased_at_once_by_two_processes_from_one_segment_stay_erased(shelf: Shelf) -> None:
    orders = [await shelf.world.submit() for _ in range(6)]
    for order in orders:
        await shelf.world.store.cancel(order.id)
    shelf.later()
    await shelf.move()
    assert len(await shelf.objects.paths("archive")) == 1

    async def erase(order: Order) -> None:
        store = OrderStore(shelf.world.scripts, shelf.store._commit, shelf.world.limits, vault=VAULT)
        store.archive = shelf.another_archive()
        await Eraser(store, shelf.world.documents).erase(order.id, "asked|for\nat once")

    await asyncio.gather(*(erase(order) for order in orders))
    fresh = shelf.another_archive()
    for order in orders:
        found = await fresh.find(order.id)
        assert found is not None
        assert (found.masked, found.personal) == (None, None)
        assert found.history[-1].note == "asked for at once"
    assert len(await shelf.objects.paths("archive")) == 1


async def test_a_copy_that_a_move_cut_short_left_in_the_archive_is_erased_too(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = (await shelf.finished())["cancelled"]
    shelf.later()

    async def lost(*_: object) -> int:
        raise StoreUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(shelf.archiver, "_remove", lost)
        with pytest.raises(StoreUnavailable):
            await shelf.archiver.run_once()
    copy = await shelf.archive.find(order.id)
    assert copy is not None
    assert copy.masked is not None
    await Eraser(shelf.store, shelf.world.documents).erase(order.id, "asked for")
    copy = await shelf.another_archive().find(order.id)
    assert copy is not None
    assert (copy.masked, copy.personal) == (None, None)


async def test_the_archive_is_erased_when_the_time_of_its_orders_is_over(shelf: Shelf) -> None:
    ends = await shelf.finished()
    shelf.later()
    await shelf.move()
    eraser = Eraser(shelf.store, shelf.world.documents, retention_days=60)
    await eraser.run_once()
    assert (await shelf.world.order(ends["affix"].id)).erased_ms is None
    shelf.later(60 * DAY_S)
    await eraser.run_once()
    assert all([(await shelf.world.order(o.id)).erased_ms for o in ends.values()])
    assert await shelf.world.redis.zcard(keys.ERASE) == 0


async def test_archived_orders_are_sealed_anew_when_keys_change(shelf: Shelf, redis: Redis) -> None:
    ends = await shelf.finished()
    order, clear = ends["purchase"], ends["cancelled"]
    await redis.hdel(keys.ORDER + clear.id, "pii")  # as version 0.1 wrote it
    await redis.hset(
        keys.ORDER + clear.id, "body", body_json(clear, shelf.store.personal.taxpayer_of(clear)).decode()
    )
    shelf.later()
    await shelf.move()
    fresh = VaultKey("fresh", bytes(range(32)))
    both = Vault([fresh, VaultKey("test", bytes(32))])
    store = OrderStore(shelf.store.scripts, shelf.store._commit, shelf.world.limits, vault=both)
    assert await shelf.archive.rewrite_all(store.personal.resealed_record) == 4
    assert await shelf.archive.rewrite_all(store.personal.resealed_record) == 0
    alone = OrderStore(shelf.store.scripts, shelf.store._commit, shelf.world.limits, vault=Vault([fresh]))
    found = await shelf.archive.find(order.id)
    assert found is not None
    assert alone.personal.taxpayer_of(found) == shelf.store.personal.taxpayer_of(order)
    found = await shelf.archive.find(clear.id)
    assert found is not None
    assert isinstance(found.personal, bytes)
    assert (found.masked, alone.personal.taxpayer_of(found)) == (
        clear.masked,
        shelf.store.personal.taxpayer_of(clear),
    )


async def test_who_was_erased_while_a_move_stood_still_is_not_in_what_it_writes(
    redis: Redis, tmp_path: Path
) -> None:
    slow = Slow.at(tmp_path)
    shelf = Shelf(redis, tmp_path, slow)
    erased = (await shelf.finished())["purchase"]
    shelf.later()
    moving = asyncio.create_task(shelf.archiver.run_once())
    await slow.reached.wait()
    await redis.delete(keys.LEASE + "archive")  # as for a process that stands still for a minute
    await Eraser(shelf.store, shelf.world.documents).erase(erased.id, "asked for")
    slow.go_on.set()
    with pytest.raises(StoreUnavailable, match="another process"):
        await moving
    assert await shelf.archive.find(erased.id) is None
    shelf.later()
    await shelf.move()
    kept = await shelf.archive.find(erased.id)
    assert kept is not None
    assert (kept.personal, kept.masked, kept.document.filename) == (None, None, "erased")


async def test_a_damaged_segment_is_told_by_name_and_holds_up_nobody_elses_erasure(shelf: Shelf) -> None:
    """The disk has spoilt one of two segments."""
    spoilt = await shelf.finished()
    shelf.later()
    await shelf.move()
    [path] = await shelf.archive_paths()
    whole = await shelf.finished()
    shelf.later()
    await shelf.move()
    content = await shelf.objects.get(path) or b""
    eraser = Eraser(shelf.store, shelf.world.documents, retention_days=60)
    for spoiled in (content[:-9], content[:40] + bytes([content[40] ^ 4]) + content[41:], b"", b"no gzip"):
        await shelf.objects.put(path, spoiled)
        shelf.store.archive = shelf.archive = shelf.another_archive()
        with pytest.raises(ArchiveDamaged, match=path):
            await shelf.store.get(spoilt["purchase"].id)
        with pytest.raises(ArchiveDamaged):
            await shelf.listed()
        assert (await shelf.store.get(whole["purchase"].id)) == whole["purchase"]
        found = await find_gaps(shelf.store)
        assert (found.gaps, len(found.damaged)) == ([Gap(1, 4)], 1)
        assert path in found.damaged[0]
        serial, what = (
            spoilt["purchase"].serial_number,
            "its order can not be read: a part of the archive is damaged",
        )
        compared = await reconcile(shelf.store, shelf.world.upstream)
        assert compared.differences == [Difference(serial or "", spoilt["purchase"].id, what)]
        # An SN of one of them is looked at again by a later walk; what else is on the list does not wait.
        assert await shelf.store.found(spoilt["cancelled"].id, "S" * 22, "found", walk=True) == Code.STATE
    shelf.later(60 * DAY_S)
    await eraser.run_once()
    assert all([(await shelf.world.order(o.id)).erased_ms for o in whole.values()])
    assert await shelf.world.redis.zcard(keys.ERASE) == 4
    await shelf.objects.put(path, content)
    await eraser.run_once()
    assert await shelf.world.redis.zcard(keys.ERASE) == 4
    shelf.later()
    await eraser.run_once()
    assert all([(await shelf.world.order(o.id)).erased_ms for o in spoilt.values()])
