"""An older backup under a newer account: what was sold since is found again; what nobody can name stops purchases."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.balance import BalanceWatch
from antrean.orders.fulfil import Outcome
from antrean.orders.holding import BALANCE
from antrean.orders.states import State
from orders_support import World


@pytest.fixture
def world(redis: Redis) -> World:
    return World(redis)


async def backup(redis: Redis) -> dict[Any, Any]:
    return {key: await redis.dump(key) for key in await redis.keys("*")}


async def restore(redis: Redis, kept: dict[Any, Any]) -> None:
    await redis.flushdb()
    for key, value in kept.items():
        await redis.restore(key, 0, value)


async def done(world: World, order_id: str) -> None:
    for _ in range(2):
        if not (await world.order(order_id)).terminal:
            await world.worker("w1").run(order_id)
    assert (await world.order(order_id)).state is State.COMPLETED


async def looks(world: World, count: int = 4) -> dict[str, Any]:
    watch = BalanceWatch(world.store, world.upstream, world.resolver)
    for _ in range(count):
        world.now_ms += 30_000
        await watch.run_once()
    return (await world.store.situation()).holds


async def test_stamps_of_orders_in_the_backup_are_theirs_again_also_where_they_were_used(
    world: World,
) -> None:
    await world.beat("w1")
    await looks(world, 1)
    bought, stamped = await world.submit(), await world.affix()
    kept = await backup(world.redis)
    for order in (bought, stamped):
        await done(world, order.id)
    await restore(world.redis, kept)

    assert await looks(world) == {}
    assert await world.redis.hlen(keys.POOL) == 0
    world.now_ms += 1000
    await world.beat("w1")
    for order in (bought, stamped):
        await done(world, order.id)
        (sale,) = world.upstream.of(order.id)
        assert (await world.order(order.id)).serial_number == sale.serial_number
    await world.assert_books_balance()


async def test_of_orders_that_are_lost_the_unused_stamp_is_used_next_and_the_used_one_stops_purchases(
    world: World,
) -> None:
    await world.beat("w1")
    await looks(world, 1)
    kept = await backup(world.redis)
    bought, stamped = await world.submit(), await world.affix()
    for order in (bought, stamped):
        await done(world, order.id)
    unused, used = world.upstream.sold
    await restore(world.redis, kept)

    holds = await looks(world)
    assert holds.keys() == {BALANCE}
    assert "1 stamps left the account" in holds[BALANCE].text
    assert "1 serial numbers on the account's list were stamped for orders that are not in these books" in (
        holds[BALANCE].text
    )
    assert await world.redis.hkeys(keys.POOL) == [unused.serial_number.encode()]

    # A person has looked, and lets purchases go on: the terminal's repeat takes what was paid for already.
    await world.store.account.accept_balance("ops")
    again = await world.submit()
    await world.beat("w1")
    assert await world.worker("w1").run(again.id) is Outcome.COMPLETED
    assert (await world.order(again.id)).serial_number == unused.serial_number
    assert len(world.upstream.sold) == 2
    assert await looks(world) == {}
    assert used.stamped_on == stamped.id
    await world.assert_books_balance()


async def test_an_order_that_a_worker_had_at_the_backup_gets_its_stamp_and_nothing_is_called_unexplained(
    world: World,
) -> None:
    await world.beat("w1")
    await looks(world, 1)
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "op")
    assert claim is not None
    kept = await backup(world.redis)
    await world.store.release(claim.order, "op2", "", 0)
    await done(world, order.id)
    await restore(world.redis, kept)

    watch = BalanceWatch(world.store, world.upstream, world.resolver)
    for _ in range(2):  # the worker of then has not been missed yet
        await watch.run_once()
    world.now_ms += 30_000
    await world.sweep()
    for _ in range(3):
        await watch.run_once()
    assert (await world.store.situation()).holds == {}
    assert (await world.order(order.id)).serial_number == world.upstream.sold[0].serial_number
