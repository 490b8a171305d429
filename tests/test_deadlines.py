"""Deadlines that move in bulk, and the line with them."""

from __future__ import annotations

import asyncio

import pytest

from antrean.orders.lateness import SAMPLES_OF_ALL
from orders_support import World, new_order


async def test_deadlines_move_in_bulk_and_the_line_with_them(world: World) -> None:
    day_ms = 86_400_000
    due = world.now_ms + day_ms
    first = [await world.submit(deadline_ms=due) for _ in range(3)]
    other = await world.submit(deadline_ms=due, office="JKT-02")
    later = await world.submit(deadline_ms=due + 2 * day_ms)
    free = await world.submit()
    stamping = await world.affix(deadline_ms=due)
    await world.worker().run(stamping.id)
    assert await world.store.postpone(due, due + 1, due + 4 * day_ms, "MDN-01", "ops: moved to the 10th") == 4
    assert [await world.rank(await world.order(o.id)) for o in (later, *first, free)] == [0, 1, 2, 3, 4]
    assert (await world.order(first[0].id)).deadline_ms == due + 4 * day_ms
    assert (await world.order(stamping.id)).deadline_ms == due + 4 * day_ms
    assert (await world.order(other.id)).deadline_ms == due
    assert (await world.order(free.id)).deadline_ms is None
    assert await world.store.postpone(due, due + 1, due + 4 * day_ms, None, "ops: all") == 1


async def test_a_thousand_deadlines_move_in_steps(world: World) -> None:
    due = world.now_ms + 86_400_000
    await asyncio.gather(*(world.store.submit(new_order(deadline_ms=due)) for _ in range(1200)))
    assert await world.store.postpone(due, due + 1, due + 86_400_000, None, "ops") == 1200
    assert await world.store.postpone(due, due + 1, due + 86_400_000, None, "ops") == 0


@pytest.mark.parametrize("to_minute", [0, 300, 1439])
async def test_deadlines_of_a_day_move_to_one_of_its_minutes_and_none_is_left_behind(
    world: World, to_minute: int
) -> None:
    day = world.now_ms + 86_400_000
    to = day + to_minute * 60_000
    orders = await asyncio.gather(
        *(world.store.submit(new_order(deadline_ms=day + n * 60_000)) for n in range(1200))
    )
    assert await world.store.postpone(day, day + 86_400_000, to, None, "ops") == 1200 - (to_minute < 1200)
    assert {(await world.order(o.order.id)).deadline_ms for o in orders} == {to}


async def test_a_look_at_deadlines_costs_the_same_with_many_offices_and_misses_none_of_them(
    world: World,
) -> None:
    offices, each = 300, 8
    for office in range(offices):
        await asyncio.gather(
            *(
                world.store.submit(new_order(office=f"O-{office}", deadline_ms=world.now_ms + n * 60_000))
                for n in range(each)
            )
        )
    dues = await world.store.lanes.dues()
    assert len(dues) <= SAMPLES_OF_ALL
    assert {due.office for due in dues if due.rank == 0} == {f"O-{office}" for office in range(offices)}
    assert sum(due.orders for due in dues) == pytest.approx(offices * each, rel=0.15)
