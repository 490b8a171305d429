"""An older backup under a newer account: what was sold since is found again; what nobody can name stops purchases."""

from __future__ import annotations

from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.balance import BalanceWatch
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


async def test_stamps_of_orders_that_are_lost_go_to_nobody_else_and_stop_purchases(world: World) -> None:
    """Their citizens have them: on paper, or stamped on a document."""
    await world.beat("w1")
    await looks(world, 1)
    kept = await backup(world.redis)
    bought, stamped = await world.submit(), await world.affix()
    for order in (bought, stamped):
        await done(world, order.id)
    printed, used = world.upstream.sold
    await restore(world.redis, kept)

    holds = await looks(world)
    assert holds.keys() == {BALANCE}
    assert "2 stamps left the account" in holds[BALANCE].text
    assert "2 serial numbers on the account's list are of orders that are not in these books" in (
        holds[BALANCE].text
    )
    assert await world.redis.hlen(keys.POOL) == 0

    # A person has looked, and lets purchases go on: an affix may still name the one that is not used yet.
    await world.store.account.accept_balance("ops")
    new, naming = await world.submit(office="JKT-07"), await world.affix(serial_number=printed.serial_number)
    await world.beat("w1")
    for order in (new, naming):
        await done(world, order.id)
    assert (await world.order(new.id)).serial_number not in (printed.serial_number, used.serial_number)
    assert len(world.upstream.sold) == 3
    assert await looks(world) == {}
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
