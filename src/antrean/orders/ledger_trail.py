"""Follows every payment and every SN through the book, entry by entry. Pure."""

from __future__ import annotations

from collections import defaultdict
from datetime import date

from antrean.orders.books import AMOUNT_IDR, PAID, PARTS, Entry, wib_day

#: Every movement that there is; from `bought_unused` to itself an SN is exchanged for another.
MOVEMENTS = {
    ("", "held"),
    ("held", "bought_unused"),
    ("held", "refunded"),
    ("bought_unused", "bought_unused"),
    ("bought_unused", "stamped"),
    ("bought_unused", "refunded"),
}


class Trail:
    """What is known after the entries so far.

    It grows by some 0.4 kB for an order whose money is held, or whose SN is bought and not used; by 0.1 kB for an SN
    that was used, replaced or refunded, for good; and by the offices of each day. Of an order that is stamped or
    refunded nothing else is kept.
    """

    def __init__(self) -> None:
        #: Rupiah in each account, and paid.
        self.totals = _nothing()
        #: Net change of each of them by day (Jakarta) and office.
        self.days: dict[date, dict[str, dict[str, int]]] = {}
        self.entries = 0
        self._below: set[str] = set()
        #: Order → its SN, '' while its money is held.
        self._open: dict[str, str] = {}
        #: SN that is bought and not used → order.
        self._unused: dict[str, str] = {}
        #: Hashes of the SNs that left; two of a million share one in a case of thirty million.
        self._gone: set[int] = set()

    def take(self, entry: Entry) -> list[str]:
        """Goes on by one entry; says what is wrong with it."""
        self.entries += 1
        if (entry.source, entry.target) not in MOVEMENTS:
            return [f"there is no movement from {entry.source or 'citizen'} to {entry.target}"]
        wrong = (
            []
            if entry.amount_idr == AMOUNT_IDR
            else [f"moves Rp {entry.amount_idr:,}, not Rp {AMOUNT_IDR:,}"]
        )
        offices = self.days.setdefault(wib_day(entry.at_ms), defaultdict(_nothing))
        for totals in (self.totals, offices[entry.office]):
            totals[entry.target] += entry.amount_idr
            if entry.source:
                totals[entry.source] -= entry.amount_idr
            else:
                totals[PAID] += entry.amount_idr
        for account, amount in self.totals.items():
            if amount >= 0:
                self._below.discard(account)
            elif account not in self._below:
                self._below.add(account)
                wrong.append(f"{account} falls below 0 in total")
        return wrong + self._follow(entry)

    def _follow(self, entry: Entry) -> list[str]:
        order, serial = entry.order_id, entry.serial_number
        match entry.source, entry.target:
            case "", _:
                if order in self._open:
                    return ["the order is paid a second time"]
                self._open[order] = ""
                return []
            case "held", target:
                wrong = [] if self._open.get(order) == "" else ["held falls below 0 for the order"]
                if target == "bought_unused":
                    return wrong + self._enter(order, serial)
                if not wrong:
                    del self._open[order]
                return wrong
            case _, "bought_unused":
                before = self._open.get(order)
                if not before:
                    return ["bought_unused falls below 0 for the order", *self._enter(order, serial)]
                self._leave(before)
                return self._enter(order, serial)
        return self._use(entry)

    def _use(self, entry: Entry) -> list[str]:
        order, serial = entry.order_id, entry.serial_number
        payer = self._unused.get(serial)
        own = self._open.get(order)
        if payer is None:
            if hash(serial) in self._gone:
                return [f"the SN {serial} leaves bought_unused a second time"]
            if not own:
                return [f"bought_unused falls below 0: the SN {serial or '-'} was not bought"]
            # Until 2026-11-27 the book did not name the SN that replaced another.
            payer, serial = order, own
        elif payer != order and entry.target == "refunded":
            return [f"the SN {serial} is that of order {payer}"]
        self._leave(serial)
        self._open.pop(payer, None)  # gone already where an earlier entry was wrong
        return []

    def _enter(self, order: str, serial: str) -> list[str]:
        if not serial:
            return ["names no SN"]
        if hash(serial) in self._gone or serial in self._unused:
            return [f"the SN {serial} enters bought_unused a second time"]
        self._open[order] = serial
        self._unused[serial] = order
        return []

    def _leave(self, serial: str) -> None:
        self._unused.pop(serial, None)
        self._gone.add(hash(serial))


def _nothing() -> dict[str, int]:
    return dict.fromkeys((PAID, *PARTS), 0)
