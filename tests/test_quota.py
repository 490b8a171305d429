"""A used-up quota: it is told as such, ends by itself, and an upstream that contradicts itself costs few calls."""

from __future__ import annotations

import pytest

from antrean.orders.balance import BalanceWatch
from antrean.orders.holding import BALANCE, QUOTA
from antrean.provider.errors import QuotaExhausted
from antrean.workers.prober import LOOKS_BETWEEN_MAX, QuotaProbe
from orders_support import World
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
        QuotaProbe(world.store, world.upstream),
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


async def test_a_balance_that_says_more_than_the_account_bears_costs_few_calls(world: World) -> None:
    probe, lifted = QuotaProbe(world.store, world.upstream), []
    for look in range(4 * LOOKS_BETWEEN_MAX):
        if QUOTA not in await holds(world):
            await held(world)
        await probe.run_once()
        if QUOTA not in await holds(world):
            lifted.append(look)
    assert lifted == [0, 2, 6, 14, 22, 30]

    # A refill is seen at once, and so is that it can be bought again.
    assert await holds(world) == {QUOTA}
    world.upstream.quota += 100
    await probe.run_once()
    assert await holds(world) == set()
    for _ in range(2):
        await buy(world)
        await held(world)
        await probe.run_once()
        assert await holds(world) == set()


async def test_an_account_that_is_empty_stays_held_however_often_it_is_looked_at(world: World) -> None:
    probe = QuotaProbe(world.store, world.upstream)
    await held(world)
    world.upstream.quota = 0
    for _ in range(2 * LOOKS_BETWEEN_MAX):
        await probe.run_once()
        assert QUOTA in await holds(world)
    world.upstream.quota = 1
    await probe.run_once()
    assert await holds(world) == set()
