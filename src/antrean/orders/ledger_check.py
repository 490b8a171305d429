"""Reads the whole book and compares: its entries with each other, with the totals, and with the totals of each day."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.books import EPOCH, PAID, PARTS, accounts_of, difference_idr
from antrean.orders.ledger import PAGE_MAX, Ledger
from antrean.orders.ledger_archive import LedgerDamaged, newest_of, sortable
from antrean.orders.ledger_trail import Trail
from antrean.orders.store import OrderStore

#: Most faults that are told one by one.
FAULTS_MAX = 1000


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that is wrong, and where: an entry with its order, an account, or a day with its office."""

    where: str
    what: str


@dataclass(slots=True)
class Check:
    """What came of it. `untold`: faults beyond FAULTS_MAX."""

    entries: int = 0
    faults: list[Fault] = field(default_factory=list)
    untold: int = 0

    def add(self, where: str, what: str) -> None:
        """One more fault."""
        if len(self.faults) < FAULTS_MAX:
            self.faults.append(Fault(where, what))
        else:
            self.untold += 1


async def check_ledger(store: OrderStore) -> Check:
    """Read every entry, while work goes on. Memory: see Trail.

    A part of the book that is lost is a fault, and the end of the reading. Raises StoreUnavailable.
    """
    reading = _Reading(store)
    try:
        await reading.run()
    except LedgerDamaged as error:
        reading.check.add("book", f"{error}. Nothing after it was compared, nor the totals")
    reading.check.entries = reading.trail.entries
    return reading.check


class _Reading:
    """One reading of the book."""

    def __init__(self, store: OrderStore) -> None:
        self._redis = store.scripts.redis
        self._books = Ledger(store)
        self.trail = Trail()
        self.check = Check()
        self._after: str | None = None

    async def run(self) -> None:
        """The whole comparison. Raises StoreUnavailable, LedgerDamaged."""
        totals, last = await self._with_last(keys.LEDGER_TOTALS)
        await self._read_to(last)
        noted = accounts_of(totals)
        for account in (PAID, *PARTS):
            self._compare(account, noted[account], self.trail.totals[account])
        if difference := difference_idr(noted):
            self.check.add("difference", f"paid is Rp {difference:,} more than the sum of its parts")
        if self.trail.days:
            await self._days(min(self.trail.days), max(self.trail.days))

    async def _days(self, first: date, newest: date) -> None:
        raw: dict[bytes, bytes] = await asked(self._redis.hgetall(keys.LEDGER_DAYS))
        before: dict[int, dict[str, dict[str, int]]] = {}
        for name, amount in raw.items():
            office, day, account = name.decode().rsplit("|", 2)
            before.setdefault(int(day), {}).setdefault(office, {})[account] = int(amount)
        for number in range((first - EPOCH).days, (newest - EPOCH).days + 1):
            # One at a time: all of a year in one answer would stop everybody else.
            moved, last = await self._with_last(f"{keys.LEDGER_DAY}{number}")
            await self._read_to(last)
            noted = before.get(number, {})
            for name, amount in moved.items():
                office, account = name.decode().rsplit("|", 1)
                of_office = noted.setdefault(office, {})
                of_office[account] = of_office.get(account, 0) + int(amount)
            if noted:
                self._compare_day(EPOCH + timedelta(days=number), noted)

    def _compare_day(self, day: date, noted: dict[str, dict[str, int]]) -> None:
        found = self.trail.days.pop(day, {})
        for office in sorted({*noted, *found}):
            for account in (PAID, *PARTS):
                there, summed = (each.get(office, {}).get(account, 0) for each in (noted, found))
                self._compare(f"{day} {office} {account}", there, summed)

    def _compare(self, where: str, noted: int, summed: int) -> None:
        if noted != summed:
            self.check.add(where, f"Rp {noted:,} by the totals, Rp {summed:,} by the entries")

    async def _with_last(self, name: str) -> tuple[dict[bytes, bytes], str | None]:
        """A hash of Redis, and the id of the last entry that had been written by that very moment."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.hgetall(name)
        pipe.xrevrange(keys.LEDGER, count=1)
        pipe.zrevrangebylex(keys.LEDGER_SEGMENTS, "+", "-", start=0, num=1)
        totals, recent, segments = await asked(pipe.execute())
        if recent:
            return totals, recent[0][0].decode()
        return totals, newest_of(segments[0].decode()) if segments else None

    async def _read_to(self, last: str | None) -> None:
        """Take in the entries up to that one. What was written later moved other totals than those at hand."""
        while last is not None and (self._after is None or sortable(self._after) < sortable(last)):
            page = await self._books.entries(self._after, PAGE_MAX)
            if not page:
                self.check.add(last, "the entry was there, and can not be read any more")
                return
            for entry in page:
                if sortable(entry.id) > sortable(last):
                    return
                for what in self.trail.take(entry):
                    self.check.add(f"{entry.id} {entry.order_id or '-'}", what)
                self._after = entry.id
