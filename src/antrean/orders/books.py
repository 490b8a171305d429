"""The words of the books: accounts, entries, days. Pure; `ledger.py` reads them from Redis, the scripts write them.

    paid ──▶ held ──▶ bought_unused ──▶ stamped
               └──────────┴──▶ refunded

paid = stamped + bought_unused + refunded + held, at every moment, in total and for each office and day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone

#: What one stamp costs the citizen, and so what every entry moves, in rupiah.
AMOUNT_IDR = 10_000
#: The accounts that a citizen's payment can be in, and the sum of all payments.
PARTS = ("stamped", "bought_unused", "refunded", "held")
PAID = "paid"
#: Jakarta: the books, and the ticket numbers, turn over at midnight there.
WIB = timezone(timedelta(hours=7))
WIB_MS = 7 * 3600 * 1000
EPOCH = date(1970, 1, 1)
#: How much later than its id an entry may be dated, in ms: far more than a script ever takes.
ID_MARGIN_MS = 3600 * 1000
#: Stands in the reason of an exchange before the SN that was replaced.
IN_PLACE_OF = ", in place of "


@dataclass(frozen=True, slots=True)
class Entry:
    """One movement of money, in rupiah. `source` is empty where a citizen paid."""

    id: str
    at_ms: int
    order_id: str
    office: str
    source: str
    target: str
    amount_idr: int
    serial_number: str
    reason: str

    @property
    def replaced(self) -> str:
        """The SN that this entry's SN replaces, as take_serial in _common.lua writes it; '' where there is none."""
        return self.reason.rpartition(IN_PLACE_OF)[2] if self.source == self.target else ""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which entries are wanted: of one office, from a day and to a day of the books (Jakarta's); None: of all."""

    office: str | None = None
    first: date | None = None
    last: date | None = None

    def holds(self, entry: Entry) -> bool:
        """Whether it is wanted."""
        if self.office not in (None, entry.office):
            return False
        day = wib_day(entry.at_ms)
        return (self.first is None or self.first <= day) and (self.last is None or day <= self.last)


def difference_idr(totals: Mapping[str, int]) -> int:
    """Rupiah paid less the sum of its parts: 0 while the books add up."""
    return totals[PAID] - sum(totals[part] for part in PARTS)


def accounts_of(raw: Mapping[bytes, bytes]) -> dict[str, int]:
    """Rupiah in each account, and paid, of a hash of Redis."""
    found = {k.decode(): int(v) for k, v in raw.items()}
    return {account: found.get(account, 0) for account in (PAID, *PARTS)}


def entry_time(entry: Entry) -> datetime:
    """When the entry was written."""
    return datetime.fromtimestamp(entry.at_ms / 1000, UTC)


def wib_day(at_ms: int) -> date:
    """The day of the books in which this moment is: Jakarta's."""
    return datetime.fromtimestamp(at_ms / 1000, WIB).date()


def before_day(day: date) -> str | None:
    """An entry's id that stands before all entries of this day, and as close as is safe; None: none may be passed over.

    An id begins with the server's time in ms when the entry was written, or with that of the entry before it where the
    clock was set back. So an entry is never dated later than its id says, but for the moments that a script takes.
    """
    begin_ms = (day - EPOCH) // timedelta(milliseconds=1) - WIB_MS - ID_MARGIN_MS
    return f"{begin_ms}-0" if begin_ms > 0 else None


def lua_names() -> dict[str, str]:
    """What the scripts need of it, as they write it (`BOOK.AMOUNT_IDR`), and what stands for each."""
    values = {"AMOUNT_IDR": str(AMOUNT_IDR), "IN_PLACE_OF": f"'{IN_PLACE_OF}'", "WIB_MS": str(WIB_MS)}
    return {f"BOOK.{name}": value for name, value in values.items()}
