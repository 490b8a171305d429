"""Compares the account's list upstream with our books, SN by SN, for an auditor."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from antrean.orders import keys
from antrean.orders.account import POOLED, spellings
from antrean.orders.account_list import PAGE_SIZE, ZERO_FAILED_MAX, AccountList, Reading, Take, order_id_of
from antrean.orders.archive import ArchiveDamaged
from antrean.orders.asking import asked
from antrean.orders.ledger import PAGE_MAX, Ledger
from antrean.orders.ledger_archive import LedgerDamaged
from antrean.orders.model import Order
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.provider.errors import Rejected, Unavailable
from antrean.provider.protocol import Provider, SerialRecord

#: Most pages of the list that are read.
PAGES_MAX = 20_000


@dataclass(frozen=True, slots=True)
class Difference:
    """Something that the upstream's list and our books see differently."""

    serial_number: str
    order_id: str | None
    what: str


@dataclass(frozen=True, slots=True)
class Ours:
    """Counts of SNs. `unused`: a citizen has it, not stamped; `written_off`: replaced, or its money was given back."""

    stamped: int = 0
    unused: int = 0
    pooled: int = 0
    written_off: int = 0


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """`others`: SNs on the list whose file name is not of our making. Other users of the account have bought them.

    `ours`: the SNs on the list that are on our books, counted by where those have them; None where a part is lost.
    `complete`: the list was read to its end. Where it was not, nothing is said of what it does not show.
    """

    differences: list[Difference]
    others: int
    ours: Ours | None
    complete: bool = True


async def reconcile(
    store: OrderStore, provider: Provider, page_size: int = PAGE_SIZE, pages_max: int = PAGES_MAX
) -> Reconciliation:
    """Compare the whole of the list with our books, while work goes on. Raises StoreUnavailable, ProviderError."""
    started_ms = (await store.situation()).now_ms
    # Before the list is read: what is bought meanwhile may be on no page that is still to come.
    comparison = _Comparison(store, started_ms, await _owners(store))
    reading = Reading()
    await _read(AccountList(provider, page_size, pages_max), reading, comparison.take)
    comparison.ours |= await _noted_meanwhile(store, comparison.strays)
    try:
        counted = await _count(store, comparison.ours)
    except LedgerDamaged:  # what was found is told all the same
        counted = None
    differences = comparison.all_differences(reading.complete)
    return Reconciliation(differences, comparison.others, counted, reading.complete)


class _Comparison:
    """Compares page after page of the list. `unseen`: the SNs of our books that no page has shown, by their owner.

    `ours`: the list's SNs that are on our books, by their owner; `strays`: those that are not and whose file name
    names an order of ours, by that order; `others`: a count of the rest.
    """

    def __init__(self, store: OrderStore, started_ms: int, owners: dict[str, str]) -> None:
        self._store = store
        self._started_ms = started_ms
        self._stamped_differently: list[Difference] = []
        self.unseen = owners
        self.ours: dict[str, str] = {}
        self.strays: dict[str, str] = {}
        self.others = 0

    async def take(self, rows: list[SerialRecord]) -> None:
        """Compare one page."""
        serials = [row.serial_number for row in rows]
        account = self._store.account
        holders, users = await account.holders(serials), await account.users(serials)
        for row in rows:
            serial = row.serial_number
            # One of the spellings: were both on our books, two orders would have the SN.
            self.unseen.pop(next((each for each in spellings(serial) if each in self.unseen), ""), None)
            holder, named = holders.get(serial), order_id_of(row.file)
            if holder is not None:
                self.ours[serial] = holder
            elif named is None:
                self.others += 1
            else:
                self.strays[serial] = named
            # A purchase's SN, or one that was bought elsewhere, is stamped by an affix that does not own it.
            await self._compare_stamp(row, users.get(serial, holder))

    async def _compare_stamp(self, row: SerialRecord, user: str | None) -> None:
        serial = row.serial_number
        if user == POOLED:
            if row.status == "STAMP":
                self._stamped_differently.append(
                    Difference(serial, None, "in the pool, and stamped upstream")
                )
        elif user is not None and row.status == "NOTSTAMP":
            try:
                order = await self._store.get(user)
            except ArchiveDamaged:
                what = "its order can not be read: a part of the archive is damaged"
                self._stamped_differently.append(Difference(serial, user, what))
                return
            if order is not None and _stamped_before(order, serial, self._started_ms):
                what = "stamped by us, NOTSTAMP upstream"
                self._stamped_differently.append(Difference(serial, user, what))

    def all_differences(self, complete: bool) -> list[Difference]:
        """`complete`: the list was read to its end, so that what it has not shown is not on it."""
        sold = [
            Difference(serial, named, "sold, and not on our books") for serial, named in self.strays.items()
        ]
        what = "on our books, and not on the account's list"
        unseen = [
            Difference(serial, None if holder == POOLED else holder, what)
            for serial, holder in sorted(self.unseen.items())
        ]
        return self._stamped_differently + sold + (unseen if complete else [])


async def _read(account_list: AccountList, reading: Reading, compare: Take) -> None:
    """To the list's end. Page 0 is asked for until it is known that there is none; nothing was read before that."""
    for attempt in range(1, ZERO_FAILED_MAX + 1):
        try:
            await account_list.read(reading, None, compare)
            return
        except (Rejected, Unavailable):
            if reading.rows or attempt == ZERO_FAILED_MAX:
                raise


def _stamped_before(order: Order, serial: str, at_ms: int) -> bool:
    """What was stamped while the list was read may stand on it as it was before. An SN that was replaced never was."""
    done = order.kind == "affix" and order.state is State.COMPLETED and order.updated_ms < at_ms
    return done and order.serial_number in [*spellings(serial)]


async def _owners(store: OrderStore) -> dict[str, str]:
    """Who has which SN, POOLED for those that belong to no order."""
    redis = store.scripts.redis
    owners = {k.decode(): POOLED for k in await asked(redis.hkeys(keys.POOL))}
    cursor = None
    while cursor != 0:  # in parts: with a million SNs one answer would stop everybody else
        cursor, part = await asked(redis.hscan(keys.SERIAL_OWNER, cursor or 0, count=PAGE_MAX))
        # Of an archived order the office stands behind its id.
        owners |= {k.decode(): v.decode().partition("@")[0] for k, v in part.items()}
    return owners


async def _noted_meanwhile(store: OrderStore, strays: dict[str, str]) -> dict[str, str]:
    """Takes out those that were being bought when their page was read, and have come to our books by now."""
    serials = list(strays)
    noted: dict[str, str] = {}
    for start in range(0, len(serials), PAGE_MAX):
        noted |= await store.account.holders(serials[start : start + PAGE_MAX])
    for serial in noted:
        del strays[serial]
    return noted


async def _count(store: OrderStore, ours: dict[str, str]) -> Ours:
    """Where the ledger has these SNs: asking for their orders would cost a look into the archive for each."""
    # In one spelling, since the list may have another than the ledger.
    accounts = {
        serial.upper(): "pooled" if holder == POOLED else "bought_unused" for serial, holder in ours.items()
    }

    async for entry in Ledger(store).all_entries():
        for serial, account in ((entry.serial_number, entry.target), (entry.replaced, "refunded")):
            if serial.upper() in accounts:
                accounts[serial.upper()] = account
    counts = Counter(accounts.values())
    return Ours(counts["stamped"], counts["bought_unused"], counts["pooled"], counts["refunded"])
