"""Handing out turns: fair however many offices are in line, and without a look at all of them for each order."""

from __future__ import annotations

from collections import Counter

import pytest
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.holding import PAUSED
from antrean.workers.capacity import BreakerCapacity
from antrean.workers.dispatcher import (
    MANY_OFFICES,
    PLAN_AHEAD,
    Capacity,
    Dispatcher,
    Room,
    most_turns,
    with_ready,
)
from antrean.workers.prober import QuotaTrial
from orders_support import World
from provider_support import Clock, make_breaker


class Line:
    """A dispatcher over a world and what it handed out. `capacity`: calls that may be in flight, each `call_s` long."""

    def __init__(
        self, world: World, capacity: int, trial: QuotaTrial | None = None, call_s: float = 0.0
    ) -> None:
        self.world = world
        self.handed_out: list[str] = []
        self._capacity = Capacity(Room(capacity, call_s=call_s), Room(1))
        self.dispatcher = Dispatcher(world.store, self, self._enqueue, trial)

    async def capacity(self) -> Capacity:
        """As the upstream's limits say."""
        return self._capacity

    async def _enqueue(self, order_ids: list[str]) -> None:
        self.handed_out += order_ids

    async def step(self) -> Counter[str]:
        """One step, after which all that was handed out is done. Answers how many went, by office."""
        before = len(self.handed_out)
        await self.dispatcher.run_once()
        worker = self.world.worker()
        went: Counter[str] = Counter()
        for order_id in self.handed_out[before:]:
            went[(await self.world.order(order_id)).office] += 1
            await worker.run(order_id)
        return went


async def begun_with_many(redis: Redis) -> Line:
    """A line of more than MANY_OFFICES offices, with one order each, after its first step."""
    world = World(redis)
    for number in range(MANY_OFFICES + 40):
        await world.submit(office=f"O{number:03d}")
    line = Line(world, 2)
    await line.step()
    return line


async def looks(redis: Redis) -> int:
    """How often all offices were looked at."""
    stats = await redis.info("commandstats")
    return int(stats.get("cmdstat_smembers", {}).get("calls", 0))


@pytest.mark.parametrize("offices", [3, MANY_OFFICES + 40])
async def test_no_office_is_two_turns_ahead_of_another(redis: Redis, offices: int) -> None:
    world = World(redis)
    for number in range(3 * offices):
        await world.submit(office=f"O{number // 3:03d}")
    went: Counter[str] = Counter({f"O{number:03d}": 0 for number in range(offices)})
    line = Line(world, 1)
    while sum(went.values()) < 2 * offices:
        went.update(await line.step())
        assert max(went.values()) - min(went.values()) <= 1
    assert min(went.values()) >= 1


async def test_with_many_offices_most_steps_do_not_look_at_all_of_them(redis: Redis) -> None:
    line = await begun_with_many(redis)
    before = await looks(redis)
    world = line.world
    urgent = await world.submit(office="URGENT", deadline_ms=world.now_ms + 60_000)
    for _ in range(2 * PLAN_AHEAD):
        assert await line.step()
    assert await looks(redis) - before <= 3
    # It has waited for what was planned, and for no more.
    assert urgent.id in line.handed_out


async def test_a_pause_holds_what_was_planned(redis: Redis) -> None:
    line = await begun_with_many(redis)
    await line.world.store.hold(PAUSED, "stop", "ops")
    assert not await line.step()
    await redis.hdel(keys.HOLDS, PAUSED)
    assert await line.step()


@pytest.mark.parametrize(("call_s", "ready"), [(0.02, 8), (0.08, 5), (1.0, 4), (0.0, 4)])
async def test_the_quicker_the_answers_the_more_is_kept_ready(
    redis: Redis, call_s: float, ready: int
) -> None:
    world = World(redis)
    for _ in range(20):
        await world.submit()
    line = Line(world, 8, call_s=call_s)
    await line.dispatcher.run_once()
    assert len(line.handed_out) == 8 + ready


@pytest.mark.parametrize("limit", [1, 4, 64, 1000])
def test_no_more_is_under_way_than_twice_the_limit(limit: int) -> None:
    counts = [with_ready(limit, call_s) for call_s in (0.0, 10.0, 0.08, 0.01, 0.0001)]
    assert counts == sorted(counts)
    assert counts[-1] == most_turns(limit) == max(2 * limit, limit + 2)


@pytest.mark.parametrize("kind", ["purchase", "affix"])
async def test_the_place_of_what_a_silent_worker_holds_goes_to_others(redis: Redis, kind: str) -> None:
    world = World(redis)
    for number in range(20):
        if kind == "purchase":
            await world.submit()
        else:
            await world.affix(serial_number=f"389UY343AP0GE9A4{number:06d}")
    line = Line(world, 1)
    await world.beat("w1", "w2")
    await line.dispatcher.run_once()
    first = len(line.handed_out)
    for order_id in line.handed_out:
        assert await world.store.claim(order_id, "w1", f"claim {order_id}")
    for ms, more in ((1400, 0), (200, first), (4000, 0)):
        world.now_ms += ms
        await world.beat("w2")
        before = len(line.handed_out)
        await line.dispatcher.run_once()
        assert len(line.handed_out) - before == more
    await world.beat("w1")  # it was not dead: what it holds counts again
    await line.dispatcher.run_once()
    assert len(line.handed_out) == 2 * first
    assert (await world.store.situation()).stranded == 0


async def test_the_dispatcher_is_told_how_long_a_call_takes(redis: Redis) -> None:
    clock = Clock()
    breakers = [make_breaker(redis, clock, name=name) for name in ("provider", "adapter")]
    for breaker, took_s in zip(breakers, (0.25, 4.0), strict=True):
        for _ in range(40):
            permit = await breaker.admit()
            assert permit is not None
            clock.pass_s(took_s)
            await breaker.settle(permit, None, took_s)
    capacity = await BreakerCapacity(*breakers).capacity()
    assert (capacity.provider.call_s, capacity.adapter.call_s) == (0.25, 4.0)
