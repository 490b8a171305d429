"""A place in line is the truth: as many go before an order as its position says, by the rules that hand orders out."""

from __future__ import annotations

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrean.orders.fairness import NEXT_REST, NEXT_URGENT, Lane, plan
from antrean.orders.place import LaneSize, Places, Spot
from antrean.orders.score import AGE_BITS, score_minute

NOW_MS = 1_800_000_000_000
URGENT = float(score_minute(NOW_MS + 60_000) << AGE_BITS)
WHENEVER = float(score_minute(None) << AGE_BITS)

lanes = st.dictionaries(
    st.sampled_from("ABCDEFGH"),
    st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(any),
    min_size=1,
)


def places(
    sizes: dict[str, tuple[int, int]], weights: dict[str, float] | None = None, turn: str = ""
) -> Places:
    """`sizes`: urgent ones and the rest, by office. `turn`: whose it is."""
    return Places(
        {office: LaneSize(urgent + rest, urgent) for office, (urgent, rest) in sizes.items()},
        weights or {},
        NOW_MS,
        {NEXT_URGENT: turn, NEXT_REST: turn},
    )


def position(found: Places, office: str, rank: int, urgent: int) -> int:
    """Of the `rank`-th in its lane, of which the first `urgent` are urgent."""
    return found.spot(office, rank, URGENT if rank < urgent else WHENEVER).position


def handed_out(
    sizes: dict[str, tuple[int, int]], weights: dict[str, float], turn: str = ""
) -> dict[tuple[str, int], int]:
    """At which place each order goes when nobody else comes: office and rank by place, as the dispatcher does it."""
    queues = {office: deque(range(urgent + rest)) for office, (urgent, rest) in sizes.items()}
    state = {NEXT_URGENT: turn, NEXT_REST: turn}
    went: dict[tuple[str, int], int] = {}
    while any(queues.values()):
        now = {
            office: Lane(len(queue), 1.0 if queue[0] < sizes[office][0] else None)
            for office, queue in queues.items()
            if queue
        }
        made = plan(now, weights, state, 1)
        state = made.state
        for office, count in made.take:
            for _ in range(count):
                went[office, queues[office].popleft()] = len(went) + 1
    return went


def test_one_offices_positions_are_its_ranks() -> None:
    assert [position(places({"A": (0, 9)}), "A", rank, 0) for rank in range(3)] == [1, 2, 3]
    assert [position(places({"A": (2, 7)}), "A", rank, 2) for rank in range(4)] == [1, 2, 3, 4]


def test_other_offices_take_their_turns_and_no_more_than_they_have() -> None:
    assert position(places({"A": (0, 9), "B": (0, 100), "C": (0, 2)}), "A", 5, 0) == 6 + 5 + 2
    assert position(places({"A": (0, 9), "B": (0, 100)}, {"B": 2.0}), "A", 5, 0) == 6 + 10
    assert position(places({"A": (0, 9), "B": (0, 100)}), "A", 0, 0) == 1


@pytest.mark.parametrize("urgent", [True, False])
@pytest.mark.parametrize("turn", ["", "D", "DD", "J", "Z"])
def test_the_first_orders_of_many_offices_have_a_place_each(turn: str, urgent: bool) -> None:
    sizes = dict.fromkeys("ABCDEFGHIJ", (3, 0) if urgent else (0, 3))
    went = handed_out(sizes, {}, turn)
    found = places(sizes, turn=turn)
    told = {(office, rank): found.spot(office, rank, URGENT if urgent else WHENEVER) for office, rank in went}
    assert {order: spot.position for order, spot in told.items()} == went


def test_an_offices_weight_is_how_many_it_sends_in_its_turn() -> None:
    sizes, weights = {"A": (0, 8), "B": (0, 8), "C": (0, 8)}, {"B": 2.0, "C": 0.5}
    went = handed_out(sizes, weights)
    for (office, rank), place in went.items():
        assert position(places(sizes, weights), office, rank, 0) == pytest.approx(place, abs=2)


def test_who_has_no_deadline_goes_after_the_urgent_of_all_offices_or_in_a_tenth_of_the_turns() -> None:
    assert position(places({"A": (5, 20), "B": (100, 0)}), "A", 19, 5) == 100 + 20
    assert position(places({"A": (0, 9), "B": (100, 0)}), "A", 2, 0) == 30
    assert position(places({"A": (0, 9), "B": (4, 0)}), "A", 2, 0) == 7


def test_positions_are_where_the_dispatcher_hands_orders_out() -> None:
    rng = random.Random(1)
    told_well = []
    for _ in range(300):
        some = [0, 3, rng.randint(1, 60)]
        sizes = {office: (rng.choice([0, *some]), rng.choice(some)) for office in "ABCDEFGH"}
        found = places(sizes)
        length = sum(map(sum, sizes.values()))
        for (office, rank), place in handed_out(sizes, {}).items():
            # Within a round of the offices, and a quarter for lanes whose urgent orders end before ours.
            close = pytest.approx(place, rel=0.25, abs=len(sizes))
            told = position(found, office, rank, sizes[office][0])
            assert 1 <= told <= length
            told_well.append(told == close)
    assert len(told_well) > 10_000
    assert sum(told_well) >= 0.98 * len(told_well)


def test_a_lane_whose_few_urgent_orders_are_gone_soon_joins_the_rest() -> None:
    sizes = {"A": (1000, 0), **dict.fromkeys("BCDE", (3, 200)), "F": (0, 200)}
    went = handed_out(sizes, {})
    for rank in (10, 50, 150):
        assert position(places(sizes), "F", rank, 0) == pytest.approx(went["F", rank], rel=0.15)


@given(
    lanes,
    st.dictionaries(st.sampled_from("ABCDEFGH"), st.floats(0.1, 10)),
    st.integers(0, 200),
    st.floats(0, 1000),
)
def test_a_place_grows_with_the_rank_and_with_those_who_come(
    sizes: dict[str, tuple[int, int]], weights: dict[str, float], rank: int, come: float
) -> None:
    found = places(sizes, weights)
    office = min(sizes)
    urgent = sizes[office][0]
    spot = found.spot(office, rank, URGENT if rank < urgent else WHENEVER)
    assert 1 <= spot.position <= spot.after(come) + 1e-6
    assert spot.position <= position(found, office, rank + 1, urgent)


@given(
    lanes,
    st.dictionaries(st.sampled_from("ABCDEFGH"), st.floats(0.1, 10)),
    st.integers(0, 200),
    st.booleans(),
    st.lists(st.floats(0, 1000), max_size=4),
)
def test_what_a_spot_was_asked_before_changes_nothing(
    sizes: dict[str, tuple[int, int]],
    weights: dict[str, float],
    rank: int,
    urgent: bool,
    asked: list[float],
) -> None:
    def spot() -> Spot:
        return found.spot(min(sizes), rank, URGENT if urgent else WHENEVER)

    found = places(sizes, weights)
    often = spot()
    told = [often.after(come) for come in asked]
    assert often == spot()
    for come, before in zip(asked, told, strict=True):
        assert before == often.after(come) == spot().after(come)
