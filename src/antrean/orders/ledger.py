"""The ledger: where every citizen's rupiah is. Append-only; each entry is written with the state that it records.

What the accounts and entries are stands in `books.py`; here they are read, a page at a time.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from redis.asyncio.client import Pipeline

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.books import EPOCH, PAID, PARTS, Entry, accounts_of, before_day, wib_day
from antrean.orders.codes import Code
from antrean.orders.ledger_archive import SEGMENT_ENTRIES, LedgerArchive, Row, sortable
from antrean.orders.model import IllegalMove, StoreUnavailable
from antrean.orders.states import State
from antrean.orders.store import OrderStore

#: Days whose totals are told, and most amounts in them; the latest is told whole.
DAYS_MAX = 31
DAYS_FIELDS_MAX = 40_000
#: Most entries read in one go, and segments of the archive that they are looked for in.
PAGE_MAX = SEGMENT_ENTRIES
SEGMENTS_MAX = 2


@dataclass(frozen=True, slots=True)
class DayTotals:
    """What moved for one office on one day (Jakarta time): net change of each account, in rupiah."""

    office: str
    day: date
    totals_idr: dict[str, int]


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the book, with the totals, in rupiah, of the very moment at which it was read."""

    totals_idr: dict[str, int]
    days: list[DayTotals]
    entries: list[Entry]


class Ledger:
    """Reads the books. Every method raises StoreUnavailable when Redis does not answer."""

    def __init__(self, store: OrderStore) -> None:
        self._store = store
        self._redis = store.scripts.redis
        self._archive = LedgerArchive(store.archive.objects) if store.archive else None

    async def totals(self) -> dict[str, int]:
        """Rupiah in each account, and paid."""
        return accounts_of(await asked(self._redis.hgetall(keys.LEDGER_TOTALS)))

    async def page(self, after: str | None, limit: int, until: date | None) -> Page:
        """Totals, entries as from `entries` and, where none went before, days as from `days`: all of one moment."""
        limit = min(limit, PAGE_MAX)
        shown = [] if after else await self._days_shown(until)
        pipe = self._redis.pipeline(transaction=True)
        pipe.hgetall(keys.LEDGER_TOTALS)
        _ask_for_entries(pipe, after, limit)
        _ask_for_days(pipe, shown)
        totals, names, recent, *days = await asked(pipe.execute())
        entries = await self._entries(names, recent, after, limit)
        return Page(accounts_of(totals), _day_totals(shown, days), entries)

    async def entries(self, after: str | None, limit: int) -> list[Entry]:
        """Entries in the order in which they were written, those after the entry id `after`, archived or not."""
        limit = min(limit, PAGE_MAX)
        pipe = self._redis.pipeline(transaction=True)
        _ask_for_entries(pipe, after, limit)
        names, recent = await asked(pipe.execute())
        return await self._entries(names, recent, after, limit)

    async def _entries(
        self, names: list[bytes], recent: list[Row], after: str | None, limit: int
    ) -> list[Entry]:
        passed = sortable(after) if after else ""
        rows: list[Row] = []
        for name in names:
            if len(rows) < limit:
                segment = await self._segment(name.decode())
                rows += [r for r in segment if sortable(r[0].decode()) > passed]
        if len(names) < SEGMENTS_MAX:
            rows += recent
        return [_entry(entry_id.decode(), fields) for entry_id, fields in rows[:limit]]

    async def _segment(self, name: str) -> list[Row]:
        if self._archive is None:
            raise StoreUnavailable("older entries of the ledger are in the archive, and there is none here")
        return await self._archive.read(name)

    async def pages(self, first: date | None = None) -> AsyncIterator[list[Entry]]:
        """The whole book, page by page; none is empty. `first`: what is older than that day may be passed over."""
        after = before_day(first) if first else None
        while page := await self.entries(after, PAGE_MAX):
            yield page
            after = page[-1].id

    async def all_entries(self) -> AsyncIterator[Entry]:
        """The whole book, read page by page."""
        async for page in self.pages():
            for entry in page:
                yield entry

    async def days(self, until: date | None = None) -> list[DayTotals]:
        """Totals for each office and day, oldest first: DAYS_MAX days up to `until`, today if not given.

        Fewer where those hold too much; the rest is asked for with the day before the oldest.
        """
        shown = await self._days_shown(until)
        pipe = self._redis.pipeline(transaction=False)
        _ask_for_days(pipe, shown)
        return _day_totals(shown, await asked(pipe.execute()))

    async def _days_shown(self, until: date | None) -> list[int]:
        """Numbers of the days that one answer bears, the newest first."""
        if until is None:
            until = wib_day((await self._store.situation()).now_ms)
        newest = (until - EPOCH).days
        wanted = range(newest, newest - DAYS_MAX, -1)
        pipe = self._redis.pipeline(transaction=False)
        for day in wanted:
            pipe.hlen(f"{keys.LEDGER_DAY}{day}")
        sizes = itertools.accumulate(await asked(pipe.execute()))
        return [
            day for day, size in zip(wanted, sizes, strict=True) if size <= DAYS_FIELDS_MAX or day == newest
        ]

    async def refund(self, order_id: str, note: str) -> str:
        """Record that the money was given back; answers the account it came from. Raises IllegalMove."""
        answer = await asked(self._store.scripts.run("refund", order_id, note))
        if answer[0] == Code.REFUNDED or (answer[0] == Code.MISSING and await self._refunded(order_id)):
            raise IllegalMove("the money was given back before", None)
        if answer[0] == Code.SERIAL_TAKEN:
            raise IllegalMove("its serial number is used by another order", None)
        if answer[0] != Code.OK:
            raise IllegalMove(
                "only an order that was refused, or waits for a person, and was paid here can be refunded: "
                "a withdrawn one was booked as paid back then, one with its own serial number paid nothing",
                None,
            )
        return str(answer[1].decode())

    async def _refunded(self, order_id: str) -> bool:
        """Of an archived order: a refused one stays in Redis until its money was given back, if it paid here."""
        order = await self._store.get(order_id)
        return order is not None and order.state is State.REJECTED and not order.serial_given


