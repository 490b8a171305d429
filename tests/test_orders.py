"""The way of an order through the store, on a real Valkey: submit, claim, buy, cancel, sweep, resolve."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.commit import GroupCommit
from antrean.orders.model import ClaimLost, IllegalMove, SubmitRefused
from antrean.orders.pictures import Pictures
from antrean.orders.scripts import Scripts
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.submitting import Limits
from antrean.orders.turn_ends import Outcome
from antrean.provider.errors import OutcomeUnknown, QuotaExhausted, Rejected, Unavailable
from orders_support import NO_MONEY, SETTLE_S, World, new_order
from upstream_model import PNG


def states(order: object) -> list[str]:
    return [str(h.state) for h in order.history]  # type: ignore[attr-defined]


async def test_a_purchase_is_bought_once_and_completed(world: World) -> None:
    order = await world.submit()
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    done = await world.order(order.id)
    assert states(done) == ["queued", "buying", "bought", "completed"]
    assert [s.serial_number for s in world.upstream.of(order.id)] == [done.serial_number]
    assert await world.totals() == NO_MONEY | {"paid": 10000, "bought_unused": 10000}
    assert await Pictures(world.scripts, world.documents).get(done) == PNG
    assert world.documents.kept == {}
    assert done.calls == 1


async def test_an_affix_is_bought_then_stamped_in_its_own_turn(world: World) -> None:
    order = await world.affix()
    assert await world.worker().run(order.id) is Outcome.BOUGHT
    waiting = await world.order(order.id)
    assert waiting.state is State.BOUGHT
    assert await world.rank(waiting) == 0
    assert await world.worker("w2").run(order.id) is Outcome.COMPLETED
    assert (await world.totals())["stamped"] == 10000
    assert f"stamped {order.id}" in world.documents.kept


async def test_the_same_key_and_body_give_the_same_order_and_another_body_is_refused(world: World) -> None:
    first, replayed, _ = await world.store.submit(new_order(idempotency_key="k", fingerprint="a"))
    again, was, _ = await world.store.submit(new_order(idempotency_key="k", fingerprint="a"))
    assert (replayed, was, again.id) == (False, True, first.id)
    with pytest.raises(SubmitRefused) as refused:
        await world.store.submit(new_order(idempotency_key="k", fingerprint="b"))
    assert refused.value.reason == "idempotency-key-reused"
    other, was, _ = await world.store.submit(new_order(idempotency_key="k", fingerprint="b", office="JKT-02"))
    assert not was
    assert other.id != first.id


async def test_submissions_at_the_same_time_with_one_key_make_one_order(world: World) -> None:
    orders = await asyncio.gather(*(world.store.submit(new_order(idempotency_key="k")) for _ in range(50)))
    assert len({o.id for o, *_ in orders}) == 1
    assert sum(not replayed for _, replayed, _ in orders) == 1


async def test_a_full_backlog_refuses_and_keeps_nothing(redis: Redis) -> None:
    world = World(redis, limits=Limits(backlog_max=2, office_backlog_max=1))
    await world.submit()
    with pytest.raises(SubmitRefused, match="office has too many"):
        await world.submit()
    await world.submit(office="JKT-02")
    with pytest.raises(SubmitRefused, match="backlog is full"):
        await world.submit(office="SBY-03")
    assert (await world.store.situation()).open == 2
    assert await redis.zcard(keys.INDEX_ALL) == 2


async def test_deadlines_come_first_then_age(world: World) -> None:
    late = await world.submit()
    later_due = await world.submit(deadline_ms=world.now_ms + 7_200_000)
    first_due = await world.submit(deadline_ms=world.now_ms + 3_600_000)
    second_due = await world.submit(deadline_ms=world.now_ms + 3_600_000)
    ranks = [await world.rank(o) for o in (first_due, second_due, later_due, late)]
    assert ranks == [0, 1, 2, 3]


async def test_only_one_of_two_workers_gets_the_claim(world: World) -> None:
    order = await world.submit()
    results = await asyncio.gather(world.worker("w1").run(order.id), world.worker("w2").run(order.id))
    assert sorted(results) == [Outcome.COMPLETED, Outcome.SKIPPED]
    assert world.upstream.calls["generate"] == 1


async def test_a_worker_that_may_not_publish_leaves_no_order_between_two_places(
    world: World, settings: Settings
) -> None:
    """A user of Redis 7 that was given no channel: a script that stopped there had taken the order out of its lane."""
    order = await world.submit()
    acl = ("ACL", "SETUSER", "mute", "on", ">pw", "~*", "resetchannels", "+@all")
    await world.redis.execute_command(*acl)  # type: ignore[no-untyped-call]
    mute = connect(settings.redis_url.replace("unix://", "unix://mute:pw@"), settings)
    try:
        scripts = Scripts(mute, lambda: world.now_ms)
        store = OrderStore(scripts, GroupCommit(scripts, "submit"), Limits())
        claim = await store.claim(order.id, "w1", "a")
        assert claim is not None
        await store.begin(claim.order, "b", State.BUYING, "asking", 1)
        await store.release(claim.order, "c", "", 0)
    finally:
        await mute.aclose()
        await world.redis.execute_command("ACL", "DELUSER", "mute")  # type: ignore[no-untyped-call]
    assert await world.rank(await world.order(order.id)) == 0


async def test_a_job_delivered_again_after_completion_changes_nothing(world: World) -> None:
    order = await world.submit()
    await world.worker().run(order.id)
    version = (await world.order(order.id)).version
    assert await world.worker("w2").run(order.id) is Outcome.SKIPPED
    assert (await world.order(order.id)).version == version


async def test_not_sent_goes_back_to_its_place_and_no_attempt_is_used(world: World) -> None:
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "op1")
    assert claim is not None
    assert await world.rank(order) is None
    await world.store.release(claim.order, "op2", "", 0)
    back = await world.order(order.id)
    assert (back.state, back.calls, states(back)) == (State.QUEUED, 0, ["queued"])
    assert await world.rank(back) == 0


async def test_unavailable_puts_back_with_a_wait(world: World) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = [Unavailable("not available", sent=True)]
    assert await world.worker().run(order.id) is Outcome.RELEASED
    back = await world.order(order.id)
    assert (back.state, back.calls) == (State.QUEUED, 1)
    assert await world.rank(back) is None
    world.now_ms += 2000
    await world.beat("w1")
    assert (await world.sweep()).due == 1
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    assert len(world.upstream.of(order.id)) == 1


async def test_a_rejection_ends_the_order_with_the_upstream_s_words(world: World) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = [Rejected("05", "data tidak sesuai")]
    assert await world.worker().run(order.id) is Outcome.REFUSED
    done = await world.order(order.id)
    assert done.state is State.REJECTED
    assert done.error is not None
    assert (done.error.code, done.error.message) == ("05", "data tidak sesuai")


async def test_a_used_up_quota_holds_purchases_and_costs_the_order_nothing(world: World) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = [QuotaExhausted("93")]
    assert await world.worker().run(order.id) is Outcome.RELEASED
    assert "quota_exhausted" in (await world.store.situation()).holds
    assert await world.worker().run(order.id) is Outcome.SKIPPED
    assert (await world.rank(await world.order(order.id))) == 0
    await world.store.unhold("quota_exhausted", "test")
    assert await world.worker().run(order.id) is Outcome.COMPLETED


async def test_a_lost_answer_is_asked_about_and_found(world: World) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = ["lost"]
    assert await world.worker().run(order.id) is Outcome.UNKNOWN
    assert await world.worker().run(order.id) is Outcome.SKIPPED
    world.now_ms += 20_000
    await world.resolver.run_once()
    found = await world.order(order.id)
    assert (found.state, found.serial_number) == (State.BOUGHT, world.upstream.sold[0].serial_number)
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    assert world.upstream.calls["generate"] == 1


async def test_what_is_not_on_the_list_after_settling_was_not_bought(world: World) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = [OutcomeUnknown("cut")]
    await world.worker().run(order.id)
    await world.resolver.run_once()
    world.now_ms += int(SETTLE_S * 1000) - 1
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.UNKNOWN
    world.now_ms += 20_000
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.QUEUED
    await world.beat("w1")
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    assert len(world.upstream.of(order.id)) == 1


async def test_an_answer_with_the_sn_of_another_order_is_unknown_and_both_get_their_own(world: World) -> None:
    """A proxy that mixes answers up, or an upstream that repeats one, must not give one SN to two citizens."""
    first, second = await world.submit(), await world.submit()
    assert await world.worker("w1").run(first.id) is Outcome.COMPLETED
    world.upstream.faults["generate"] = ["foreign"]
    assert await world.worker("w2").run(second.id) is Outcome.UNKNOWN
    assert (await world.order(second.id)).serial_number is None
    await world.resolver.run_once()
    await world.worker("w3").run(second.id)
    done = [await world.order(each.id) for each in (first, second)]
    assert [order.state for order in done] == [State.COMPLETED] * 2
    assert [order.serial_number for order in done] == [sale.serial_number for sale in world.upstream.sold]
    assert world.upstream.calls["generate"] == 2
    await world.assert_books_balance()


async def test_an_order_whose_sn_went_to_another_calls_a_person(world: World) -> None:
    """The wrong answer was written first: the books can not tell any more which of the two is right."""
    first, second = await world.submit(), await world.submit()
    world.upstream.sell(f"{first.id}.pdf")
    world.upstream.faults["generate"] = ["foreign"]
    assert await world.worker("w2").run(second.id) is Outcome.COMPLETED
    world.upstream.faults["generate"] = ["foreign"]
    assert await world.worker("w1").run(first.id) is Outcome.UNKNOWN
    world.upstream.sold[2].visible = False
    world.now_ms += int(SETTLE_S * 1000) + 1000
    await world.resolver.run_once()
    world.now_ms += int(SETTLE_S * 1000) + 1000
    await world.resolver.run_once()
    waiting = await world.order(first.id)
    assert waiting.state is State.ATTENTION
    assert waiting.error is not None
    assert "another order" in waiting.error.message


async def test_an_order_in_doubt_takes_its_own_sn_out_of_the_pool(world: World) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = ["lost"]
    await world.worker().run(order.id)
    await world.redis.hset(keys.POOL, world.upstream.sold[0].serial_number, order.id)
    world.now_ms += 20_000
    await world.resolver.run_once()
    found = await world.order(order.id)
    assert (found.state, found.serial_number) == (State.BOUGHT, world.upstream.sold[0].serial_number)
    assert await world.redis.hlen(keys.POOL) == 0


async def test_a_late_answer_is_taken_in(world: World) -> None:
    order = await world.submit()
    arrives: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    world.upstream.faults["generate"] = [arrives]
    worker = world.worker()
    assert await worker.run(order.id) is Outcome.UNKNOWN
    arrives.set_result(None)
    async with asyncio.timeout(5):
        while (await world.order(order.id)).state is not State.BOUGHT:
            await asyncio.sleep(0.01)
    assert await world.worker("w2").run(order.id) is Outcome.COMPLETED
    assert len(world.upstream.of(order.id)) == 1


async def test_an_sn_that_shows_up_after_a_second_purchase_goes_to_the_pool_and_is_used_next(
    world: World,
) -> None:
    order = await world.submit()
    world.upstream.lists_new = False
    world.upstream.faults["generate"] = ["lost"]
    await world.worker().run(order.id)
    world.upstream.lists_new = True
    await world.resolver.run_once()
    world.now_ms += int(SETTLE_S * 1000) + 1000
    await world.resolver.run_once()
    await world.beat("w1", "w2")
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    first, second = world.upstream.of(order.id)
    first.visible = True
    await world.resolver.walk(None)
    assert await world.redis.hkeys(keys.POOL) == [first.serial_number.encode()]
    following = await world.submit()
    assert await world.worker("w2").run(following.id) is Outcome.COMPLETED
    assert (await world.order(following.id)).serial_number == first.serial_number
    assert len(world.upstream.sold) == 2
    assert (await world.order(order.id)).serial_number == second.serial_number


async def test_a_worker_that_wakes_after_its_claim_is_gone_cannot_write_and_its_sn_is_kept(
    world: World,
) -> None:
    order = await world.submit()

    async def pause(_: str) -> None:
        world.now_ms += 60_000
        await world.beat("w2")
        assert (await world.sweep()).expired == 1

    world.upstream.before_answer = pause
    assert await world.worker("w1").run(order.id) is Outcome.LOST
    found = await world.order(order.id)
    assert (found.state, found.serial_number) == (State.BOUGHT, world.upstream.sold[0].serial_number)
    world.upstream.before_answer = None
    assert await world.worker("w2").run(order.id) is Outcome.COMPLETED
    assert len(world.upstream.sold) == 1


async def test_an_old_token_can_do_nothing(world: World) -> None:
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "a")
    assert claim is not None
    world.now_ms += 60_000
    await world.beat("w2")
    await world.sweep()
    fresh = await world.store.claim(order.id, "w2", "b")
    assert fresh is not None
    old = claim.order
    with pytest.raises(ClaimLost):
        await world.store.begin(old, "c", State.BUYING, "", 1)
    with pytest.raises(ClaimLost):
        await world.store.release(old, "d", "x", 0)
    await world.store.begin(fresh.order, "e", State.BUYING, "", 1)
    for step in (
        world.store.bought(old, "f", "SN1", 1),
        world.store.doubt(old, "g", "", 1),
        world.store.refuse(old, "h", "reject", "1", "", 1),
        world.store.complete(old, "i", 1),
    ):
        with pytest.raises(ClaimLost):
            await step
    assert (await world.order(order.id)).state is State.BUYING


async def test_every_write_of_a_worker_can_be_repeated_after_a_lost_answer(world: World) -> None:
    order = await world.submit()
    first, claim = [await world.store.claim(order.id, "w1", "a") for _ in range(2)]
    assert first is not None
    assert claim == first
    for _ in range(2):
        await world.store.begin(claim.order, "b", State.BUYING, "", 1)
    for _ in range(2):
        await world.store.bought(claim.order, "c", "SN1", 1)
    for _ in range(2):
        await world.store.complete(claim.order, "d", 1)
    done = await world.order(order.id)
    assert states(done) == ["queued", "buying", "bought", "completed"]
    assert await world.redis.xlen(keys.LEDGER) == 2
    assert (await world.store.situation()).by_state[State.COMPLETED] == 1


async def test_a_list_whose_pages_count_from_0_is_read_whole(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = ["lost"]
    await world.worker().run(order.id)
    assert (await world.order(order.id)).state is State.UNKNOWN
    from_1 = world.upstream.serial_page
    monkeypatch.setattr(world.upstream, "serial_page", lambda page, size: from_1(page + 1, size))
    world.now_ms += 200_000
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.BOUGHT


async def test_a_dispatched_order_without_a_job_is_back_in_seconds(world: World) -> None:
    order = await world.submit()
    assert await world.store.dispatch([("buy:MDN-01", 1)], {}) == [order.id]
    assert await world.rank(order) is None
    world.now_ms += 3001
    assert (await world.sweep(jobs=(order.id,))).restored == 0
    assert (await world.sweep()).restored == 1
    assert await world.rank(order) == 0


async def test_cancel_gives_the_money_back_while_nothing_is_bought_and_never_after(world: World) -> None:
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "a")
    assert claim is not None
    await world.store.cancel(order.id)
    with pytest.raises(ClaimLost):
        await world.store.begin(claim.order, "b", State.BUYING, "", 1)
    assert (await world.order(order.id)).state is State.CANCELLED
    assert (await world.totals())["refunded"] == 10000
    await world.store.cancel(order.id)
    bought = await world.submit()
    await world.worker().run(bought.id)
    with pytest.raises(IllegalMove):
        await world.store.cancel(bought.id)
