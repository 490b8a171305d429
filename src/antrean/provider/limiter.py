"""The fleet's one limit of calls in flight and its one retry budget: what a single process does about them.

The leases and the limit live in Redis. The breaker's scripts take them and give them back, so that a call costs two
round trips in all. Here are the rules that those scripts are given, the judging of a step, and the waiting for a
slot.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import dataclass
from typing import NamedTuple

from antrean.provider.pacing import PaceBounds, due, next_limit
from antrean.provider.settled import Settled

#: A waiting call asks again after about this many seconds when nobody of its own process gave a slot back.
POLL_S = 0.05
#: With many waiting, one process asks at most about 1 / POLL_SPREAD_S times a second.
POLL_SPREAD_S = 0.005


@dataclass(frozen=True, slots=True)
class LimitRules:
    """`lease_s`: seconds after which the slot of a dead worker is free again. A living worker renews its leases three
    times as often, so a call may last longer.

    `retry_share`: retries earned per call, over all workers; unused ones add up to at most `retry_tokens_max`.
    """

    bounds: PaceBounds
    lease_s: float = 3.0
    retry_share: float = 0.1
    retry_tokens_max: float = 20.0


class NextStep(NamedTuple):
    """A new limit. `args`: those of `pace.lua`, which writes it; `slots`: how many more calls may be in flight."""

    args: tuple[str | int | float, ...]
    slots: int


class FleetLimiter:
    """What one process knows of the fleet's limit: its rules, and who of its calls waits for a slot."""

    def __init__(self, rules: LimitRules, rng: random.Random) -> None:
        self.rules = rules
        self._rng = rng
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def start(self) -> int:
        """The limit at the start and after a recovery."""
        return int(self.rules.bounds.clamp(self.rules.bounds.start))

    def judge(self, settled: Settled) -> NextStep | None:
        """The next step of the limit; None while the present one has not measured enough."""
        state, sample = settled.pace, settled.sample
        if not due(state, sample):
            return None
        new = next_limit(state, sample, self.rules.bounds)
        args = (
            settled.step,
            new.limit,
            new.baseline_s,
            new.ceiling,
            int(new.hold_until_s * 1000),
            f"{new.background:.4f}",
            int(new.known),
            "1" if new.limit < state.limit else "0",
        )
        return NextStep(args, slots=max(0, int(new.limit) - int(state.limit)))

    async def slot_freed(self, timeout_s: float) -> None:
        """Return when a call of this process ended, or after a short time, or after `timeout_s` seconds."""
        pause_s = max(POLL_S, POLL_SPREAD_S * len(self._waiting)) * self._rng.uniform(0.5, 1.5)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await asyncio.wait((turn,), timeout=min(pause_s, timeout_s))
        except asyncio.CancelledError:
            if turn.done():
                self.wake()  # the slot offered to us goes to the next
            raise
        finally:
            if not turn.done():
                self._waiting.remove(turn)

    def wake(self, slots: int = 1) -> None:
        """`slots` may have come free: let as many of those who wait longest ask again."""
        for _ in range(min(slots, len(self._waiting))):
            self._waiting.popleft().set_result(None)