def _ask_for_entries(pipe: Pipeline, after: str | None, limit: int) -> None:
    # "~" stands behind every character of a name. Two whole segments hold more than is asked for.
    beyond = f"({sortable(after)}~" if after else "-"
    pipe.zrangebylex(keys.LEDGER_SEGMENTS, beyond, "+", start=0, num=SEGMENTS_MAX)
    pipe.xrange(keys.LEDGER, f"({after}" if after else "-", "+", count=limit)


def _ask_for_days(pipe: Pipeline, days: Sequence[int]) -> None:
    for day in days:
        pipe.hgetall(f"{keys.LEDGER_DAY}{day}")
    if days:
        pipe.hgetall(keys.LEDGER_DAYS)


def _day_totals(days: Sequence[int], answers: Sequence[Any]) -> list[DayTotals]:
    """Of the answers to `_ask_for_days`."""
    found: dict[tuple[int, str], dict[str, int]] = defaultdict(lambda: dict.fromkeys((PAID, *PARTS), 0))
    if days:
        *each, before = answers
        for day, raw in zip(days, each, strict=True):
            for name, amount in raw.items():
                office, account = name.decode().rsplit("|", 1)
                found[day, office][account] += int(amount)
        for name, amount in before.items():
            office, day_then, account = name.decode().rsplit("|", 2)
            if int(day_then) in days:
                found[int(day_then), office][account] += int(amount)
    return [
        DayTotals(office, EPOCH + timedelta(days=day), totals)
        for (day, office), totals in sorted(found.items())
    ]


def _entry(entry_id: str, fields: dict[bytes, bytes]) -> Entry:
    text = {k.decode(): v.decode() for k, v in fields.items()}
    return Entry(
        id=entry_id,
        at_ms=int(text["at"]),
        order_id=text["order"],
        office=text["office"],
        source=text["from"],
        target=text["to"],
        amount_idr=int(text["idr"]),
        serial_number=text["sn"],
        reason=text["reason"],
    )
