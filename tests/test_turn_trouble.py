"""Turns in which something small goes wrong at an unlucky moment: nothing loops, nothing waits for minutes, nobody else
gets the SN."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest.mock import AsyncMock

import pytest

from antrean.orders import keys
from antrean.orders.fulfil import PICTURE_CALLS_MAX, STAMP_CALLS_MAX
from antrean.orders.holding import BALANCE, PAUSED
from antrean.orders.model import Order, StoreUnavailable
from antrean.orders.states import State
from antrean.orders.turn_ends import Outcome
from antrean.provider.breaker import NotAdmitted
from antrean.provider.errors import OutcomeUnknown, QuotaExhausted, Rejected, SerialUnusable, Unavailable
from antrean.provider.protocol import CallMeter, Generated, GenerateRequest, StampRequest
from orders_support import World

UNKNOWN_SERIAL = SerialUnusable("92", "this serial number is not known")
NO_PICTURE = Rejected("no-picture", "the upstream answered without a picture of the serial number")


async def bought_without_picture(world: World) -> Order:
    """An affix order whose SN is there and whose picture is kept nowhere."""
    order = await world.affix()
    await world.worker().run(order.id)
    await world.redis.delete(keys.PICTURE + world.upstream.sold[0].serial_number)
    world.documents.kept = {k: v for k, v in world.documents.kept.items() if k.startswith("upload")}
    return order


@pytest.mark.parametrize("kind", ["purchase", "affix"])
async def test_a_picture_that_is_never_there_calls_a_person_in_the_end(world: World, kind: str) -> None:
    async def without_picture(request: GenerateRequest, meter: CallMeter) -> Generated:
        await meter.sending()
        return Generated(world.upstream.sell(f"{request.order_ref}.pdf").serial_number, None)

    world.upstream.generate = without_picture  # type: ignore[method-assign]
    world.upstream.faults["qr_image"] = [NO_PICTURE] * 100
    order = await (world.affix() if kind == "affix" else world.submit())
    turns = 0
    while (await world.order(order.id)).state is not State.ATTENTION:
        await world.worker(f"w{turns}").run(order.id)
        world.now_ms += 60_000
        await world.sweep()
        turns += 1
        assert turns <= PICTURE_CALLS_MAX
    waiting = await world.order(order.id)
    assert waiting.error is not None
    assert waiting.error.code == "no-picture"
    assert len(world.upstream.of(order.id)) == 1
    # Put back, it is asked for again: this time it is there.
    world.upstream.faults.clear()
    assert await world.store.replay(order.id, "auto", "ops: again") is State.BOUGHT
    await world.worker("again").run(order.id)
    assert (await world.order(order.id)).state is State.COMPLETED


async def test_an_sn_that_came_with_its_order_and_is_not_known_calls_a_person_at_once(world: World) -> None:
    world.upstream.faults["qr_image"] = [UNKNOWN_SERIAL]
    order = await world.affix(serial_number="TYPEDWRONG123456")
    await world.worker().run(order.id)
    waiting = await world.order(order.id)
    assert (waiting.state, waiting.error and waiting.error.code) == (State.ATTENTION, "92")


@pytest.mark.parametrize("no", [NO_PICTURE, UNKNOWN_SERIAL])
async def test_a_picture_that_comes_a_little_later_calls_nobody(
    world: World, no: Rejected | SerialUnusable
) -> None:
    order = await bought_without_picture(world)
    world.upstream.faults["qr_image"] = [no] * 3
    for number in range(4):
        await world.worker(f"w{number}").run(order.id)
        world.now_ms += 60_000
        await world.sweep()
    assert (await world.order(order.id)).state is State.COMPLETED


async def test_a_picture_that_the_other_breaker_keeps_away_waits_and_lets_others_be_stamped(
    world: World,
) -> None:
    """The dispatcher waits for the signing service alone, and would hand it out again at once, before all others."""
    order = await bought_without_picture(world)
    before = await world.order(order.id)
    for number, wait_s in enumerate((4.0, None)):  # until the next probe; while it is being tried
        refused = NotAdmitted("the upstream is not available", retry_after_s=wait_s, refused_by_breaker=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.upstream, "qr_image", AsyncMock(side_effect=refused))
            await world.worker(f"w{number}").run(order.id)
        waiting = await world.order(order.id)
        assert (waiting.state, waiting.calls, waiting.owner) == (State.BOUGHT, before.calls, "")
        assert waiting.history == before.history
        assert await world.rank(waiting) is None
        world.now_ms += 10_000
        await world.sweep()
        assert await world.rank(waiting) == 0
    await world.worker("again").run(order.id)
    assert (await world.order(order.id)).state is State.COMPLETED


async def test_one_that_is_handed_out_to_be_stamped_is_next_and_does_not_wait_for_the_server(
    world: World,
) -> None:
    order = await world.affix()
    await world.worker().run(order.id)
    assert await world.store.dispatch([("stamp", 1)], None) == [order.id]
    assert await world.rank(await world.order(order.id)) == 0


@pytest.mark.parametrize("call", ["stamp", "qr_image"])
async def test_a_quota_used_up_for_a_free_call_is_not_asked_after_each_second(
    world: World, call: str
) -> None:
    """No hold stops these calls, and paying in takes people minutes at least."""
    order = await bought_without_picture(world)
    world.upstream.faults[call] = [QuotaExhausted("kuota habis")] * 100
    for second in range(90):
        if await world.rank(await world.order(order.id)) is not None:
            await world.worker(f"w{second}").run(order.id)
        world.now_ms += 1000
        await world.sweep()
    assert 4 <= world.upstream.calls[call] <= 12
    del world.upstream.faults[call]
    world.now_ms += 23_000
    await world.sweep()
    await world.worker("again").run(order.id)
    ended = await world.order(order.id)
    assert (ended.state, len(world.upstream.sold)) == (State.COMPLETED, 1)


async def test_a_login_that_can_not_be_had_for_long_leaves_the_history_as_it_was(world: World) -> None:
    order = await world.affix()
    await world.worker().run(order.id)
    before = await world.order(order.id)
    stamp = AsyncMock(side_effect=NotAdmitted("no token can be had", retry_after_s=5.0))
    world.upstream.stamp = stamp  # type: ignore[method-assign]
    for number in range(80):
        await world.worker(f"w{number}").run(order.id)
        world.now_ms += 20_000
        await world.sweep()
    waiting = await world.order(order.id)
    assert stamp.await_count == 80
    assert (waiting.state, waiting.history) == (State.BOUGHT, before.history)


async def test_an_upload_that_is_refused_before_anything_was_sent_calls_a_person(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the cloud's signing service refuses a PDF."""
    order = await world.affix()

    async def refused(request: StampRequest, meter: CallMeter) -> bytes:
        raise Rejected("98", "file not accepted")

    monkeypatch.setattr(world.upstream, "stamp", refused)
    for _ in range(2):
        await world.worker().run(order.id)
    assert (await world.order(order.id)).state is State.ATTENTION


