"""A book that is opened in a spreadsheet stays a book."""

from __future__ import annotations

import csv
from datetime import datetime

import pytest

from antrean.orders.books import Entry
from antrean.orders.ledger_csv import COLUMNS, Separator, header, row_line


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_could_be_a_formula_is_made_harmless(start: str) -> None:
    text = f'{start}HYPERLINK("https://example.com","x"),y'
    line = row_line(Entry("1-0", 0, "o", "MDN-01", "held", "refunded", 10_000, "SN", text))
    [row] = csv.reader([line])
    assert row[COLUMNS.index("reason")].startswith("'")
    assert "10000" in row


@pytest.mark.parametrize(
    ("at", "day"), [("2026-11-27T16:59:59.999", "2026-11-27"), ("2026-11-27T17:00:00.000", "2026-11-28")]
)
def test_the_last_column_is_the_day_in_jakarta(at: str, day: str) -> None:
    at_ms = int(datetime.fromisoformat(f"{at}+00:00").timestamp() * 1000)
    [row] = csv.reader([row_line(Entry("1-0", at_ms, "o", "MDN-01", "", "held", 10_000, "", ""))])
    assert (row[1], row[-1]) == (f"{at}+00:00", day)
    assert header().strip().split(",")[-1] == "day"


def test_for_excel_in_indonesia_cells_end_at_a_semicolon_and_the_file_says_that_it_is_utf_8() -> None:
    line = row_line(
        Entry("1-0", 0, "o", "MDN-01", "", "held", 10_000, "", "dua; tiga, é"), Separator.SEMICOLON
    )
    text = (header(Separator.SEMICOLON) + line).encode()
    assert text.startswith(b"\xef\xbb\xbfid;at;")
    [columns, row] = csv.reader(text.decode("utf-8-sig").splitlines(), delimiter=";")
    assert columns == list(COLUMNS)
    assert row[COLUMNS.index("reason")] == "dua; tiga, é"
    assert not header().startswith("\ufeff")
