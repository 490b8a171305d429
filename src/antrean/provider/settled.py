"""What `settle.lua` answers about a call that counted, with names instead of places in a row. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from antrean.provider.pacing import PaceState, Sample
from antrean.provider.policy import BreakerState, Window


@dataclass(frozen=True, slots=True)
class Settled:
    """The breaker and the limit as they stand after one call.

    `epoch` and `step` name the state that was judged: the scripts that write a decision ignore it where another
    process was quicker. `overridden`: ops force the breaker's state, so the counts decide nothing.
    """

    state: BreakerState
    epoch: str
    overridden: bool
    window: Window
    step: str
    pace: PaceState
    sample: Sample

    @classmethod
    def from_row(cls, row: list[str], asked_wait_s: float) -> Self:
        """Read an answer that begins with `counted`. `asked_wait_s`: how long the upstream asked us to wait."""
        _counted, state, epoch, overridden = row[:4]
        calls, failures, slow, refused, failed, turned_away, silent_ms = map(int, row[4:11])
        step, limit, baseline_s, ceiling, hold_until_ms, background, known, usual_refused = row[11:19]
        answers, rtt_sum_s, rtt_square_sum, done, errors, busy, used, age_ms, now_ms = row[19:]
        return cls(
            state=BreakerState(state),
            epoch=epoch,
            overridden=overridden == "1",
            window=Window(
                calls=calls,
                failures=failures,
                slow=slow,
                refused_in_row=refused,
                failed_in_row=failed,
                turned_away_in_row=turned_away,
                silent_s=silent_ms / 1000,
                usual_s=float(baseline_s),
                asked_wait_s=asked_wait_s,
            ),
            step=step,
            pace=PaceState(
                limit=float(limit),
                baseline_s=float(baseline_s),
                ceiling=float(ceiling),
                hold_until_s=float(hold_until_ms) / 1000,
                background=float(background),
                known=float(known),
                refused=float(usual_refused),
            ),
            sample=Sample(
                answers=int(answers),
                rtt_sum_s=float(rtt_sum_s),
                rtt_square_sum=float(rtt_square_sum),
                done=int(done),
                errors=int(errors),
                used_max=int(used),
                age_s=int(age_ms) / 1000,
                now_s=int(now_ms) / 1000,
                busy=int(busy),
            ),
        )
