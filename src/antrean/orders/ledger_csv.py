"""The ledger as CSV. A cell that a spreadsheet would run as a formula is made plain text (OWASP, CSV Injection)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from antrean.orders.books import Entry, Selection, entry_time, wib_day

COLUMNS = ("id", "at", "order_id", "office", "from", "to", "amount_idr", "serial_number", "reason", "day")
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(text: str) -> str:
    """`text`, with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) or text.startswith(_FORMULA) else text


def row_line(entry: Entry) -> str:
    """One entry as a line of CSV. `at` is UTC; `day` is the day of the books, Jakarta's."""
    return _line(
        [
            entry.id,
            entry_time(entry).isoformat(timespec="milliseconds"),
            entry.order_id,
            entry.office,
            entry.source or "citizen",
            entry.target,
            str(entry.amount_idr),
            entry.serial_number,
            entry.reason,
            wib_day(entry.at_ms).isoformat(),
        ]
    )


def lines(page: Iterable[Entry], wanted: Selection) -> str:
    """Those of a page that are wanted, as lines of CSV."""
    return "".join(row_line(entry) for entry in page if wanted.holds(entry))


def _line(cells: list[str]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([safe_cell(c) for c in cells])
    return buffer.getvalue()


HEADER = _line(list(COLUMNS))
