"""Settles orders of unknown outcome by asking the upstream, and takes in SNs that nobody recorded.

The account's SN list shows our order id in each SN's file name. Found: the order has its SN. Not found in a whole list
that was read after the settling time: nothing was bought. If the balance contradicts that, a person decides, and
purchases stop.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from antrean.orders.codes import Code
from antrean.orders.holding import BALANCE, QUOTA
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.walk import Walk, Walker
from antrean.orders.witness import Verdict, judge, unexplained
from antrean.provider.errors import ProviderError, Unavailable
from antrean.provider.protocol import Provider

log = structlog.get_logger(__name__)

#: Most unknown orders that one step looks at, the oldest first, and most of them that it judges.
UNKNOWN_MAX = 10_000
JUDGED_MAX = 500
#: A walk reads this much further back than the question is old, in ms: calls take time, and our clock counts the age.
WALK_MARGIN_MS = 15 * 60 * 1000
#: The same for an order that became unknown while no resolver was watching: only the server's clock tells its age, and
#: that may have been set. A day is read for it; this much is enough where a day's list is too long to read.
UNWITNESSED_MARGIN_MS = 3600 * 1000
#: SNs that nobody recorded (orphans) are looked for among those sold within this time, in ms.
ORPHANS_AGE_MS = 24 * 3600 * 1000
#: After a pause of ours longer than this, in seconds, the settling time of what became unknown meanwhile starts now.
GAP_S = 30.0
#: How many looks must find the balance contradicting the list before a person is called: a late sale shows in the
#: balance at once, and in the list only at the next walk. And how many looks in a row must agree after one that did
#: not.
CONTRADICTIONS_MIN = 3
AGREEMENTS_MIN = 2
#: While other purchases are on their way a verdict is put off, for as many looks as fit into one settling time and this
#: many more: what became unknown a moment before the first look is settled by then. After a contradiction it is put off
#: PUT_OFF_IN_DOUBT times as long.
PUT_OFF_MORE = 2
PUT_OFF_IN_DOUBT = 2
#: After this many failed looks in a row, while the upstream takes calls, a person is called.
FAILED_LOOKS_MAX = 20
#: Seconds between two looks for SNs that nobody recorded when no outcome is unknown.
ORPHANS_EVERY_S = 300


@dataclass(slots=True)
class _Case:
    """One order of unknown outcome.

    `unknown_ms`: since when, by the server's clock, which may be set. `since_s`: since when, by our clock, which nobody
    sets, but which counts only what we have watched. `witnessed`: the order became unknown while we were watching.
    """

    unknown_ms: int
    since_s: float
    witnessed: bool
    #: For how many seconds since then the list could not be read.
    away_s: float = 0.0
    #: Of the looks since the settling time was over: the last verdict, and how many there were of each kind. `agreed`
    #: counts from the last contradiction.
    last: Verdict = Verdict.SILENT
    unsaid: int = 0
    contradicted: int = 0
    agreed: int = 0
    #: Stamps without a name when it was last contradicted.
    gone: int | None = None

    def note(self, verdict: Verdict, unnamed: int | None) -> None:
        """Count one more look at an order that the list does not show."""
        self.last = verdict
        if verdict is Verdict.CONTRADICTS:
            self.contradicted += 1
            self.agreed, self.gone = 0, unnamed
        elif verdict is Verdict.AGREES:
            self.agreed += 1
        else:
            self.unsaid += 1

    def decided(self, put_off_max: int) -> bool | None:
        """True: not bought. False: a person decides. None: look again."""
        if not self.contradicted:
            # Where the balance says nothing the list alone counts, and after a while of traffic as well.
            return True if self.last is not Verdict.LATER or self.unsaid > put_off_max else None
        if self.agreed >= AGREEMENTS_MIN:
            return True
        is_over = self.contradicted >= CONTRADICTIONS_MIN or self.unsaid > PUT_OFF_IN_DOUBT * put_off_max
        return False if is_over else None


class Resolver:
    """One step asks about every unknown order that is due. `settle_s`: how long the list may lag, in seconds.

    `monotonic_s`: a clock that nobody sets, in seconds.
    """

    def __init__(
        self,
        store: OrderStore,
        provider: Provider,
        settle_s: float,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._provider = provider
        self._monotonic_s = monotonic_s
        self._settle_s = settle_s
        self._ask_every_s = min(max(settle_s / 8, 1.0), 15.0)
        self._put_off_max = math.ceil(settle_s / self._ask_every_s) + PUT_OFF_MORE
        self._cases: dict[str, _Case] = {}
        #: When we last looked, last asked upstream, and last read the whole list, in seconds by our clock.
        self._looked_s = self._asked_s = -math.inf
        self._orphans_s: float | None = None
        self._failed_looks = 0
        self._walker = Walker(store, provider)
        #: Since when the list can not be read, in seconds by our clock.
        self._away_s: float | None = None

    def lead_again(self) -> None:
        """Forget what we saw if others may have led since: they may have seen the list unreadable meanwhile."""
        if self._monotonic_s() - self._looked_s > GAP_S:
            self._cases, self._away_s = {}, None

    async def run_once(self) -> bool:
        """One step. Raises StoreUnavailable, and ProviderError where the upstream cannot be asked."""
        unknowns = await self._store.unknowns(UNKNOWN_MAX)
        situation = await self._store.situation()
        now_ms, now_s = situation.now_ms, self._monotonic_s()
        gap_s, self._looked_s = now_s - self._looked_s, now_s
        seen_s = gap_s if gap_s <= GAP_S else 0.0
        self._cases = {oid: self._case(oid, since, now_ms, seen_s) for oid, since in unknowns}
        if self._orphans_s is None:
            self._orphans_s = now_s
        orphans_due = now_s - self._orphans_s >= ORPHANS_EVERY_S
        if not (unknowns or orphans_due) or now_s - self._asked_s < self._ask_every_s:
            return False
        self._asked_s = now_s
        back_ms = max((self._back_ms(case, now_ms) for case in self._cases.values()), default=ORPHANS_AGE_MS)
        try:
            walk = await self._look_at_list(back_ms, now_s)
            await self._judge(walk, now_ms, max(situation.unknown - UNKNOWN_MAX, 0))
        except ProviderError as error:
            if error.tried:
                await self._look_failed(error)
            raise
        self._failed_looks = 0
        return False

    async def _look_at_list(self, back_ms: int, now_s: float) -> Walk:
        """Read the list. Time for which it could not be read does not count as settling time: when the upstream is
        back, the list may lag as much as ever."""
        try:
            walk = await self.walk(back_ms)
        except ProviderError:
            self._away_s = now_s if self._away_s is None else self._away_s
            raise
        self._orphans_s = now_s
        if self._away_s is not None:
            for case in self._cases.values():
                case.away_s = min(case.away_s + now_s - self._away_s, now_s - case.since_s)
            self._away_s = None
        return walk

    async def _judge(self, walk: Walk, now_ms: int, beyond: int) -> None:
        """Decide what can be decided. `beyond`: unknown orders that this step did not look at; they explain nothing."""
        settled = [
            (o, case) for o, case in self._cases.items() if o not in walk.files and self._settled(case)
        ]
        if settled and not walk.rows and (await self._store.account.read()).bought:
            raise Unavailable("the account's list is empty, though serial numbers were bought", sent=True)
        gone: tuple[int | None, int] | None = None
        for order_id, case in settled[:JUDGED_MAX]:
            if order_id in walk.taken_by_others:
                await self._escalate(
                    order_id, case, "its serial number stands in our books with another order"
                )
            elif not (walk.complete or walk.reach_ms > self._least_back_ms(case, now_ms)):
                evidence = f"the account's list was too long to read to its end ({walk.rows} rows)"
                await self._escalate(order_id, case, evidence)
            else:
                # One look at the balance for all of them: it only tells how many stamps are gone in total.
                gone = gone or await self._stamps_without_name(beyond)
                await self._not_listed(order_id, case, walk, *gone)

    def _settled(self, case: _Case) -> bool:
        """Whether it was unknown for so long, when the list was asked for, that a sale must have shown there."""
        return self._asked_s - case.since_s - case.away_s >= self._settle_s

    def _case(self, order_id: str, unknown_ms: int, now_ms: int, seen_s: float) -> _Case:
        """The case of an order. `unknown_ms`: since when, by the server's clock; `seen_s`: how long we have watched."""
        case = self._cases.get(order_id)
        if case is not None and case.unknown_ms == unknown_ms:
            return case
        age_s = min(max(now_ms - unknown_ms, 0) / 1000, seen_s)
        return _Case(unknown_ms, self._looked_s - age_s, witnessed=seen_s > 0)

    def _least_back_ms(self, case: _Case, now_ms: int) -> int:
        """How far back a walk must reach to have passed its SN, in ms, by whichever clock says more."""
        ours_ms = int((self._asked_s - case.since_s) * 1000)
        margin_ms = WALK_MARGIN_MS if case.witnessed else UNWITNESSED_MARGIN_MS
        return max(now_ms - case.unknown_ms, ours_ms) + margin_ms

    def _back_ms(self, case: _Case, now_ms: int) -> int:
        """How far back to read for it, in ms: a day, once it is to be judged and nobody was watching."""
        least_ms = self._least_back_ms(case, now_ms)
        return max(least_ms, ORPHANS_AGE_MS) if self._settled(case) and not case.witnessed else least_ms

    async def walk(self, back_ms: int | None) -> Walk:
        """Read the account's list back to `back_ms`, or to its end with None, and take in what nobody has recorded."""
        in_doubt = set(self._cases)
        try:
            return await self._walker.walk(back_ms, in_doubt)
        finally:
            self._cases = {o: case for o, case in self._cases.items() if o in in_doubt}

    async def _not_listed(
        self, order_id: str, case: _Case, walk: Walk, unnamed: int | None, on_the_way: int
    ) -> None:
        case.note(judge(unnamed, on_the_way), unnamed)
        not_bought = case.decided(self._put_off_max)
        if not_bought is None:
            return
        if not not_bought:
            evidence = f"not on the account's list, but {case.gone} stamps left the balance that no purchase explains"
            if case.last is Verdict.SILENT:
                evidence += "; a top-up since then hides whether one does by now"
            if await self._escalate(order_id, case, evidence) and case.last is Verdict.CONTRADICTS:
                await self._stop_purchases((unnamed or 0) - on_the_way, walk.strange)
            return
        note = f"not on the account's list ({walk.rows} rows read): not bought"
        if await self._store.absent(order_id, case.unknown_ms, note) == Code.OK:
            log.info("provably not bought", order_id=order_id, rows=walk.rows)
        self._cases.pop(order_id, None)

    async def _stop_purchases(self, drop: int, strange: int) -> None:
        """What calls a person stops purchases too: the balance watch would see the drop at its own next looks only.

        It lifts the hold once the drop is explained. A used-up quota stops them already, and says why.
        """
        if QUOTA in (await self._store.situation()).holds:
            return
        if await self._store.hold(BALANCE, unexplained(drop, strange), "balance watch"):
            log.error("balance unexplained", stamps=drop)

    async def _stamps_without_name(self, beyond: int) -> tuple[int | None, int]:
        """How many stamps are gone that our books do not name, and how many purchases on their way may explain them.

        The books are read before the balance: a purchase that is booked in between must not cover for another that
        never will be. Whatever was sold before the balance was read and is not in the books is still being bought or
        unknown when this look ends, or was booked during it. Orders whose settling time is over explain nothing: they
        are the question.
        """
        books = await self._store.account.read()
        balance = await self._provider.balance()
        now = await self._store.situation()
        named = (await self._store.account.read()).bought - books.bought
        fresh = sum(not self._settled(case) for case in self._cases.values())
        newer = max(now.unknown - len(self._cases) - beyond, 0)
        return books.unnamed(balance), now.by_state[State.BUYING] + fresh + newer + named

    async def _look_failed(self, error: ProviderError) -> None:
        self._failed_looks += 1
        if self._failed_looks < FAILED_LOOKS_MAX:
            return
        for order_id, case in list(self._cases.items()):
            if self._asked_s - case.since_s >= 3 * self._settle_s:
                await self._escalate(
                    order_id, case, f"the account's list or balance cannot be read: {error.message}"
                )

    async def _escalate(self, order_id: str, case: _Case, evidence: str) -> bool:
        """Whether a person was called; False where it was settled meanwhile."""
        code = await self._store.escalate(order_id, case.unknown_ms, "outcome-unknown", evidence)
        if code == Code.OK:
            log.error("a person must decide", order_id=order_id, evidence=evidence)
        self._cases.pop(order_id, None)
        return code == Code.OK
