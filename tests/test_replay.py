"""September 2024 in a minute: surge, outages and kills lose nothing and buy nothing twice, on the real processes."""

from __future__ import annotations

import os
from xml.etree import ElementTree

from benchmarks.replay import with_antrean
from benchmarks.replay.__main__ import broken_promises
from benchmarks.replay.best import best_schedule
from benchmarks.replay.outcome import OrderOutcome
from benchmarks.replay.picture import draw
from benchmarks.replay.processes import family
from benchmarks.replay.report import write_report
from benchmarks.replay.script import write_script

#: The three days, in seconds: with the draining after them three quarters of a minute. `make replay` is the long one.
SPAN_S = float(os.environ.get("REPLAY_SECONDS", "26"))
ORDERS = 240
#: Fewer calls meet a fault in the short one than `make replay` asks for.
LEAST_FAULTS = {"hang": 1, "down": 3, "refuse": 1}


async def test_the_days_of_september_2024_lose_nothing_and_buy_nothing_twice() -> None:
    script = write_script(seed=2024, span_s=SPAN_S, orders=ORDERS)
    with family() as processes:
        outcome = await with_antrean.run(script, processes, patience_s=120)

    assert broken_promises(outcome, LEAST_FAULTS) == []
    assert sum(outcome.fault_hits.get(kind, 0) for kind in ("capacity", "lost_answer", "late_answer")) > 0
    assert outcome.counts["completed"] == ORDERS
    assert outcome.counts["stamped"] >= 10
    assert {what for _, what in outcome.kills} == {"worker", "gateway", "valkey"}
    assert [name for _, name, _ in outcome.phases] == [phase.name for phase in script.phases]
    assert f"| accepted and lost | 0 of {ORDERS} |" in write_report([outcome])
    assert ElementTree.fromstring(draw([outcome])).tag.endswith("svg")


def test_a_script_repeats_by_its_seed_and_brings_fifty_times_the_ordinary_rush() -> None:
    script = write_script(seed=7, span_s=300, orders=6000)

    assert script == write_script(seed=7, span_s=300, orders=6000)
    assert script.arrivals != write_script(seed=8, span_s=300, orders=6000).arrivals
    script = write_script(seed=7, span_s=300, orders=60_000)
    ordinary = sum(a.at_s < 15 for a in script.arrivals) / 15
    rush = sum(30 <= a.at_s < 99 for a in script.arrivals) / 69
    assert 35 < rush / ordinary < 70
    assert len({a.office for a in script.arrivals}) == 40


def order(number: int, arrived_s: float, due_s: float | None) -> OrderOutcome:
    return OrderOutcome(number, "KPC-00", "purchase", arrived_s, due_s)


def test_the_best_schedule_serves_the_sooner_due_first_and_gives_up_what_is_late_anyway() -> None:
    # One a second, nothing between 2 and 4: of three that are due at 3, two can be done; the rest come after.
    orders = [order(0, 0, None), order(1, 0, 3), order(2, 0, 3), order(3, 0, 3), order(4, 4, 5)]
    best = best_schedule(orders, [(0, 2, 1.0), (2, 4, 0.0), (4, float("inf"), 1.0)])

    assert best.missed == 1
    assert best.waits_s[1] == 1
    assert best.waits_s[2] == 2
    assert best.waits_s[4] == 1
    assert best.end_s == 7


def test_no_schedule_of_a_brute_search_misses_fewer_deadlines() -> None:
    script = write_script(seed=3, span_s=60, orders=40)
    orders = [
        order(a.number, a.at_s, None if a.due is None else a.at_s + 1 + a.number % 5) for a in script.arrivals
    ]
    best = best_schedule(orders, [(0, float("inf"), 1.0)])

    # The most that can be matched to whole seconds of one capacity, by augmenting paths.
    taken: dict[int, int] = {}

    def place(index: int, seen: set[int]) -> bool:
        due_s = orders[index].due_s
        assert due_s is not None
        for second in range(200):
            if orders[index].arrived_s <= second and second + 1 <= due_s and second not in seen:
                seen.add(second)
                if second not in taken or place(taken[second], seen):
                    taken[second] = index
                    return True
        return False

    due = [index for index, each in enumerate(orders) if each.due_s is not None]
    on_time = sum(place(index, set()) for index in due)
    # The schedule may also start between full seconds, so it can only be better than the grid.
    assert best.missed <= len(due) - on_time
