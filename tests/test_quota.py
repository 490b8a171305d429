"""A used-up quota: it is told as such, ends by itself, and an upstream that contradicts itself costs few calls."""

from __future__ import annotations

import pytest

from antrean.orders.balance import BalanceWatch
from antrean.orders.holding import BALANCE, QUOTA
from antrean.provider.errors import QuotaExhausted, Rejected, Unavailable
from antrean.provider.serials import BalanceUnreadable
from antrean.provider.translate import NotServed
from antrean.workers.prober import QuotaProbe, QuotaTrial
from orders_support import World
from test_dispatcher import Line
from test_resolve import buy


async def held(world: World) -> None:
    """An order was told that the quota is used up."""
    order = await world.submit()
    world.upstream.faults["generate"] = [QuotaExhausted("kuota habis")]
    await world.worker(f"w-{order.id}").run(order.id)
    assert QUOTA in await holds(world)


async def holds(world: World) -> set[str]:
    return set((await world.store.situation()).holds)


@pytest.mark.parametrize(("refilled", "after"), [(500, {BALANCE}), (1000, set())])
async def test_an_account_at_its_end_is_told_as_such_and_judged_when_it_is_refilled(
    world: World, refilled: int, after: set[str]
) -> None:
    """It fell to 0 though we bought one: whether that is explained is seen when purchases may go on."""
    world.upstream.quota = 985
    watch, probe = (
        BalanceWatch(world.store, world.upstream, world.resolver),
        QuotaProbe(world.store, world.upstream, QuotaTrial()),
    )
    await watch.run_once()
    world.upstream.quota = 0
    await held(world)
    for _ in range(10):
        await watch.run_once()
        await probe.run_once()
        assert await holds(world) == {QUOTA}
    world.upstream.quota = refilled
    await probe.run_once()
    await watch.run_once()
    assert await holds(world) == after


async def test_where_the_account_has_stamps_and_says_it_has_none_one_order_tries_at_each_look(
    world: World,
) -> None:
    trial = QuotaTrial()
    probe, line = QuotaProbe(world.store, world.upstream, trial), Line(world, 8, trial)
    await held(world)
    for _ in range(5):
        await world.submit()
    world.upstream.faults["generate"] = [QuotaExhausted("kuota habis") for _ in range(6)]
    for look in range(1, 7):
        await probe.run_once()
        for _ in range(3):
            await line.step()
        assert len(line.handed_out) == look
        assert await holds(world) == {QUOTA}

    by_calls = sorted([(await world.order(id_)).calls for id_ in set(line.handed_out)])
    assert by_calls[-1] <= 1
    # The seventh is bought, and the look after it lifts the hold: all others go together.
    await probe.run_once()
    await line.step()
    assert (await world.store.account.read()).bought == 1
    await probe.run_once()
    assert await holds(world) == set()
    await line.step()
    assert (await world.store.account.read()).bought == 6


async def test_where_the_balance_can_not_be_read_one_order_tries_at_each_look_and_a_sale_lifts_the_hold(
    world: World,
) -> None:
    trial = QuotaTrial()
    probe, line = QuotaProbe(world.store, world.upstream, trial), Line(world, 8, trial)
    await held(world)
    await world.submit()
    world.upstream.faults["balance"] = [
        BalanceUnreadable("no balance", sent=True),
        NotServed("status 404", page=False),
        Rejected("77", "no"),
    ]
    world.upstream.faults["generate"] = [QuotaExhausted("kuota habis")]
    await probe.run_once()
    await line.step()
    assert len(line.handed_out) == 1
    assert await holds(world) == {QUOTA}
    await probe.run_once()
    await line.step()
    assert (await world.store.account.read()).bought == 1
    await probe.run_once()
    assert await holds(world) == set()


@pytest.mark.parametrize(
    "trouble",
    [
        Unavailable("the breaker is open", refused_by_breaker=True),
        Unavailable("status 503", sent=True),
        NotServed("a page of a proxy's", page=True),
    ],
)
async def test_an_outage_lets_nobody_try_whether_it_is_over(world: World, trouble: Unavailable) -> None:
    trial = QuotaTrial()
    probe = QuotaProbe(world.store, world.upstream, trial)
    await held(world)
    world.upstream.faults["balance"] = [trouble]
    with pytest.raises(Unavailable):
        await probe.run_once()
    assert not trial.granted


async def test_a_refill_lifts_the_hold_at_the_next_look_and_a_new_hold_begins_anew(world: World) -> None:
    trial = QuotaTrial()
    probe = QuotaProbe(world.store, world.upstream, trial)
    await held(world)
    await probe.run_once()
    assert trial.granted
    world.upstream.quota += 100
    await probe.run_once()
    assert await holds(world) == set()
    assert not trial.granted
    await buy(world)
    await held(world)
    await probe.run_once()
    assert await holds(world) == {QUOTA}
    assert trial.granted


async def test_nothing_is_tried_while_the_balance_is_unexplained_or_something_is_under_way(
    world: World,
) -> None:
    trial = QuotaTrial(granted=True)
    line = Line(world, 8, trial)
    await held(world)
    await world.store.hold(BALANCE, "", "test")
    await line.step()
    assert line.handed_out == []
    await world.store.unhold(BALANCE, "test")
    await world.store.unhold(QUOTA, "test")
    office = (await world.submit()).office
    [under_way] = await world.store.dispatch([(f"buy:{office}", 1)])
    assert await world.store.claim(under_way, "w-1", "op") is not None
    await world.store.hold(QUOTA, "", "test")
    await world.submit()
    await line.step()
    assert line.handed_out == []


async def test_of_a_held_quota_only_the_order_that_tries_is_claimed_and_once(world: World) -> None:
    orders = [await world.submit() for _ in range(2)]
    await world.store.hold(QUOTA, "", "test")
    [tries] = await world.store.dispatch([(f"buy:{orders[0].office}", 1)])
    other = next(order.id for order in orders if order.id != tries)
    assert await world.store.claim(other, "w-1", "op-1") is None
    claim = await world.store.claim(tries, "w-1", "op-2")
    assert claim is not None
    await world.store.release(claim.order, "op-3", "the upstream's quota is used up", 1)
    # A second job of the same turn.
    assert await world.store.claim(tries, "w-2", "op-4") is None


async def test_an_account_that_is_empty_stays_held_however_often_it_is_looked_at(world: World) -> None:
    trial = QuotaTrial()
    probe = QuotaProbe(world.store, world.upstream, trial)
    await held(world)
    world.upstream.quota = 0
    for _ in range(10):
        await probe.run_once()
        assert QUOTA in await holds(world)
        assert not trial.granted
    world.upstream.quota = 1
    await probe.run_once()
    assert await holds(world) == set()
