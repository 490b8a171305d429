"""Honest time: the ranges that are promised hold for eight of ten, whatever the upstream's pace turns out to be."""

from __future__ import annotations

import asyncio
import gc
import random
import warnings
from collections import deque
from dataclasses import dataclass, replace

import pytest
from redis.asyncio import Redis

from antrean.orders import eta, keys
from antrean.orders.course import MEMORY_MS, CourseLog
from antrean.orders.eta import Course, Throughput
from antrean.orders.lateness import Due, Stopped, misses
from antrean.orders.pace import PaceReader
from antrean.orders.place import InOrder, LaneSize, Places
from antrean.orders.promises import RATIOS_MAX, Promise, Promises, Turned
from antrean.orders.states import State
from antrean.workers.calibration import Calibration
from antrean.workers.dispatcher import Capacity, Room
from orders_support import World, new_order, note_vault

NOW_MS = 1_800_000_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """How a made-up line goes: each second its pace changes by up to `wander`; it stops so many times in 1,000 seconds,
    for so many seconds each; so many others come a second; the upstream's limit allows so many times the pace."""

    wander: float
    stops: float = 0.0
    stop_s: float = 40.0
    come_per_s: float = 0.0
    allowed: float = 1.0


def drain(line: Line, seed: int, orders: int = 6000) -> list[Turned]:
    """Drain it; every fifth second of its running somebody in line is promised a time."""
    rng = random.Random(seed)
    pace, done, now_s, ran_s, stopped_until_s = 4.0, 0.0, 0, 0, 0.0
    counts: deque[int] = deque([0], maxlen=eta.SPANS)
    open_promises: list[tuple[float, Promise]] = []
    ratios: deque[float] = deque(maxlen=RATIOS_MAX)
    stops: list[tuple[int, float]] = []
    turned: list[Turned] = []
    while done < orders or (open_promises and now_s < 100_000):
        if now_s % eta.SPAN_S == 0:
            counts.appendleft(0)
        now_s += 1
        if now_s < stopped_until_s:
            continue
        if rng.random() < line.stops / 1000:
            stops.append((now_s, rng.uniform(0.5, 1.5) * line.stop_s))
            stopped_until_s = now_s + stops[-1][1]
            open_promises = [(place, replace(promise, held=True)) for place, promise in open_promises]
            continue
        ran_s += 1
        pace = min(max(pace * rng.uniform(1 - line.wander, 1 + line.wander), 1.0), 40.0)
        step = max(rng.gauss(pace, pace**0.5 / 2), 0.0)
        done += step
        counts[0] += round(step)
        # Those who come go before half of those in line, as the urgent do.
        open_promises = [
            (place + line.come_per_s * (number % 2), promise)
            for number, (place, promise) in enumerate(open_promises)
        ]
        for place, promise in [p for p in open_promises if p[0] <= done]:
            open_promises.remove((place, promise))
            turned.append(promise.turned(now_s * 1000))
            if not promise.held:
                ratios.append(promise.ratio(now_s * 1000))
        if now_s % 5 == 0 and done < orders:
            position = rng.randrange(1, max(2, min(int(orders - done), 1500)))
            course = Course(
                line.come_per_s,
                tuple(length for _, length in stops),
                ran_s,
                sum(start > now_s - eta.UNSTEADY_S for start, _ in stops),
                now_s - stopped_until_s,
            )
            span = eta.estimate(
                lambda come, position=position: position + come / 2,  # type: ignore[misc]
                tuple(counts), now_s % eta.SPAN_S,
                capacity_per_s=line.allowed * pace, course=course, spread=eta.learnt(ratios),
            )  # fmt: skip
            if span is not None:
                open_promises.append((done + position, Promise.of(span, now_s * 1000)))
    return turned


@pytest.mark.parametrize(
    "line",
    [
        Line(0.02),
        Line(0.08),
        Line(0.2),
        Line(0.08, come_per_s=1.5),
        Line(0.08, stops=4),
        Line(0.08, stops=15, stop_s=20),
        Line(0.02, stops=2, stop_s=300, come_per_s=1.5),
        Line(0.08, allowed=20),
        Line(0.02, stops=4, allowed=20),
    ],
    ids=str,
)
def test_eight_of_ten_promised_ranges_hold_over_many_drains(line: Line) -> None:
    turned = [t for seed in range(30) for t in drain(line, seed)]
    assert len(turned) > 1000
    assert 0.7 <= turned.count(Turned.WITHIN) / len(turned) <= 0.9


def test_a_line_that_stood_still_before_does_not_slow_the_estimate() -> None:
    since_25_s = (50, 100, 100, *[0] * 27)
    assert eta.per_second(since_25_s, 5.0) == pytest.approx(10, rel=0.2)


def test_a_pace_of_the_first_seconds_is_not_taken_for_more_than_it_was() -> None:
    for elapsed_s in range(1, 10):
        per_s = eta.per_second((10 * elapsed_s, *[0] * 29), float(elapsed_s))
        assert per_s is None or per_s == pytest.approx(10)


