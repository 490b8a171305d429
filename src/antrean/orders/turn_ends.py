"""The ends of a turn: the order is completed, refused, or put back in line to wait. Sends nothing upstream.

Each write has a name (`op`) and is repeated under it until Redis has it or RECORD_MAX_S is over.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import random
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TypeVar

import structlog

from antrean.orders.insist import insist
from antrean.orders.intent import looked_at
from antrean.orders.layout import NewerLayout
from antrean.orders.model import ClaimLost, StoreUnavailable
from antrean.orders.store import OrderStore
from antrean.orders.turn import Turn
from antrean.provider.errors import (
    ASKED_WAIT_MAX_S,
    OutcomeUnknown,
    ProviderError,
    QuotaExhausted,
    Unavailable,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")

#: How long a result is held in memory while Redis is away, in seconds. Longer than a claim may last: a worker that gave
#: up earlier and lived on would leave an order that nobody moves until its claim is too old.
RECORD_MAX_S = 3600.0
#: The wait of an order whose document could not be read, and of one whose stamped PDF was given up, in seconds.
STORE_WAIT_S = 5.0
STAMPED_WAIT_S = 30.0
#: After a call that did not happen, an order waits for about this many seconds before its next turn; and where the
#: upstream said that the quota is used up for a stamp or a picture. No hold stops those, and a balance is paid in by
#: people, so to ask each second would keep the upstream busy with nothing.
RETRY_WAIT_S = 1.0
QUOTA_WAIT_S = 15.0
#: The same after the trial of a half-open breaker with a purchase, counted in times between two trials: another order
#: makes the next one. All others take turns in trials anyway (`dispatch.lua`).
TRIAL_WAIT = 2.0
#: Longest such wait, in seconds. The sweeper takes a longer one for the sign of a clock that was set back.
WAIT_MAX_S = 100.0


class Outcome(StrEnum):
    """What became of one turn."""

    COMPLETED = "completed"
    BOUGHT = "bought"
    RELEASED = "released"
    UNKNOWN = "unknown"
    REFUSED = "refused"
    LOST = "lost"
    SKIPPED = "skipped"


class TurnEnds:
    """Ends the turns of one worker. All raise StoreUnavailable where Redis stays away for RECORD_MAX_S. `complete`,
    `refuse`, `release` and what leads to them raise ClaimLost where the order is no longer this worker's."""

    def __init__(self, store: OrderStore, worker: str, rng: random.Random) -> None:
        self._store = store
        self._worker = worker
        self._rng = rng
        self._ops = itertools.count(1)

    def op(self) -> str:
        """The name of one write; a repetition after a lost answer has the same."""
        return f"{self._worker}.{next(self._ops)}"

    async def record(self, write: Callable[[], Awaitable[T]]) -> T:
        """Repeat a write, which has a name of its own, until Redis answers."""
        return await insist(write, RECORD_MAX_S, _is_away, self._rng)

    def complete_ahead(self, turn: Turn) -> None:
        """Send the turn's end now, to be looked at by `complete`; what it stands on leaves in the same write."""
        op = self.op()
        ending = asyncio.ensure_future(self._store.complete(turn.order, op, turn.meter.calls))
        ending.add_done_callback(looked_at)
        turn.ending = op, ending

    async def complete(self, turn: Turn, sha256: str) -> Outcome:
        """`sha256`: of the stamped PDF, or ''."""
        op, ending = turn.ending or (self.op(), None)
        if ending is not None:
            # Whatever came of it: under the same name the write can not happen twice.
            await asyncio.wait((ending,))
            if not ending.cancelled() and ending.exception() is None:
                return Outcome.COMPLETED
        await self.record(lambda: self._store.complete(turn.order, op, turn.meter.calls, sha256))
        return Outcome.COMPLETED

    async def has_ended(self, turn: Turn) -> bool:
        """Whether `bought` was refused only because both writes had been made and their answers were lost."""
        if turn.ending is None:
            return False
        try:
            await self.complete(turn, "")
        except ClaimLost:
            return False
        return True

    async def refuse(self, turn: Turn, verb: str, code: str, message: str) -> Outcome:
        """`verb`: `reject`, or `attend` where a person is to decide."""
        op = self.op()
        await self.record(lambda: self._store.refuse(turn.order, op, verb, code, message, turn.meter.calls))
        log.warning("order refused", verb=verb, code=code)
        return Outcome.REFUSED

    async def release(
        self, turn: Turn, note: str, wait_s: float = 0, *, stamped_perhaps: bool | None = None
    ) -> Outcome:
        """Give the claim up. `stamped_perhaps` None: as the last call may have left, or not."""
        op = self.op()
        perhaps = turn.sent if stamped_perhaps is None else stamped_perhaps
        await self.record(
            lambda: self._store.release(
                turn.order, op, note, turn.meter.calls, wait_s, turn.forgiven, perhaps
            )
        )
        return Outcome.RELEASED

    async def unavailable(
        self, turn: Turn, error: ProviderError, *, dispatcher_waits: bool = True
    ) -> Outcome:
        """Put the order back in line: at once where its own breaker refused the call, else after a short wait.

        The dispatcher waits for the breaker of the order's lane. An order to be stamped may need the other one as well;
        `dispatcher_waits` False says that it was that one.
        """
        refused = isinstance(error, Unavailable) and error.refused_by_breaker
        unclear = isinstance(error, OutcomeUnknown)
        if refused and dispatcher_waits:
            turn.forgive()
            return await self.release(turn, "", stamped_perhaps=False)
        if error.trial_every_s:
            turn.unsay()
        elif not unclear:
            turn.forgive()
        asked_s = min(getattr(error, "retry_after_s", None) or 0.0, ASKED_WAIT_MAX_S)
        least_s = QUOTA_WAIT_S if isinstance(error, QuotaExhausted) else RETRY_WAIT_S
        if error.trial_every_s and turn.order.needs_purchase:
            least_s = TRIAL_WAIT * error.trial_every_s
        wait_s = min(max(asked_s, least_s) * self._rng.uniform(0.5, 1.5), WAIT_MAX_S)
        note = error.message if error.tried else ""
        return await self.release(turn, note, wait_s, stamped_perhaps=unclear)

    async def store_trouble(self, turn: Turn, error: OSError) -> Outcome:
        """Put the order back in line, since its document can be read, or kept, by nobody now."""
        log.error("document store", why=str(error))
        turn.forgive()  # it is our fault, not the order's
        called = turn.meter.calls > turn.order.calls
        wait_s = (STAMPED_WAIT_S if called else STORE_WAIT_S) * self._rng.uniform(0.5, 1.5)
        return await self.release(turn, "the document store is not available", wait_s)

    async def let_go(self, turn: Turn) -> None:
        """Give up a claim that may still be ours: after a failover the record may be a few steps behind.

        Without this the order would wait until the claim is too old. Another worker's claim is not touched.
        """
        note, calls = "the record stands otherwise than its worker left it", turn.meter.calls
        release = functools.partial(self._store.release, stamped_perhaps=turn.sent)
        for step in (self._store.doubt, release):
            op = self.op()
            try:
                await self.record(lambda step=step, op=op: step(turn.order, op, note, calls))  # type: ignore[misc]
            except ClaimLost:
                continue
            return


def _is_away(error: Exception) -> bool:
    return isinstance(error, StoreUnavailable) and not isinstance(error, NewerLayout)