async def test_redis_away_for_a_moment_before_a_repetition_leaves_no_claim_behind(world: World) -> None:
    """The upstream has answered 503; then the intent of the repetition can not be written."""
    order = await world.submit()

    async def away(*_: object) -> None:
        raise StoreUnavailable("no answer in time")

    async def generate(request: GenerateRequest, meter: CallMeter) -> Generated:
        await meter.sending()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(world.store, "begin", away)
            await meter.sending()
        raise AssertionError("the intent was taken for written")

    world.upstream.generate = generate  # type: ignore[method-assign]
    await world.worker().run(order.id)
    after = await world.order(order.id)
    assert (after.state, after.owner) == (State.QUEUED, "")


async def test_an_answer_that_comes_before_the_doubt_is_written_goes_to_its_order(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await world.submit()
    late = asyncio.get_running_loop().create_future()

    async def generate(request: GenerateRequest, meter: CallMeter) -> Generated:
        await meter.sending()
        late.set_result(Generated(world.upstream.sell(f"{request.order_ref}.pdf").serial_number, None))
        raise OutcomeUnknown("no answer in time", late=late)

    doubt, tries = world.store.doubt, 0

    async def in_vain_once(*args: object) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreUnavailable("no answer in time")
        await doubt(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(world.store, "doubt", in_vain_once)
    world.upstream.generate = generate  # type: ignore[method-assign]
    worker = world.worker()
    await worker.run(order.id)
    assert await world.redis.hlen(keys.POOL) == 0
    async with asyncio.timeout(5):
        while (await world.order(order.id)).state is not State.BOUGHT:
            await asyncio.sleep(0.01)
    await worker.aclose()


async def test_trials_of_a_half_open_breaker_are_no_attempts_of_the_order_and_call_nobody(
    world: World,
) -> None:
    """An adapter that takes connections and breaks them: its orders wait, however long that lasts."""
    every_s = 0.5
    failed = OutcomeUnknown("the connection broke")
    failed.trial_every_s = every_s
    world.upstream.faults["stamp"] = [failed] * (2 * STAMP_CALLS_MAX)
    order = await world.affix()
    await world.worker().run(order.id)
    bought = await world.order(order.id)
    for turn in range(2 * STAMP_CALLS_MAX):
        await world.worker(f"w{turn}").run(order.id)
        held = await world.order(order.id)
        assert (held.state, held.calls) == (State.BOUGHT, bought.calls)
        # It takes its turn again when the next trial is due, or a little later.
        later: Any = await world.redis.zrange(keys.LATER, 0, -1, withscores=True)
        ((_, until_ms),) = later
        assert 1000 * every_s <= until_ms - world.now_ms <= 3000 * every_s
        world.now_ms = int(until_ms)
        await world.beat("w")
        await world.sweep()
    await world.worker("well").run(order.id)
    assert (await world.order(order.id)).state is State.COMPLETED


async def test_trials_go_round_among_those_that_wait_and_change_no_places(world: World) -> None:
    """A few orders whose stamping always fails would make every trial, were it always the first in line."""
    orders = [await world.affix() for _ in range(3)]
    for order in orders:
        await world.worker().run(order.id)
    waiting = await world.redis.zrange(keys.LANE_STAMP, 0, -1, withscores=True)
    failed = OutcomeUnknown("the connection broke")
    failed.trial_every_s = 0.5
    tried = []
    for _ in range(5):
        world.upstream.faults["stamp"] = [failed]
        [order_id] = await world.store.dispatch([("trial:stamp", 1)])
        tried.append(order_id)
        await world.worker().run(order_id)
        world.now_ms += 2000
        await world.beat("w")
        await world.sweep()
    a, b, c = (each.id for each in orders)
    assert tried == [a, b, c, a, b]
    assert await world.redis.zrange(keys.LANE_STAMP, 0, -1, withscores=True) == waiting
    # Once it is closed again the first in line is the first.
    assert await world.store.dispatch([("stamp", 1)]) == [a]


@pytest.mark.parametrize("hold", [PAUSED, BALANCE])
async def test_purchases_that_were_stopped_after_the_claim_send_nothing(world: World, hold: str) -> None:
    """A turn may wait seconds for a slot."""
    order = await world.submit()
    sold = 0

    async def generate(request: GenerateRequest, meter: CallMeter) -> Generated:
        nonlocal sold
        await world.store.hold(hold, "stop", "ops")
        await meter.sending()
        sold += 1
        return Generated(world.upstream.sell(f"{request.order_ref}.pdf").serial_number, None)

    world.upstream.generate = generate  # type: ignore[method-assign]
    assert await world.worker().run(order.id) is Outcome.RELEASED
    after = await world.order(order.id)
    assert (after.state, after.owner, after.calls, sold) == (State.QUEUED, "", 0, 0)
    assert await world.redis.zscore(keys.LANE_BUY + order.office, order.id) == order.score
    await world.store.unhold(hold, "ops")


async def test_a_trial_of_generate_that_did_not_happen_is_no_attempt_of_the_order(world: World) -> None:
    refused = Unavailable("turned away", sent=True)
    refused.trial_every_s = 1.0
    world.upstream.faults["generate"] = [refused]
    order = await world.submit()
    await world.worker().run(order.id)
    held = await world.order(order.id)
    assert (held.state, held.calls) == (State.QUEUED, 0)
