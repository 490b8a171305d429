"""Honest time: the ranges that are promised hold for eight of ten, whatever the upstream's pace turns out to be."""

from __future__ import annotations

import random
from collections import deque

import pytest
from redis.asyncio import Redis

from antrean.orders import eta
from antrean.orders.eta import Throughput
from antrean.orders.lateness import Due, misses
from antrean.orders.pace import PaceReader
from antrean.orders.promises import RATIOS_MAX, Promise, Promises, Turned
from antrean.orders.states import State
from antrean.workers.calibration import Calibration
from antrean.workers.dispatcher import Capacity
from orders_support import World, new_order

NOW_MS = 1_800_000_000_000


def drain(seed: int, spread: float, orders: int = 6000) -> list[Turned]:
    """A line that drains at a pace which wanders; every fifth second somebody in line is promised a time."""
    rng = random.Random(seed)
    pace, done, now_s = 4.0, 0.0, 0
    counts: deque[int] = deque([0], maxlen=eta.SPANS)
    open_promises: list[tuple[int, Promise]] = []
    ratios: deque[float] = deque(maxlen=RATIOS_MAX)
    turned: list[Turned] = []
    while done < orders:
        pace = min(max(pace * rng.uniform(1 - spread, 1 + spread), 1.0), 40.0)
        step = rng.gauss(pace, pace**0.5 / 2)
        done += max(step, 0.0)
        counts[0] += round(max(step, 0.0))
        now_s += 1
        if now_s % eta.SPAN_S == 0:
            counts.appendleft(0)
        for place, promise in [p for p in open_promises if p[0] <= done]:
            open_promises.remove((place, promise))
            ratios.append(promise.ratio(now_s * 1000))
            turned.append(promise.turned(now_s * 1000))
        if now_s % 5 == 0:
            position = rng.randrange(1, max(2, min(int(orders - done), 1500)))
            span = eta.estimate(position, tuple(counts), now_s % eta.SPAN_S, ratios=tuple(ratios))
            if span is not None:
                open_promises.append((int(done) + position, Promise.of(span, now_s * 1000)))
    return turned


@pytest.mark.parametrize("spread", [0.02, 0.08, 0.2])
def test_eight_of_ten_promised_ranges_hold_over_many_drains(spread: float) -> None:
    turned = [t for seed in range(30) for t in drain(seed, spread)]
    assert len(turned) > 1000
    assert 0.7 <= turned.count(Turned.WITHIN) / len(turned) <= 0.9


def test_a_line_that_stood_still_before_does_not_slow_the_estimate() -> None:
    since_25_s = (50, 100, 100, *[0] * 27)
    assert eta.per_second(since_25_s, 5.0) == pytest.approx(10, rel=0.2)


def test_a_trickle_of_orders_is_not_taken_for_a_slow_upstream() -> None:
    trickle = (0, 1) * 15
    slow = eta.estimate(100, trickle, 0)
    timed = eta.estimate(100, trickle, 0, capacity_per_s=20.0)
    assert slow is not None
    assert timed is not None
    assert timed.latest_s < 20 < slow.earliest_s


def test_an_order_that_is_stamped_waits_for_the_smaller_limit() -> None:
    both = Throughput(limit=9, purchases_per_s=20.0, stamps_per_s=4.0)
    assert (both.per_s(stamped=False), both.per_s(stamped=True)) == (20.0, 4.0)


def test_who_will_miss_is_told_by_the_pace_and_the_place_in_line() -> None:
    dues = [Due(str(rank), "MDN-01", "MDN-01", rank, NOW_MS + 30_000) for rank in range(100)]
    late = misses(dues, {"MDN-01": 100}, {}, 1.0, NOW_MS)
    assert [miss.due.rank for miss in late] == list(range(29, 100))
    assert all(miss.expected_ms and miss.expected_ms > miss.due.deadline_ms for miss in late)
    # With a second office of the same size in line, half as many make it.
    assert misses(dues, {"MDN-01": 100, "JKT-07": 100}, {}, 1.0, NOW_MS)[0].due.rank in (14, 15)


def test_without_a_pace_only_what_is_due_within_the_hour_is_said_to_miss() -> None:
    dues = [Due("soon", "A", "A", 0, NOW_MS + 60_000), Due("later", "A", "A", 1, NOW_MS + 86_400_000)]
    assert [(m.due.id, m.expected_ms) for m in misses(dues, {"A": 2}, {}, None, NOW_MS)] == [("soon", None)]


async def test_a_long_lane_is_sampled_and_the_samples_stand_for_all(redis: Redis) -> None:
    world = World(redis)
    for number in range(120):
        await world.store.submit(new_order(deadline_ms=NOW_MS + 60_000 * number))
    await world.store.submit(new_order())
    dues = await world.store.lanes.dues()
    assert 40 <= len(dues) <= 60
    assert sum(due.orders for due in dues) == pytest.approx(120, abs=20)
    assert [due.rank for due in dues] == sorted(due.rank for due in dues)
    assert dues[0].deadline_ms == NOW_MS


async def test_promises_are_made_closed_and_learnt_from(redis: Redis) -> None:
    world, promises = World(redis), Promises(redis)
    capacity = Capacity(4, 4)

    async def can_take() -> Capacity:
        return capacity

    async def throughput() -> Throughput:
        return Throughput(4, purchases_per_s=2.0)

    reader = PaceReader(world.store, promises, throughput)
    step = Calibration(world.store, promises, can_take, reader.read, random.Random(1))
    order = await world.submit()
    await step.run_once()
    assert set(await promises.open()) == {order.id}

    await world.worker().run(order.id)
    await step.run_once()
    assert await promises.open() == {}
    assert sum((await promises.kept()).values()) == 1
    assert len(await promises.ratios()) == 1

    held = await world.submit()
    await step.run_once()
    capacity = Capacity(0, 4)
    await step.run_once()
    capacity = Capacity(4, 4)
    await world.worker("w2").run(held.id)
    await step.run_once()
    assert (await promises.kept())[Turned.INTERRUPTED] == 1
    assert len(await promises.ratios()) == 1

    await world.store.cancel((await world.submit()).id)
    await step.run_once()
    assert await promises.open() == {}
    assert (await world.store.situation()).by_state[State.CANCELLED] == 1
