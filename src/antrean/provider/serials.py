"""Reads what the upstream says about serial numbers and the balance; its shapes vary, so this is tolerant.

An absent list means "none". A list that is there but can not be read is an outage and never "none", because the
resolver would take that for "not bought".
"""

from __future__ import annotations

import re
from typing import Any, Literal

from antrean.provider.errors import Unavailable
from antrean.provider.protocol import SerialPage, SerialRecord

#: A serial number as seen (22 capitals and digits), with room for other lengths.
SERIAL = re.compile(r"[A-Za-z0-9]{8,64}")
#: A count as text: plain, or with points (Indonesian) or commas (English) between thousands; with zeros as decimals.
_COUNT = re.compile(
    r"\s*(-?(?:\d{1,15}|\d{1,3}(?:\.\d{3}){1,4}|\d{1,3}(?:,\d{3}){1,4}))(?:[.,]0{1,2})?\s*", re.ASCII
)


class BalanceUnreadable(Unavailable):
    """The upstream answered, and not with a balance in a form that we know: it will not do so by itself later."""


def is_serial(value: object) -> bool:
    """Whether `value` has the form of a serial number."""
    return isinstance(value, str) and SERIAL.fullmatch(value) is not None


def read_rows(answer: dict[str, Any]) -> list[SerialRecord]:
    """The records under `result` (a list, or an object with `data`). Raises Unavailable."""
    result = answer.get("result")
    if isinstance(result, dict):
        if "data" not in result and result.get("total") == 0:
            return []
        result = [result] if "serialnumber" in result else result.get("data")
    if isinstance(result, str):
        return []
    if not isinstance(result, list):
        raise Unavailable("the upstream's list of serial numbers can not be read", sent=True)
    return [_record(row) for row in result]


def read_status(answer: dict[str, Any], serial_number: str) -> SerialRecord | None:
    """The record of `serial_number`, whatever its case; None where the upstream knows none. Raises Unavailable."""
    for record in read_rows(answer):
        if record.serial_number.upper() == serial_number.upper():
            return record
    return None


def read_page(answer: dict[str, Any]) -> SerialPage:
    """A page of the account's list. Raises Unavailable.

    Only an empty page is taken for the end. An upstream that caps the page size sends short pages before the end, and a
    reader that stops at one might miss a purchase.
    """
    records = tuple(read_rows(answer))
    return SerialPage(records=records, last=not records)


def read_balance(answer: dict[str, Any]) -> int:
    """Stamps left. Raises BalanceUnreadable."""
    result = answer.get("result")
    value = result.get("saldo") if isinstance(result, dict) else result
    if isinstance(value, str) and (count := _COUNT.fullmatch(value)):
        return int(re.sub("[.,]", "", count[1]))
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise BalanceUnreadable("the upstream's balance can not be read", sent=True)


def _record(row: object) -> SerialRecord:
    if not isinstance(row, dict) or not is_serial(row.get("serialnumber")):
        raise Unavailable("the upstream's list of serial numbers can not be read", sent=True)
    status: Literal["STAMP", "NOTSTAMP"] | None
    said = str(row.get("status") or "").strip().upper()
    if said == "STAMP":
        status = "STAMP"
    elif said == "NOTSTAMP":
        status = "NOTSTAMP"
    elif not said:
        status = None  # that it was sold, and for whom, is said all the same
    else:
        raise Unavailable("the upstream names a status of a serial number that we do not know", sent=True)
    file, updated_at = row.get("file"), row.get("tglupdate")
    return SerialRecord(
        serial_number=row["serialnumber"],
        status=status,
        file=file if isinstance(file, str) and file else None,
        updated_at=updated_at if isinstance(updated_at, str) else None,
    )
