"""The breaker's rules, pure: what a call's end weighs, when to open, when to close, how long to stay open.

The shared counts live in Redis; these functions judge them. What counts is the error tree and nothing else: a
rejection, a used-up quota or an unusable serial number is an answer of a healthy server.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from antrean.provider.errors import ASKED_WAIT_MAX_S, OutcomeUnknown, ProviderError, Unavailable


class BreakerState(StrEnum):
    """The three states, spelled as the API spells them."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Weight(StrEnum):
    """What the end of one call says about the server's health."""

    SUCCESS = "success"
    FAILURE = "failure"
    REFUSED = "refused"  # a failure where not even a connection came about
    NOTHING = "nothing"  # cancelled, or not tried: says nothing


#: Calls turned away in a row open the breaker only after a silence: no good answer for this many times the time that
#: one usually takes, or for SILENCE_MAX_S seconds. A server that is a little too full turns away ten calls at once,
#: while those that it has let in are still on their way.
SILENCE = 1.2
SILENCE_MAX_S = 2.0


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """Thresholds. Rates are shares from 0 to 1. `window_s` is kept in ten buckets, so it is exact to a tenth.

    `refused_in_row`: this many refused connections in a row open the breaker at once, even below `min_calls`.
    `open_first_s`: the shortest time to the first probe. It doubles with each opening in a row, up to
    `probe_interval_s`, which is also the least time between two probes of the whole fleet.
    """

    window_s: float = 30.0
    min_calls: int = 10
    failure_rate: float = 0.5
    slow_call_s: float = 20.0
    slow_rate: float = 0.8
    refused_in_row: int = 5
    probe_interval_s: float = 5.0
    open_first_s: float = 1.0
    half_open_permits: int = 1
    trials_to_close: int = 1


@dataclass(frozen=True, slots=True)
class Window:
    """Counts of the calls that ended within the window, in the breaker's present state.

    Calls in a row are counted beyond the window as well: when an upstream hangs and few calls are in flight, too few of
    them end within one window to be judged by their rate.

    `turned_away_in_row`: how many of those failed in a row were refused as too many. `silent_s`: seconds since the
    last good answer. `usual_s`: how long a good answer takes, 0 where that is not known. `asked_wait_s`: how long the
    last of them asked us to wait.
    """

    calls: int
    failures: int
    slow: int
    refused_in_row: int = 0
    failed_in_row: int = 0
    turned_away_in_row: int = 0
    silent_s: float = 0.0
    usual_s: float = 0.0
    asked_wait_s: float = 0.0

    @property
    def failure_rate(self) -> float:
        """Failed share of the calls; 0 where there were none."""
        return self.failures / self.calls if self.calls else 0.0

    @property
    def slow_rate(self) -> float:
        """Slow share of the calls; 0 where there were none."""
        return self.slow / self.calls if self.calls else 0.0


@dataclass(frozen=True, slots=True)
class Move:
    """A change of state that is due, and why."""

    to: BreakerState
    reason: str


def weigh(error: BaseException | None) -> Weight:
    """What the end of a call weighs; None is a good answer."""
    if error is None:
        return Weight.SUCCESS
    if isinstance(error, Unavailable):
        if error.refused_by_breaker:
            return Weight.NOTHING
        return Weight.FAILURE if error.sent else Weight.REFUSED
    if isinstance(error, OutcomeUnknown):
        return Weight.FAILURE
    if isinstance(error, ProviderError):
        return Weight.SUCCESS
    return Weight.NOTHING


def judge_closed(window: Window, rules: BreakerRules) -> Move | None:
    """Does a closed breaker open on these counts?"""
    if window.asked_wait_s > ASKED_WAIT_MAX_S:
        return Move(BreakerState.OPEN, f"the upstream asked us to wait for {window.asked_wait_s:.0f} s")
    if window.refused_in_row >= rules.refused_in_row:
        return Move(BreakerState.OPEN, f"{window.refused_in_row} connections in a row were refused")
    silent = window.silent_s >= min(SILENCE * window.usual_s, SILENCE_MAX_S)
    counted = window.failed_in_row if silent else window.failed_in_row - window.turned_away_in_row
    if counted >= rules.min_calls:
        return Move(BreakerState.OPEN, f"{window.failed_in_row} calls in a row failed")
    if window.calls < rules.min_calls:
        return None
    if window.failure_rate >= rules.failure_rate:
        return Move(BreakerState.OPEN, f"{window.failures} of {window.calls} calls failed")
    if window.slow_rate >= rules.slow_rate:
        return Move(BreakerState.OPEN, f"{window.slow} of {window.calls} calls were slow")
    return None


def far_from_opening(window: Window, rules: BreakerRules) -> bool:
    """Whether a closed breaker with these counts is far from opening: failures and slow calls are each less than half
    of what would open it. One more good answer then changes nothing."""
    calls = max(window.calls, rules.min_calls)
    return 2 * window.failures < rules.failure_rate * calls and 2 * window.slow < rules.slow_rate * calls


def judge_trial(window: Window, rules: BreakerRules) -> Move | None:
    """Where does a half-open breaker go, when `window` holds its trials and nothing else?"""
    if window.failures:
        return Move(BreakerState.OPEN, "the trial call failed")
    if window.slow:
        return Move(BreakerState.OPEN, "the trial call was slow")
    if window.calls >= rules.trials_to_close:
        return Move(BreakerState.CLOSED, "the trial call was answered")
    return None


def judge(state: BreakerState, window: Window, rules: BreakerRules) -> Move | None:
    """The change that is due in `state`, if any. An open breaker is left by a probe, never by a call."""
    if state is BreakerState.CLOSED:
        return judge_closed(window, rules)
    if state is BreakerState.HALF_OPEN:
        return judge_trial(window, rules)
    return None


def open_time_s(openings: int, chance: float, rules: BreakerRules) -> float:
    """Seconds from opening to the first probe, for the `openings`-th opening in a row (from 1).

    Doubles from `open_first_s` and never passes `probe_interval_s`, so that a recovery is seen within one
    interval. `chance` in [0, 1) is the jitter: between half of the time and all of it.
    """
    doublings = min(max(openings, 1) - 1, 32)
    full = min(rules.probe_interval_s, rules.open_first_s * 2.0**doublings)
    return full * (0.5 + 0.5 * chance)