def test_a_trickle_of_orders_is_not_taken_for_a_slow_upstream() -> None:
    trickle = (0, 1) * 15
    slow = eta.estimate(InOrder(100).after, trickle, 0)
    timed = eta.estimate(InOrder(100).after, trickle, 0, capacity_per_s=20.0)
    assert slow is not None
    assert timed is not None
    assert timed.latest_s < 20 < slow.earliest_s


def test_a_line_that_has_just_filled_is_not_told_by_what_was_completed_before() -> None:
    first = (3, *[0] * 29)
    full = Course(busy_s=4.0)
    assert eta.estimate(InOrder(100).after, first, 3.0, course=full) is None
    by_limit = eta.estimate(InOrder(100).after, first, 3.0, course=full, capacity_per_s=20.0)
    assert by_limit is not None
    assert by_limit.latest_s < 20
    assert eta.estimate(InOrder(100).after, (15, *[0] * 29), 9.0, course=Course(busy_s=12.0)) is not None
    assert eta.busy_per_second((60, 5, 5, *[0] * 27), 6.0, 4.0) == pytest.approx(15)


def test_what_the_limit_allows_is_hoped_for_and_not_promised_where_the_line_tells_its_pace() -> None:
    spans = (0, *[100] * 29)
    seen, young, old = (
        eta.estimate(InOrder(3000).after, spans, 0, course=Course(busy_s=busy_s), capacity_per_s=per_s)
        for busy_s, per_s in ((300.0, 0.0), (29.0, 100.0), (300.0, 100.0))
    )
    assert seen is not None
    assert young is not None
    assert old is not None
    assert seen.latest_s == young.latest_s == old.latest_s
    assert young.earliest_s == pytest.approx(seen.earliest_s / 7)
    assert old.earliest_s == pytest.approx(seen.earliest_s / eta.HOPE_MAX)


def test_an_order_that_is_stamped_waits_for_the_smaller_limit() -> None:
    both = Throughput(limit=9, purchases_per_s=20.0, stamps_per_s=4.0)
    assert (both.per_s(stamped=False), both.per_s(stamped=True)) == (20.0, 4.0)


def line_of(urgent: dict[str, int]) -> Places:
    """Offices with so many urgent orders each."""
    return Places({office: LaneSize(count, count) for office, count in urgent.items()}, {}, NOW_MS)


def test_who_will_miss_is_told_by_the_pace_and_the_place_in_line() -> None:
    dues = [Due(str(rank), "MDN-01", "MDN-01", rank, NOW_MS + 30_000) for rank in range(100)]
    late = misses(dues, line_of({"MDN-01": 100}), 1.0, NOW_MS)
    assert [miss.due.rank for miss in late] == list(range(29, 100))
    assert all(miss.expected_ms and miss.expected_ms > miss.due.deadline_ms for miss in late)
    # With a second office of the same size in line, half as many make it.
    assert misses(dues, line_of({"MDN-01": 100, "JKT-07": 100}), 1.0, NOW_MS)[0].due.rank in (14, 15)


def test_without_a_pace_only_what_is_due_within_the_hour_is_said_to_miss() -> None:
    dues = [Due("soon", "A", "A", 0, NOW_MS + 60_000), Due("later", "A", "A", 1, NOW_MS + 86_400_000)]
    assert [(m.due.id, m.expected_ms) for m in misses(dues, line_of({"A": 2}), None, NOW_MS)] == [
        ("soon", None)
    ]


def test_a_lane_that_is_held_has_no_pace_and_the_other_keeps_its_own() -> None:
    dues = [
        Due(f"{lane}{due}", lane, "A", 0, NOW_MS + due) for lane in ("A", "") for due in (60_000, 86_400_000)
    ]
    line = line_of({"A": 2})

    def late(stopped: Stopped) -> list[tuple[str, int | None]]:
        return [(miss.due.id, miss.expected_ms) for miss in misses(dues, line, 1.0, NOW_MS, stopped)]

    assert late(Stopped()) == []
    assert late(Stopped(purchases=True)) == [("A60000", None)]
    assert late(Stopped(stamps=True)) == [("60000", None)]


async def test_a_long_lane_is_sampled_and_the_samples_stand_for_all(redis: Redis) -> None:
    world = World(redis)
    await note_vault(redis)
    for number in range(120):
        await world.store.submit(new_order(deadline_ms=NOW_MS + 60_000 * number))
    await world.store.submit(new_order())
    dues = await world.store.lanes.dues()
    assert 40 <= len(dues) <= 60
    assert sum(due.orders for due in dues) == pytest.approx(120, abs=20)
    assert [due.rank for due in dues] == sorted(due.rank for due in dues)
    assert dues[0].deadline_ms == NOW_MS


