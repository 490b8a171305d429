"""The QR picture of an SN: kept with it in one step, in the document store once its order is archived."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.archive import Archive
from antrean.orders.archiver import Archiver
from antrean.orders.documents import DocumentStore
from antrean.orders.erasure import Eraser
from antrean.orders.lease import alone
from antrean.orders.model import Order, StoreUnavailable
from antrean.orders.pictures import BESIDE_MAX, Pictures
from antrean.orders.states import State
from antrean.orders.turn_ends import Outcome
from antrean.provider.errors import SerialUnusable
from antrean.provider.protocol import Generated
from orders_support import World
from upstream_model import PNG

DAY_S = 24 * 3600
LARGE = PNG + bytes(BESIDE_MAX)


@pytest.fixture
def world(redis: Redis) -> World:
    return World(redis)


@pytest.fixture
def pictures(world: World) -> Pictures:
    return Pictures(world.scripts, world.documents)


@pytest.fixture
def archiver(world: World, pictures: Pictures, tmp_path: Path) -> Archiver:
    objects = DocumentStore.from_url(tmp_path.as_uri())
    world.store.archive = Archive(objects, lambda: alone(world.scripts, "archive"))
    return Archiver(world.store, world.store.archive, pictures, DAY_S)


async def picture(world: World, pictures: Pictures, order: Order) -> bytes | None:
    return await pictures.get(await world.order(order.id))


async def done_a_day_ago(world: World) -> Order:
    """A completed purchase that may go to the archive."""
    order = await world.submit()
    await world.worker().run(order.id)
    world.now_ms += (DAY_S + 1) * 1000
    return order


async def bought(world: World, order: Order, picture: bytes) -> bool:
    """Claim it, buy, and be killed with the picture kept and nothing else."""
    claim = await world.store.claim(order.id, "w1", "claim")
    assert claim is not None
    await world.store.begin(claim.order, "begin", State.BUYING, "asking", 1)
    sale = world.upstream.sell(f"{order.id}.pdf")
    return await world.store.bought(claim.order, "bought", sale.serial_number, 1, picture)


async def test_a_picture_is_there_with_its_sn_and_nobody_is_asked_for_it_again(
    world: World, pictures: Pictures
) -> None:
    order = await world.submit()
    assert await bought(world, order, PNG)
    assert await picture(world, pictures, order) == PNG
    world.now_ms += 60_000
    await world.beat("w2")
    await world.sweep()
    assert await world.worker("w2").run(order.id) is Outcome.COMPLETED
    assert world.upstream.calls["qr_image"] == 0
    assert world.documents.kept == {}


async def test_an_sn_that_is_another_order_s_brings_no_picture(world: World, pictures: Pictures) -> None:
    first, second = await world.submit(), await world.submit()
    await world.worker().run(first.id)
    world.upstream.faults["generate"] = ["foreign"]
    assert await world.worker().run(second.id) is Outcome.UNKNOWN
    assert await picture(world, pictures, second) is None


async def test_a_picture_goes_to_the_document_store_with_its_order_s_move(
    world: World, pictures: Pictures, archiver: Archiver
) -> None:
    order, later = await world.submit(), await world.submit()
    await world.worker().run(order.id)
    world.now_ms += (DAY_S + 1) * 1000
    await world.worker().run(later.id)
    await archiver.run_once()
    assert not await world.redis.exists(keys.ORDER + order.id)
    done, waiting = await world.order(order.id), await world.order(later.id)
    assert not await world.redis.exists(f"{keys.PICTURE}{done.serial_number}")
    assert world.documents.kept == {f"qr {done.serial_number}": PNG}
    assert await picture(world, pictures, order) == PNG
    assert await world.redis.exists(f"{keys.PICTURE}{waiting.serial_number}")


async def test_an_order_whose_picture_can_not_be_moved_stays_with_it(
    world: World, pictures: Pictures, archiver: Archiver
) -> None:
    order = await done_a_day_ago(world)
    world.documents.broken = True
    with pytest.raises(StoreUnavailable, match="disk full"):
        await archiver.run_once()
    assert await world.redis.exists(keys.ORDER + order.id)
    assert await picture(world, pictures, order) == PNG
    assert world.store.archive is not None
    assert await world.store.archive.find(order.id) is None
    world.documents.broken = False
    await archiver.run_once()
    assert not await world.redis.exists(keys.ORDER + order.id)
    assert await picture(world, pictures, order) == PNG


@pytest.mark.parametrize("moved", [False, True], ids=["beside", "moved"])
async def test_an_erased_order_has_no_picture(
    world: World, pictures: Pictures, archiver: Archiver, moved: bool
) -> None:
    order = await done_a_day_ago(world)
    if moved:
        await archiver.run_once()
    await Eraser(world.store, world.documents).erase(order.id, "asked for")
    assert await picture(world, pictures, order) is None
    assert world.documents.kept == {}
    assert not [key async for key in world.redis.scan_iter(keys.PICTURE + "*")]


async def test_a_large_picture_is_a_file_at_once_and_a_broken_store_holds_the_order(
    world: World, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await world.submit()
    generate = world.upstream.generate

    async def large(*args: object) -> Generated:
        return Generated((await generate(*args)).serial_number, LARGE)  # type: ignore[arg-type]

    monkeypatch.setattr(world.upstream, "generate", large)
    world.documents.broken = True
    assert await world.worker().run(order.id) is Outcome.RELEASED
    world.documents.broken = False
    assert (await world.order(order.id)).state is State.BOUGHT
    world.now_ms += 600_000
    await world.beat("w1")
    await world.sweep()
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    assert world.upstream.calls["qr_image"] == 1  # the held one was lost with its turn
    serial = (await world.order(order.id)).serial_number
    assert serial is not None
    await pictures.keep(order.id, serial, LARGE)
    assert world.documents.kept[f"qr {serial}"] == LARGE


async def test_what_comes_for_an_order_that_is_archived_goes_to_the_document_store(
    world: World, pictures: Pictures, archiver: Archiver
) -> None:
    order = await done_a_day_ago(world)
    await archiver.run_once()
    serial = (await world.order(order.id)).serial_number
    assert serial is not None
    await pictures.keep(order.id, serial, PNG + b"again")
    assert not await world.redis.exists(keys.PICTURE + serial)
    assert await picture(world, pictures, order) == PNG + b"again"


async def test_an_order_that_gets_another_sn_gets_the_picture_of_that_one(
    world: World, pictures: Pictures
) -> None:
    order = await world.affix()
    await world.worker().run(order.id)
    first = (await world.order(order.id)).serial_number
    world.upstream.faults["stamp"] = [SerialUnusable("97", "used on another document")]
    await world.worker().run(order.id)
    gone = await world.submit()
    await world.store.cancel(gone.id)
    spare = world.upstream.sell(f"{gone.id}.pdf")
    await world.store.found(gone.id, spare.serial_number, "found")
    await world.store.replay(order.id, "new_serial", "ops: another one")
    now = await world.order(order.id)
    assert (now.serial_number, first) == (spare.serial_number, world.upstream.sold[0].serial_number)
    assert await pictures.get(now) is None
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    assert world.upstream.calls["qr_image"] == 1
    assert await world.redis.exists(f"{keys.PICTURE}{now.serial_number}")


@pytest.mark.parametrize("moved", [False, True], ids=["beside", "moved"])
async def test_an_erased_affix_leaves_the_picture_of_the_purchase_whose_sn_it_used(
    world: World, pictures: Pictures, archiver: Archiver, moved: bool
) -> None:
    purchase = await world.submit()
    await world.worker().run(purchase.id)
    affix = await world.affix(purchase_order_id=purchase.id)
    assert await world.worker().run(affix.id) is Outcome.COMPLETED
    assert await picture(world, pictures, affix) == PNG
    assert world.upstream.calls["qr_image"] == 0
    if moved:
        world.now_ms += (DAY_S + 1) * 1000
        await archiver.run_once()
    await Eraser(world.store, world.documents).erase(affix.id, "asked for")
    assert await picture(world, pictures, purchase) == PNG


async def test_an_erasure_waits_for_a_move_to_the_archive_and_leaves_nothing(
    world: World, pictures: Pictures, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archiver has read the picture, and not written it: the erasure must not come between."""
    order = await done_a_day_ago(world)
    erasing: list[asyncio.Task[None]] = []
    put = world.documents.put_qr

    async def late(name: str, png: bytes) -> None:
        erasing.append(asyncio.create_task(Eraser(world.store, world.documents).erase(order.id, "asked for")))
        await asyncio.wait(erasing, timeout=0.2)
        await put(name, png)

    monkeypatch.setattr(world.documents, "put_qr", late)
    await archiver.run_once()
    await asyncio.gather(*erasing)
    gone = await world.order(order.id)
    assert gone.erased_ms is not None
    assert gone.masked is None
    assert await pictures.get(gone) is None
    assert world.documents.kept == {}


async def test_a_late_answer_brings_no_picture_back_after_an_erasure(
    world: World, pictures: Pictures
) -> None:
    order = await world.submit()
    await world.worker().run(order.id)
    done = await world.order(order.id)
    await Eraser(world.store, world.documents).erase(order.id, "asked for")
    assert done.serial_number is not None
    await world.worker()._found(order.id, Generated(done.serial_number, PNG))
    await pictures.keep(order.id, done.serial_number, PNG)
    assert await pictures.get(done) is None


async def test_a_moment_without_redis_after_a_purchase_does_not_end_the_turn(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await world.submit()
    generate, failures = world.upstream.generate, [StoreUnavailable("a moment")]

    async def without_picture(*args: object) -> Generated:
        return Generated((await generate(*args)).serial_number, None)  # type: ignore[arg-type]

    worker = world.worker()
    get = worker._pictures.get

    async def once_away(wanted: Order) -> bytes | None:
        if failures:
            raise failures.pop()
        return await get(wanted)

    monkeypatch.setattr(world.upstream, "generate", without_picture)
    monkeypatch.setattr(worker._pictures, "get", once_away)
    assert await worker.run(order.id) is Outcome.COMPLETED
    assert failures == []
