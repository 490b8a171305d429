"""A book that is opened in a spreadsheet stays a book."""

from __future__ import annotations

import csv

import pytest

from antrean.orders.ledger import Entry
from antrean.orders.ledger_csv import row_line


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_a_cell_that_could_be_a_formula_is_made_harmless(start: str) -> None:
    text = f'{start}HYPERLINK("https://example.com","x"),y'
    line = row_line(Entry("1-0", 0, "o", "MDN-01", "held", "refunded", 10_000, "SN", text))
    [row] = csv.reader([line])
    assert row[-1].startswith("'")
    assert "10000" in row
