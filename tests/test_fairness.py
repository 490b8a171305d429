"""Fairness as a pure rule: nobody is starved, nothing is promised twice, weights count, the urgent go first."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from antrean.orders.fairness import Lane, plan

offices = st.dictionaries(
    st.sampled_from([f"O{i:02d}" for i in range(12)]),
    st.builds(
        Lane,
        st.integers(1, 5000),
        st.one_of(st.none(), st.floats(-10_000, 100_000)),
    ),
    min_size=1,
)


def drain(
    waiting: dict[str, int], slots: int, rounds: int, weights: dict[str, float] | None = None
) -> list[str]:
    """Who was served, in order, over `rounds` plans."""
    left = dict(waiting)
    state: dict[str, str] = {}
    served: list[str] = []
    for _ in range(rounds):
        lanes = {o: Lane(n, None) for o, n in left.items() if n}
        if not lanes:
            break
        made = plan(lanes, weights or {}, state, slots)
        state = made.state
        for office, n in made.take:
            left[office] -= n
            served += [office] * n
    return served


@settings(max_examples=500)
@given(offices, st.integers(0, 200), st.dictionaries(st.sampled_from(["O00", "O01"]), st.floats(0.01, 20)))
def test_every_slot_is_used_and_no_office_gives_more_than_it_has(
    lanes: dict[str, Lane], slots: int, weights: dict[str, float]
) -> None:
    take = dict(plan(lanes, weights, {}, slots).take)
    assert sum(take.values()) == min(slots, sum(lane.waiting for lane in lanes.values()))
    assert all(0 < n <= lanes[o].waiting for o, n in take.items())


@settings(max_examples=200)
@given(st.integers(1, 40), st.integers(2, 20))
def test_an_office_with_five_is_done_while_one_with_five_thousand_has_had_as_many_turns(
    slots: int, others: int
) -> None:
    waiting = {"BIG": 5000} | {f"S{i:02d}": 5 for i in range(others)}
    served = drain(waiting, slots, 10_000)
    last_small = max(i for i, o in enumerate(served) if o != "BIG")
    # Each round serves each office once, so the big one had about five turns, and at most one plan's more.
    assert Counter(served[: last_small + 1])["BIG"] <= 6 + slots
    assert len(served) == 5000 + 5 * others


def test_of_twenty_offices_the_small_ones_wait_no_longer_for_one_with_a_thousand_times_their_orders() -> None:
    waiting = {"BIG": 20_000} | {f"S{i:02d}": 20 for i in range(19)}
    served = drain(waiting, 30, 10_000)
    places: dict[str, list[int]] = {}
    for place, office in enumerate(served):
        places.setdefault(office, []).append(place)
    # By turns: the n-th order of each small office goes in the n-th round of twenty, give or take one plan.
    assert all(
        place <= (number + 1) * 20 + 30
        for office, own in places.items()
        if office != "BIG"
        for number, place in enumerate(own)
    )
    assert len(served) == 20_000 + 19 * 20


def test_one_slot_at_a_time_is_as_fair_as_many() -> None:
    served = drain({"A": 100, "B": 100, "C": 100}, 1, 30)
    assert Counter(served) == {"A": 10, "B": 10, "C": 10}


def test_weights_share_in_their_proportion() -> None:
    served = drain({"A": 1000, "B": 1000}, 8, 50, {"A": 3.0})
    counts = Counter(served)
    assert 2.7 <= counts["A"] / counts["B"] <= 3.3


def test_small_weights_are_served_in_time() -> None:
    served = drain({"A": 1000, "B": 1000}, 1, 110, {"B": 0.1})
    assert 8 <= Counter(served)["B"] <= 12


def test_the_urgent_go_first_and_the_rest_are_not_starved() -> None:
    lanes = {"DUE": Lane(10_000, 60.0), "LATE": Lane(10_000, -60.0), "FREE": Lane(10_000, None)}
    state: dict[str, str] = {}
    total: Counter[str] = Counter()
    for _ in range(100):
        made = plan(lanes, {}, state, 4)
        state = made.state
        total.update(dict(made.take))
    assert 30 <= total["FREE"] <= 50
    assert abs(total["DUE"] - total["LATE"]) <= 8
    assert sum(total.values()) == 400
