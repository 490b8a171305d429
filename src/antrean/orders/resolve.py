"""Settles orders of unknown outcome by asking the upstream, and takes in SNs that nobody recorded.

The account's SN list shows our order id in each SN's file name. Found: the order has its SN. Not found in a whole
list that was read after the settling time: not bought, unless the balance contradicts; then a person decides.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from antrean.orders import ids
from antrean.orders.account import POOLED
from antrean.orders.codes import Code
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.witness import Verdict, judge
from antrean.provider.errors import ProviderError, Rejected, Unavailable
from antrean.provider.protocol import Provider, SerialRecord

log = structlog.get_logger(__name__)

#: Rows asked for in one page, and most pages of one walk: a walk that ends for that reason proves no absence.
PAGE_SIZE = 100
PAGES_MAX = 400
#: Unknown orders known of, the oldest ones, and those of them judged in one step.
UNKNOWN_MAX = 10_000
JUDGED_MAX = 500
#: A walk reads on for so much longer, in ms, than the question is old: calls last, and ages are counted by our clock.
WALK_MARGIN_MS = 15 * 60 * 1000
#: Orphans are looked for among what was sold within this time, in ms.
ORPHANS_AGE_MS = 24 * 3600 * 1000
#: After a pause of ours longer than this, in seconds, what has become unknown meanwhile counts from now.
GAP_S = 30.0
#: Looks by which the balance must contradict the list before a person is called: what an upstream sold late shows in
#: the balance at once, and in the list by the next walk. Looks that must agree after one that did not, none between.
CONTRADICTIONS_MIN = 3
AGREEMENTS_MIN = 2
#: A verdict is put off, because other purchases are on their way, for the looks of one settling time and so many more:
#: what became unknown a moment before the first is settled by then. After a contradiction for this many times as long.
PUT_OFF_MORE = 2
PUT_OFF_IN_DOUBT = 2
#: Looks that failed (while the upstream takes calls) after which a person is called.
FAILED_LOOKS_MAX = 20
#: Seconds between two looks for SNs that nobody recorded when no outcome is unknown.
ORPHANS_EVERY_S = 300


@dataclass(slots=True)
class _Case:
    """One order of unknown outcome: since when by the server's clock, which may be set, and by ours (s).

    Ours is never set, and says no more than we have seen. `witnessed`: it became unknown while we looked on.
    """

    unknown_ms: int
    since_s: float
    witnessed: bool
    #: Looks since it settled: what the balance said last, and how often it did; `agreed` since a contradiction.
    last: Verdict = Verdict.SILENT
    unsaid: int = 0
    contradicted: int = 0
    agreed: int = 0
    #: Stamps without a name when it was last contradicted.
    gone: int | None = None

    def note(self, verdict: Verdict, unnamed: int | None) -> None:
        """One look more at an order that the list does not show."""
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


@dataclass(slots=True)
class Walk:
    """What one reading of the account's list has shown. `complete`: it reached far enough back to prove absence."""

    files: dict[str, str] = field(default_factory=dict)
    #: Orders whose SN our books give to another order, as after an answer that was another call's.
    taken_by_others: set[str] = field(default_factory=set)
    #: SNs that went to their order or to the pool.
    taken: int = 0
    #: SNs of ours that were stamped for orders which our books do not have, as after a restored backup.
    strange: int = 0
    #: SNs of orders that a worker has, or had and nobody has taken from it yet: to be taken in by a later walk.
    busy: int = 0
    rows: int = 0
    complete: bool = False


