"""The adaptive limit of calls in flight, pure: from what one step measured to the limit of the next.

The limit grows by an eighth (at least by one) when the answers of a step are surely as quick as they are without load
and the limit was really used. It shrinks in proportion when they are surely slower, and when calls fail. A step that is
not sure goes on collecting: with few calls in flight one more is a large step, and a few quick answers prove nothing.
Answers of real servers often differ so much that nothing can be sure in time. Then what is likelier decides: the limit
grows while the mean is below the bound, and waits while it is above.

Cutting on errors matters: a limiter that looks at round-trip time alone takes instant errors for good health. Errors
may come at any limit, so they cut only beyond their usual share. "Too busy" cuts at once, unless as many calls are
refused at the lowest limit of late: what does not cease with the load is not caused by it, and only what exceeds that
share in a step cuts (lua/_refusals.lua).

The growth is gentle on purpose. An upstream that falls over when pushed past its capacity by a fifth shows slower
answers or first refusals before that, and a step smaller than a fifth leaves time to see them. An upstream that counts
its calls per second shows nothing until one second had too many, so a step is never shorter than STEP_S.

After a cut the limit that was too much is remembered as the `ceiling`. It is reached again only after a while. Beyond
it each step is as large as all steps beyond it so far, and the ceiling is forgotten once that is a usual step: the
upstream has more capacity now. So just above a ceiling one refusal is harmless, where a usual step might cause a
collapse.

A refusal that asks all calls to wait stops the line for as long. The longer such a pause, the more seldom a ceiling
that was met twice is tried again.

A second that was too full stays too full until it is over: further refusals in it are no reason for a lower ceiling.
Such an upstream also needs calls that start evenly spaced (EVEN_FOR_S), see `lua/admit.lua`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import Enum, auto

#: A step is at least this long, in seconds. With growth by an eighth per step, the calls of the last second are then
#: never below six sevenths of the present pace. Only calls that began in a step count for its round trip, so a slow
#: upstream makes the steps longer by itself.
STEP_S = 0.4
#: A step that collects too few answers ends after STEP_MAX_S seconds all the same, or after STEP_MAX_TRIPS round trips
#: if that is longer, so that no sample is old.
STEP_MAX_S = 5.0
STEP_MAX_TRIPS = 4.0
#: This many answers are enough for a mean. A step that is still near the bound by then looks from further down: the
#: limit is cut to LOOK of it, where the round trip without load shows again.
ENOUGH = 120
LOOK = 0.8
#: Relative growth of one step; below 20 % by intent, see above.
GROWTH = 0.12
#: The bound between quick and slow, as a share of one step of growth: what is below it may grow once more and stay
#: under the fifth.
MARGIN = 0.45
#: Standard errors by which a mean must differ from the bound between quick and slow to be sure.
SURE = 2.5
#: The first mean is taken for the unloaded round trip when its standard error is at most FIRST_DOUBT of it, or after
#: FIRST_ANSWERS answers.
FIRST_DOUBT = 0.005
FIRST_ANSWERS = 16
#: Where answers differ too much to be sure, a step decides after this many of them, and after this many for each call
#: that may be in flight.
BLURRED_ANSWERS = 8
BLURRED_ROUNDS = 2
#: All answers that were not slow weigh the same in the unloaded round trip, until its standard error is this share of
#: it.
KNOWN = 0.015
#: Weight of a step in the usual share of errors, which is taken for at least BACKGROUND_MIN.
BACKGROUND_WEIGHT = 0.3
BACKGROUND_MIN = 0.02
#: Refusals are usual once this many calls were seen, from this share of them on and up to the next. When twice as many
#: calls were seen, older ones count half.
REFUSALS_OF = 24
REFUSED_MIN = 0.02
REFUSED_MAX = 0.35
#: Standard errors by which the refusals of a step must exceed their usual share to cut.
DOUBT_REFUSED = 1.5
#: And those of so many calls, of several steps; the limit is cut to this share of itself then.
DOUBT_TEST = 2.0
REFUSALS_TEST = 60
REFUSED_CUT = 0.8
#: So many refusals in a row are an outage, and say nothing about what is usual.
OUTAGE_ROW = 8
#: When this many refusals should have come by their usual share and none did, none are usual any more.
REFUSALS_MISSED = 10
#: From this share of a ceiling on, the limit is near it.
NEAR = 0.95
#: The limit counts as really used when at least this share of it was in flight at once.
USED_UP = 0.9
#: Growth of one step close below a ceiling, in slots: a whole slot takes two steps, so that its effect is seen first.
BELOW = 0.5
#: Seconds to wait below a ceiling before it is tried again: after a hard cut, and after one by less than a tenth.
HOLD_S = 2.0
HOLD_GENTLE_S = 0.5
#: The same after the cut that a first refusal makes at once: until the second that was too full is over.
HOLD_FIRST_S = 1.2
#: What is left of the limit where the upstream is too full below its ceiling and asks all calls to wait. One slot less
#: for each pause would take too long.
ASKED_CUT = 0.65
#: Where the upstream asks all calls to wait when it is too full, each look whether it bears more costs them that pause.
#: So a ceiling that was met again is left alone for this many times as long, and for at most HOLD_ASKED_MAX_S seconds.
HOLD_ASKED_TIMES = 8
HOLD_ASKED_MAX_S = 40.0
#: For this many seconds after a call was turned away, calls start evenly spaced instead of in bursts.
EVEN_FOR_S = 60.0
#: Weights of a new mean in the unloaded round trip. A better one is believed soon, as far as it differs by more than
#: CHANCE standard errors. A worse one is believed soon only where we can hardly have caused it: with few calls in
#: flight (ALONE), or well below a ceiling (ALONE_SHARE). Under load it would let the limit creep upwards.
BASELINE_DOWN = 0.3
CHANCE = 2.0
BASELINE_UP = 0.002
BASELINE_UP_ALONE = 0.3
ALONE = 2
ALONE_SHARE = 0.82


@dataclass(frozen=True, slots=True)
class PaceBounds:
    """The limit never leaves [1, `limit_max`]; it begins, and after every recovery begins again, at `start`."""

    limit_max: int
    start: int = 2

    def clamp(self, limit: float) -> float:
        """`limit` within the bounds."""
        return max(1.0, min(float(self.limit_max), limit))


@dataclass(frozen=True, slots=True)
class PaceState:
    """What is kept of the limit between two steps.

    `limit`: calls in flight, of which the whole part counts. `baseline_s`: the round trip without load; 0: not known.
    `ceiling`: the last limit that was too much; 0: none. `hold_until_s`: the time until which the limit stays below it.
    `background`: the usual share of calls that fail. `known`: how many answers `baseline_s` is known from. `refused`:
    the share of calls that are refused as too many whatever the load is; 0: not known.
    """

    limit: float
    baseline_s: float = 0.0
    ceiling: float = 0.0
    hold_until_s: float = 0.0
    background: float = 0.0
    known: float = 0.0
    refused: float = 0.0


@dataclass(frozen=True, slots=True)
class Sample:
    """What one step measured.

    `answers`, `rtt_sum_s`, `rtt_square_sum`: number, sum and sum of squares of the round trips of good answers to calls
    that began in this step. `done`: all good answers. `busy`: calls begun since the last cut that were refused as too
    many; `errors`: those that failed otherwise. `used_max`: most calls in flight at once. `age_s`: length of the step.
    """

    answers: int
    rtt_sum_s: float
    rtt_square_sum: float
    done: int
    errors: int
    used_max: int
    age_s: float
    now_s: float
    busy: int = 0


class _Pace(Enum):
    """What the answers of a step say. BLURRED: not even answers as quick as without load would be surely quick."""

    QUICK = auto()
    SLOW = auto()
    UNSURE = auto()
    BLURRED = auto()


def due(state: PaceState, sample: Sample) -> bool:
    """Has the step measured enough to be judged?"""
    if sample.age_s < STEP_S:
        return False
    if sample.busy or sample.errors or sample.answers >= ENOUGH:
        return True
    if sample.answers and sample.age_s >= max(STEP_MAX_S, STEP_MAX_TRIPS * state.baseline_s):
        return True
    if sample.answers < max(1, math.ceil(0.8 * math.floor(state.limit))):
        return False
    if not _used_up(state, sample):
        return True
    if not state.baseline_s:
        mean_s, doubt_s = _mean(sample)
        return doubt_s <= FIRST_DOUBT * mean_s or sample.answers >= FIRST_ANSWERS
    pace = _pace(state, sample)
    if pace is _Pace.BLURRED:
        return sample.answers >= max(BLURRED_ANSWERS, BLURRED_ROUNDS * math.floor(state.limit))
    return pace is not _Pace.UNSURE


def next_limit(state: PaceState, sample: Sample, bounds: PaceBounds) -> PaceState:
    """The state for the next step."""
    calls = sample.busy + sample.errors + sample.done
    usual = _usual(state.refused, calls, DOUBT_REFUSED) if state.refused else 0.0
    if sample.busy and sample.busy / calls > usual:
        new = _cut(state, max(0.5, 1.0 + usual - sample.busy / calls), sample.now_s, bounds)
        if sample.now_s < state.hold_until_s and new.limit >= NEAR * state.ceiling:
            # The second that was too full is not over. What was too much is the limit before its first refusal.
            return replace(new, ceiling=max(new.ceiling, state.ceiling))
        return new
    share = sample.errors / calls if calls else 0.0
    excess = share - _usual(state.background, calls)
    background = state.background + BACKGROUND_WEIGHT * (share - state.background)
    state = replace(state, limit=bounds.clamp(state.limit), background=background)
    if excess > 0:
        return _cut(state, max(0.5, min(0.95, 1.0 - excess)), sample.now_s, bounds)
    if not sample.answers:
        return state
    mean_s, _ = _mean(sample)
    known = state if state.baseline_s else _learnt(state, sample, _Pace.UNSURE)
    pace, bound_s = _pace(known, sample), _quick_s(known)
    state = _learnt(state, sample, pace)
    if not _used_up(state, sample):
        return state  # the limit held nothing back, so nothing is known about a higher one
    nearer_s = bound_s if pace is _Pace.BLURRED else (known.baseline_s + bound_s) / 2
    if pace is _Pace.QUICK or (pace is not _Pace.SLOW and mean_s <= nearer_s):
        return _grow(state, sample.now_s, bounds)
    if pace is _Pace.BLURRED:
        return state
    factor = LOOK if pace is _Pace.UNSURE else max(0.7, bound_s / mean_s)
    return _cut(state, factor, sample.now_s, bounds)


def _learnt(state: PaceState, sample: Sample, pace: _Pace) -> PaceState:
    """`state` with what this step tells about the unloaded round trip."""
    mean_s, doubt_s = _mean(sample)
    if not state.baseline_s:
        return replace(state, baseline_s=mean_s, known=float(sample.answers))
    off_s, baseline_doubt_s = mean_s - state.baseline_s, _baseline_doubt_s(state, sample)
    if pace is not _Pace.SLOW and baseline_doubt_s > KNOWN * state.baseline_s:
        known = state.known + sample.answers
        return replace(state, baseline_s=state.baseline_s + off_s * sample.answers / known, known=known)
    if off_s < 0:
        learnt_s = BASELINE_DOWN * min(0.0, off_s + CHANCE * math.hypot(doubt_s, baseline_doubt_s))
    elif pace is _Pace.BLURRED:
        learnt_s = 0.0
    else:
        alone = sample.used_max <= max(ALONE, ALONE_SHARE * state.ceiling)
        learnt_s = (BASELINE_UP_ALONE if alone else BASELINE_UP) * off_s
    return replace(state, baseline_s=state.baseline_s + learnt_s)


def _usual(background: float, calls: int, doubt: float = 2.0) -> float:
    """The share of errors of a step that may be chance: `doubt` standard errors and half a call above the usual one."""
    likely = min(max(background, BACKGROUND_MIN), 1.0 - BACKGROUND_MIN)
    return background + (doubt * math.sqrt(likely * (1.0 - likely) * calls) + 0.5) / max(calls, 1)


def _used_up(state: PaceState, sample: Sample) -> bool:
    return sample.used_max >= math.ceil(USED_UP * math.floor(state.limit))


def _mean(sample: Sample) -> tuple[float, float]:
    """The mean round trip and its standard error, in seconds."""
    mean_s = sample.rtt_sum_s / sample.answers
    variance = max(0.0, sample.rtt_square_sum / sample.answers - mean_s * mean_s)
    return mean_s, math.sqrt(variance / sample.answers)


def _quick_s(state: PaceState) -> float:
    """The bound between quick and slow: MARGIN of what the last step of growth would cost if it was too much."""
    return state.baseline_s * (1.0 + max(GROWTH, 1.0 / max(1.0, math.floor(state.limit))) * MARGIN)


def _baseline_doubt_s(state: PaceState, sample: Sample) -> float:
    """The standard error of the unloaded round trip in seconds, if answers have always differed as in this step."""
    return _mean(sample)[1] * math.sqrt(sample.answers / max(state.known, 1.0))


def _pace(state: PaceState, sample: Sample) -> _Pace:
    mean_s, doubt_s = _mean(sample)
    bound_s = _quick_s(state)
    if mean_s + SURE * doubt_s <= bound_s:
        return _Pace.QUICK
    both_s = math.hypot(doubt_s, _baseline_doubt_s(state, sample))
    blurred = SURE * both_s > bound_s - state.baseline_s
    if blurred:
        doubt_s = both_s
    if mean_s - SURE * doubt_s > bound_s:
        return _Pace.SLOW
    return _Pace.BLURRED if blurred else _Pace.UNSURE


def _grow(state: PaceState, now_s: float, bounds: PaceBounds) -> PaceState:
    usual = max(1.0, GROWTH * state.limit)
    if not state.ceiling:
        return replace(state, limit=bounds.clamp(state.limit + usual))
    beyond, room = state.limit - state.ceiling, NEAR * state.ceiling - state.limit
    if room < 1.0 and now_s < state.hold_until_s:
        return state
    least = 1.0 if beyond >= 0 else BELOW
    limit = bounds.clamp(state.limit + min(usual, max(least, beyond, room)))
    return replace(state, limit=limit, ceiling=0.0 if beyond >= usual else state.ceiling)


def _cut(state: PaceState, factor: float, now_s: float, bounds: PaceBounds) -> PaceState:
    before = bounds.clamp(state.limit)
    hold_s = HOLD_S if factor <= 0.9 else HOLD_GENTLE_S
    until_s = max(state.hold_until_s, now_s + hold_s)
    return replace(state, limit=bounds.clamp(before * factor), ceiling=before, hold_until_s=until_s)
