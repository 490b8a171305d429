"""The adaptive limit of calls in flight, pure: from what one step measured to the limit of the next.

Grows by an eighth (at least one) while answers stay as quick as they are without load and the limit was really
used; shrinks in proportion when they slow, and when calls fail. Cutting on errors matters:
a limiter that looks at round-trip time alone takes instant errors for good health. The gentle growth is on
purpose: an upstream that falls over when pushed past its capacity by a fifth shows slower answers first, and a
step smaller than that fifth leaves time to see them.

After a cut the limit that was too much is remembered as `ceiling`; it is approached again only after `HOLD_S`
and by one at a time, and forgotten once it was passed without harm (the upstream has got more capacity).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

#: A step is at least this long, in seconds. Only calls that began in a step count for its round trip, so a slow
#: upstream makes the steps longer by itself.
STEP_S = 0.1
#: A step that collects too few answers ends after this many seconds all the same, so that old samples go.
STEP_MAX_S = 5.0
#: So many answers are enough for a mean, however high the limit is.
ENOUGH = 50
#: Relative growth of one step; below 20 % by intent, see above.
GROWTH = 0.12
#: Means up to this multiple of the unloaded round trip, and so many standard errors, count as quick.
QUICK = 1.08
DOUBTS = 1.5
#: Seconds to wait below a ceiling before it is tried again: after a hard cut, and after one by less than a tenth.
HOLD_S = 2.0
HOLD_GENTLE_S = 0.5
#: Weights of a new mean in the unloaded round trip. Better is believed soon. Worse is believed soon only where few
#: calls are in flight, since it can not be of our making there; under load it would let the limit creep upwards.
BASELINE_DOWN = 0.3
BASELINE_UP = 0.002
BASELINE_UP_ALONE = 0.3
ALONE = 2


@dataclass(frozen=True, slots=True)
class PaceBounds:
    """The limit never leaves [1, `limit_max`]; it begins, and after every recovery begins again, at `start`."""

    limit_max: int
    start: int = 4

    def clamp(self, limit: float) -> float:
        """`limit` within the bounds."""
        return max(1.0, min(float(self.limit_max), limit))


@dataclass(frozen=True, slots=True)
class PaceState:
    """The limit (whole calls: its floor), the unloaded round trip in seconds (0: not known), the last ceiling
    (0: none) and the time in seconds until which it is kept away from."""

    limit: float
    baseline_s: float = 0.0
    ceiling: float = 0.0
    hold_until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one step measured.

    `answers`, `rtt_sum_s`, `rtt_square_sum`: good answers to calls that began in this step. `done`: all good
    answers. `errors`: failures of calls begun since the last cut. `used_max`: most calls in flight at once.
    """

    answers: int
    rtt_sum_s: float
    rtt_square_sum: float
    done: int
    errors: int
    used_max: int
    age_s: float
    now_s: float


def due(state: PaceState, sample: Sample) -> bool:
    """Has the step measured enough to be judged?"""
    if sample.age_s < STEP_S:
        return False
    if sample.errors or sample.age_s >= STEP_MAX_S:
        return True
    return sample.answers >= max(1, min(ENOUGH, math.ceil(0.8 * math.floor(state.limit))))


def next_limit(state: PaceState, sample: Sample, bounds: PaceBounds) -> PaceState:
    """The state for the next step."""
    if sample.errors:
        share = sample.errors / (sample.errors + sample.done)
        return _cut(state, max(0.5, min(0.9, 1.0 - share)), sample.now_s, bounds)
    if not sample.answers:
        return replace(state, limit=bounds.clamp(state.limit))
    mean_s = sample.rtt_sum_s / sample.answers
    variance = max(0.0, sample.rtt_square_sum / sample.answers - mean_s * mean_s)
    doubt_s = math.sqrt(variance / sample.answers)
    known_s = state.baseline_s or mean_s
    if mean_s < known_s:
        weight = BASELINE_DOWN
    else:
        weight = BASELINE_UP_ALONE if sample.used_max <= ALONE else BASELINE_UP
    state = replace(state, baseline_s=known_s + weight * (mean_s - known_s), limit=bounds.clamp(state.limit))
    if sample.used_max < math.ceil(0.9 * math.floor(state.limit)):
        return state  # the limit did not hold anything back, so nothing is known about a higher one
    if mean_s > QUICK * known_s + DOUBTS * doubt_s:
        return _cut(state, max(0.7, QUICK * known_s / mean_s), sample.now_s, bounds)
    return _grow(state, sample.now_s, bounds)


def _grow(state: PaceState, now_s: float, bounds: PaceBounds) -> PaceState:
    step = max(1.0, GROWTH * state.limit)
    if state.ceiling and state.limit + step >= state.ceiling:
        if now_s < state.hold_until_s:
            return state
        step = 1.0
    limit = bounds.clamp(state.limit + step)
    return replace(state, limit=limit, ceiling=0.0 if limit > state.ceiling else state.ceiling)


def _cut(state: PaceState, factor: float, now_s: float, bounds: PaceBounds) -> PaceState:
    before = bounds.clamp(state.limit)
    hold_s = HOLD_S if factor <= 0.9 else HOLD_GENTLE_S
    return replace(state, limit=bounds.clamp(before * factor), ceiling=before, hold_until_s=now_s + hold_s)