class Resolver:
    """One step asks about every unknown order that is due. `settle_s`: how long the list may lag, in seconds.

    `monotonic_s`: seconds by a clock that nobody sets.
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
        #: When we looked, asked, and last had the whole list read, in seconds by our clock.
        self._looked_s = self._asked_s = -math.inf
        self._orphans_s: float | None = None
        self._failed_looks = 0

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
        age_ms = max(
            (self._age_ms(case, now_ms, now_s) for case in self._cases.values()), default=ORPHANS_AGE_MS
        )
        try:
            walk = await self.walk(age_ms)
            self._orphans_s = now_s
            await self._judge(walk, max(situation.unknown - UNKNOWN_MAX, 0))
        except ProviderError as error:
            if not (isinstance(error, Unavailable) and error.refused_by_breaker):
                await self._look_failed(error)
            raise
        self._failed_looks = 0
        return False

    async def _judge(self, walk: Walk, beyond: int) -> None:
        """`beyond`: unknown orders that we do not know by name; they are asked about later, and explain nothing."""
        settled = [
            (o, case) for o, case in self._cases.items() if o not in walk.files and self._settled(case)
        ]
        gone: tuple[int | None, int] | None = None
        for order_id, case in settled[:JUDGED_MAX]:
            if order_id in walk.taken_by_others:
                await self._escalate(
                    order_id, case, "its serial number stands in our books with another order"
                )
            elif not walk.complete:
                evidence = f"the account's list was too long to read to its end ({walk.rows} rows)"
                await self._escalate(order_id, case, evidence)
            else:
                # One look for all of them: it says of all together how many may have been bought.
                gone = gone or await self._stamps_without_name(beyond)
                await self._not_listed(order_id, case, walk, *gone)

    def _settled(self, case: _Case) -> bool:
        """Unknown for so long, when the list was asked for, that it must have shown what was sold."""
        return self._asked_s - case.since_s >= self._settle_s

    def _case(self, order_id: str, unknown_ms: int, now_ms: int, seen_s: float) -> _Case:
        """`unknown_ms`: since when, by the server's clock; `seen_s`: for how long we have looked on."""
        case = self._cases.get(order_id)
        if case is not None and case.unknown_ms == unknown_ms:
            return case
        age_s = min(max(now_ms - unknown_ms, 0) / 1000, seen_s)
        return _Case(unknown_ms, self._looked_s - age_s, witnessed=seen_s > 0)

    @staticmethod
    def _age_ms(case: _Case, now_ms: int, now_s: float) -> int:
        """How far back its SN may stand: by the clock that says more, and a day where we did not look on."""
        ours_ms = int((now_s - case.since_s) * 1000)
        return max(now_ms - case.unknown_ms, ours_ms, 0 if case.witnessed else ORPHANS_AGE_MS)

    async def walk(self, age_ms: int | None) -> Walk:
        """Read the list, newest first; take in every SN of ours that nobody has recorded.

        It ends at what was sold `age_ms` before the newest, and a margin; None: at the list's end. Only times of the
        upstream are compared with each other, so that it does not matter how far its clock is from ours.

        Pages count from 1 or from 0 (assumed: sources differ), so a page 0 is asked for last: where pages count from
        1 it shows nothing new, or is refused.
        """
        walk = Walk()
        seen: set[str] = set()
        newest_ms: int | None = None
        for page in range(1, PAGES_MAX + 1):
            answer = await self._provider.serial_page(page, PAGE_SIZE)
            fresh = [r for r in answer.records if r.serial_number not in seen]
            seen.update(r.serial_number for r in fresh)
            walk.rows += len(fresh)
            await self._take_in(fresh, walk)
            times = [t for r in fresh if (t := _time_ms(r.updated_at)) is not None]
            if newest_ms is None and times:
                newest_ms = max(times)
            dated = bool(times) and len(times) == len(fresh)
            if answer.last or not fresh or (dated and _is_past(max(times), newest_ms, age_ms)):
                walk.complete = True
                break
        if walk.complete:
            await self._page_zero(seen, walk)
        return walk

    async def _page_zero(self, seen: set[str], walk: Walk) -> None:
        try:
            answer = await self._provider.serial_page(0, PAGE_SIZE)
        except Unavailable as error:
            if error.refused_by_breaker:
                raise
            return
        except Rejected:
            return
        fresh = [r for r in answer.records if r.serial_number not in seen]
        walk.rows += len(fresh)
        await self._take_in(fresh, walk)

    async def _take_in(self, rows: list[SerialRecord], walk: Walk) -> None:
        ours = {r.serial_number: r for r in rows if order_id_of(r.file)}
        holders = await self._store.account.holders(list(ours))
        for serial, row in ours.items():
            order_id = order_id_of(row.file)
            assert order_id is not None
            holder = holders.get(serial)
            # One in the pool may be what an order in doubt has waited for: it came while a later try was under way.
            if holder is None or (holder == POOLED and order_id in self._cases):
                used = row.status != "NOTSTAMP" and order_id not in self._cases
                code = await self._store.found(
                    order_id, serial, "found on the account's list", walk=True, used=used
                )
                if code in (Code.OK, Code.POOL_EMPTY):
                    log.warning(
                        "SN found on the account",
                        order_id=order_id,
                        serial_number=serial,
                        pooled=code != Code.OK,
                    )
                if code == Code.OK:
                    self._cases.pop(order_id, None)
                walk.taken += code in (Code.OK, Code.POOL_EMPTY)
                walk.strange += code == Code.MISSING
                walk.busy += code == Code.STATE
            if holder in (None, POOLED, order_id):
                walk.files[order_id] = serial
            else:
                walk.taken_by_others.add(order_id)

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
            await self._escalate(order_id, case, evidence)
            return
        note = f"not on the account's list ({walk.rows} rows read): not bought"
        if await self._store.absent(order_id, case.unknown_ms, note) == Code.OK:
            log.info("provably not bought", order_id=order_id, rows=walk.rows)
        self._cases.pop(order_id, None)

    async def _stamps_without_name(self, beyond: int) -> tuple[int | None, int]:
        """Stamps gone that no purchase of our books names, and how many of them may be on their way there.

        The books are read before the balance: one that gets its name in between must not cover for another that has
        none. What was sold before the balance was read and had no name is being bought or of unknown outcome when the
        look ends, or got its name during it. Orders whose time to settle is over explain nothing: it is they who are
        asked about.
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

    async def _escalate(self, order_id: str, case: _Case, evidence: str) -> None:
        code = await self._store.escalate(order_id, case.unknown_ms, "outcome-unknown", evidence)
        if code == Code.OK:
            log.error("a person must decide", order_id=order_id, evidence=evidence)
        self._cases.pop(order_id, None)


def order_id_of(file: str | None) -> str | None:
    """Our order id in an SN's file name, or None where the SN is not of our making."""
    stem = (file or "").rsplit("/", 1)[-1].removesuffix(".pdf")
    return stem if ids.is_id(stem) else None


def _is_past(at_ms: int, newest_ms: int | None, age_ms: int | None) -> bool:
    return newest_ms is not None and age_ms is not None and at_ms < newest_ms - age_ms - WALK_MARGIN_MS


def _time_ms(text: str | None) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)
