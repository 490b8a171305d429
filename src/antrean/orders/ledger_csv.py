"""The ledger as CSV. A cell that a spreadsheet would run as a formula is made plain text (OWASP, CSV Injection).

Excel splits a file at what the settings of its country call the list separator. Indonesia's is the semicolon, since the
comma is the decimal sign there: a file with commas opens as one column.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from enum import StrEnum

from antrean.orders.books import Entry, Selection, entry_time, wib_day

COLUMNS = ("id", "at", "order_id", "office", "from", "to", "amount_idr", "serial_number", "reason", "day")


class Separator(StrEnum):
    """What stands between two cells."""

    COMMA = "comma"
    SEMICOLON = "semicolon"


_SIGNS = {Separator.COMMA: ",", Separator.SEMICOLON: ";"}
#: Without it Excel takes UTF-8 for the old code page of its country.
_BYTE_ORDER_MARK = "\ufeff"
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def safe_cell(text: str) -> str:
    """`text`, with an apostrophe in front where a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA) or text.startswith(_FORMULA) else text


def header(separator: Separator = Separator.COMMA) -> str:
    """The first line. What is meant for Excel begins with a byte order mark."""
    mark = _BYTE_ORDER_MARK if separator is Separator.SEMICOLON else ""
    return mark + _line(COLUMNS, separator)


def row_line(entry: Entry, separator: Separator = Separator.COMMA) -> str:
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
        ],
        separator,
    )


def lines(page: Iterable[Entry], wanted: Selection, separator: Separator = Separator.COMMA) -> str:
    """Those of a page that are wanted, as lines of CSV."""
    return "".join(row_line(entry, separator) for entry in page if wanted.holds(entry))


def _line(cells: Sequence[str], separator: Separator) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=_SIGNS[separator]).writerow([safe_cell(c) for c in cells])
    return buffer.getvalue()