def test_a_line_that_stops_again_and_again_is_one_of_which_nobody_can_tell() -> None:
    steady = (0, *[100] * 29)
    assert eta.estimate(InOrder(100).after, steady, 0, course=Course(lately=1)) is not None
    assert eta.estimate(InOrder(100).after, steady, 0, course=Course(lately=2)) is None


def test_a_range_allows_for_stops_like_those_there_were_and_for_those_who_come() -> None:
    steady = (0, *[100] * 29)
    calm = eta.estimate(InOrder(3000).after, steady, 0)
    stops = Course(stops_s=(200.0, 100.0), ran_s=900)
    broken = eta.estimate(InOrder(3000).after, steady, 0, course=stops)
    rushed = eta.estimate(lambda come: 3000 + come, steady, 0, course=Course(arrivals_per_s=5))
    assert calm is not None
    assert broken is not None
    assert rushed is not None
    assert broken.earliest_s == rushed.earliest_s == calm.earliest_s
    assert calm.latest_s + 100 < broken.latest_s < calm.latest_s + 500
    assert rushed.latest_s > 1.5 * calm.latest_s
    # Who is next is done before the line is likely to stop.
    assert stops.stopped_s(5) == 0


async def test_the_lines_course_is_kept_and_read(redis: Redis) -> None:
    log = CourseLog(redis)
    assert await log.read(NOW_MS) == Course()
    for second in range(100):
        await redis.set(keys.SEQUENCE, 3 * second)
        await log.note(NOW_MS + 1000 * second, held=20 <= second < 50, waiting=True)
    course = await log.read(NOW_MS + 100_000)
    assert course.arrivals_per_s == pytest.approx(3, rel=0.1)
    assert course.stops_s == (30.0,)
    assert course.ran_s == pytest.approx(70, abs=1)
    assert course.lately == 0
    assert course.busy_s == 50
    assert (await log.read(NOW_MS + 70_000)).lately == 1
    # Where the server's clock was set back, what is dated after now says nothing, and the notes begin anew.
    assert await log.read(NOW_MS - 3_600_000) == Course(ran_s=0.0)
    await log.note(NOW_MS - 3_600_000, held=False, waiting=True)
    await redis.incrby(keys.SEQUENCE, 20)
    assert (await log.read(NOW_MS - 3_590_000)).arrivals_per_s == pytest.approx(2)
    assert (await log.read(NOW_MS - 3_590_000)).lately == 0
    assert (await log.read(NOW_MS - 3_590_000)).busy_s == 10
    await log.note(NOW_MS - 3_590_000, held=False, waiting=False)
    assert (await log.read(NOW_MS - 3_580_000)).busy_s == 0


async def test_a_course_is_forgotten_after_a_day(redis: Redis) -> None:
    log = CourseLog(redis)
    for second in range(3):
        await log.note(NOW_MS + 1000 * second, held=second == 1, waiting=True)
    assert (await log.read(NOW_MS + 3000)).stops_s == (1.0,)
    assert (await log.read(NOW_MS + 2 * MEMORY_MS)).stops_s == ()


async def test_a_reading_given_up_at_once_leaves_no_question_that_nobody_awaits(redis: Redis) -> None:
    asked = []

    async def throughput() -> Throughput:
        asked.append(1)
        return Throughput(4)

    reader = PaceReader(World(redis).store, Promises(redis), CourseLog(redis), throughput)
    reading = asyncio.create_task(reader.read(NOW_MS))
    # One turn of the loop: the reading has begun, and none of those that it asks beside each other.
    await asyncio.sleep(0)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        gc.collect()
    assert [str(warning.message) for warning in seen] == []
    assert asked == []


async def test_promises_are_made_closed_and_learnt_from(redis: Redis) -> None:
    world, promises = World(redis), Promises(redis)
    capacity = Capacity(Room(4), Room(4))

    async def can_take() -> Capacity:
        return capacity

    async def throughput() -> Throughput:
        return Throughput(4, purchases_per_s=2.0)

    course = CourseLog(redis)
    reader = PaceReader(world.store, promises, course, throughput)
    step = Calibration(world.store, promises, course, can_take, reader.read, random.Random(1))
    await world.beat("w")
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
    # Asked to wait for a moment the line does not stop; a breaker stops it.
    capacity = Capacity(Room(0), Room(4))
    await step.run_once()
    assert not (await promises.open())[held.id].held
    capacity = Capacity(Room(0, broken=True), Room(4))
    await step.run_once()
    assert (await promises.open())[held.id].held
    capacity = Capacity(Room(4), Room(4))
    await world.worker("w2").run(held.id)
    await step.run_once()
    assert sum((await promises.kept()).values()) == 2
    assert len(await promises.ratios()) == 1

    await world.store.cancel((await world.submit()).id)
    await step.run_once()
    assert await promises.open() == {}
    assert (await world.store.situation()).by_state[State.CANCELLED] == 1
