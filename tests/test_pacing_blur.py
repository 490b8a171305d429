"""The limit where answer times differ by themselves, as those of real servers do: a model with calls that come and go
one by one. Such an upstream is used, and one that bears less is not filled far beyond what it bears."""

from __future__ import annotations

import heapq
import math
import random
import statistics
from collections.abc import Callable

import pytest

from antrean.provider.pacing import STEP_MAX_S, STEP_MAX_TRIPS, PaceBounds, PaceState, Sample, due, next_limit

BOUNDS = PaceBounds(limit_max=64)
SPREADS: dict[str, Callable[[random.Random], float]] = {
    "a tenth": lambda rng: max(0.2, rng.gauss(1, 0.1)),
    "a fifth": lambda rng: max(0.2, rng.gauss(1, 0.2)),
    "even, 0.6 to 1.6": lambda rng: rng.uniform(0.6, 1.6) / 1.1,
    "a long tail": lambda rng: math.exp(rng.gauss(-0.045, 0.3)),
    "a longer tail": lambda rng: math.exp(rng.gauss(-0.18, 0.6)),
}


def drained(
    rng: random.Random, spread: Callable[[random.Random], float], mean_s: float, bears: float, seconds: float
) -> tuple[float, float]:
    """As many calls as the limit allows, always; more than `bears` slow each other down in proportion.

    Answers the calls done as a share of what an upstream that is always full does, and the mean answer as a multiple
    of the unloaded one.
    """
    state, now_s, in_flight, begun, done_all, took_s = PaceState(limit=2), 0.0, 0, 0, 0, 0.0
    calls: list[tuple[float, int, float, int]] = []
    step, since_s, used, done, answers, total_s, squares = 0, 0.0, 0, 0, 0, 0.0, 0.0
    while now_s < seconds:
        while in_flight < int(state.limit):
            in_flight, begun = in_flight + 1, begun + 1
            lasts_s = mean_s * spread(rng) * max(1.0, in_flight / bears)
            heapq.heappush(calls, (now_s + lasts_s, begun, now_s, step))
        used = max(used, in_flight)
        now_s, _, began_s, its_step = heapq.heappop(calls)
        in_flight, done, done_all, took_s = in_flight - 1, done + 1, done_all + 1, took_s + now_s - began_s
        if its_step == step:
            rtt_s = now_s - began_s
            answers, total_s, squares = answers + 1, total_s + rtt_s, squares + rtt_s * rtt_s
        sample = Sample(answers, total_s, squares, done, 0, used, now_s - since_s, now_s)
        if due(state, sample):
            state = next_limit(state, sample, BOUNDS)
            step, since_s, used, done, answers, total_s, squares = step + 1, now_s, 0, 0, 0, 0.0, 0.0
    return done_all * mean_s / seconds / min(bears, BOUNDS.limit_max), took_s / done_all / mean_s


@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize(("mean_s", "seconds"), [(0.05, 30), (0.5, 120)])
def test_an_upstream_that_bears_all_is_used(name: str, mean_s: float, seconds: float) -> None:
    """From a limit of two, the beginning included."""
    shares = [drained(random.Random(seed), SPREADS[name], mean_s, math.inf, seconds)[0] for seed in range(5)]
    assert statistics.median(shares) > 0.45, shares


@pytest.mark.parametrize("name", SPREADS)
@pytest.mark.parametrize("bears", [10, 30])
def test_one_that_bears_less_is_used_and_hardly_slowed_down(name: str, bears: int) -> None:
    runs = [drained(random.Random(seed), SPREADS[name], 0.2, bears, 90) for seed in range(5)]
    assert statistics.median(share for share, _ in runs) > 0.75, runs
    assert statistics.median(slower for _, slower in runs) < 1.35, runs


def test_answers_that_take_longer_than_a_step_are_waited_for() -> None:
    state = PaceState(limit=2)
    none = Sample(0, 0.0, 0.0, 3, 0, 2, 10 * STEP_MAX_S, 100.0)
    assert not due(state, none)
    assert due(state, Sample(1, 20.0, 400.0, 1, 0, 2, 10 * STEP_MAX_S, 100.0))
    known = PaceState(limit=8, baseline_s=20.0, known=20.0)
    few = Sample(2, 40.0, 800.5, 2, 0, 8, STEP_MAX_TRIPS * 20.0 - 1, 100.0)
    assert not due(known, few)
    assert due(known, Sample(2, 40.0, 800.5, 2, 0, 8, STEP_MAX_TRIPS * 20.0, 100.0))
