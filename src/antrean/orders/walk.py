"""Reads the account's list of SNs, newest first, and takes in every SN of ours that nobody has recorded.

Our order's id stands in each SN's file name. A list moves while it is read: what is sold in between pushes rows to
later pages, never to earlier ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

import structlog

from antrean.orders import ids
from antrean.orders.account import POOLED
from antrean.orders.codes import Code
from antrean.orders.store import OrderStore
from antrean.provider.errors import Rejected, Unavailable
from antrean.provider.protocol import Provider, SerialPage, SerialRecord

log = structlog.get_logger(__name__)

#: Rows asked for in one page, and most pages of one walk: a walk that ends for that reason proves no absence.
PAGE_SIZE = 100
PAGES_MAX = 400
#: Walks in a row in which page 0 alone failed, after which there is taken to be none.
ZERO_FAILED_MAX = 3


@dataclass(slots=True)
class Walk:
    """What one reading of the account's list has shown. `complete`: it reached as far back as was asked for."""

    files: dict[str, str] = field(default_factory=dict)
    #: Orders whose SN our books give to another order, as after an answer that was another call's.
    taken_by_others: set[str] = field(default_factory=set)
    #: SNs that went to their order or to the pool.
    taken: int = 0
    #: SNs of ours that were stamped for orders which our books do not have, as after a restored backup.
    strange: int = 0
    #: SNs of orders that a worker has, or had and nobody has taken from it yet: to be taken in by a later walk.
    busy: int = 0
    rows: int = 0
    complete: bool = False
    #: Of all that was sold up to so many ms before the newest, nothing was missed; 0 where the rows have no dates.
    reach_ms: int = 0


class Walker:
    """Reads for one resolver. From which page the list counts is learnt once."""

    def __init__(self, store: OrderStore, provider: Provider) -> None:
        self._store = store
        self._provider = provider
        self._first_page: int | None = None
        self._zero_failed = 0

    async def walk(self, back_ms: int | None, in_doubt: set[str]) -> Walk:
        """Read what was sold up to `back_ms` before the newest, or to the list's end with None.

        Only times of the upstream are compared with each other, so that it does not matter how far its clock is from
        ours. An order of `in_doubt` that gets its SN is taken out of it. Raises StoreUnavailable, ProviderError.

        Pages count from 1, or from 0 with some (assumed: sources differ), so a page 0 is asked for as well, first of
        all: asked for last, it would not show any more what has moved to page 1 meanwhile.
        """
        walk = Walk()
        seen: set[str] = set()
        newest_ms: int | None = None
        sold_since = 0
        zero = None if self._first_page == 1 else await self._page_zero(seen, walk, in_doubt)
        for page in range(1, PAGES_MAX + 1):
            answer, fresh = await self._page(page, seen, walk, in_doubt)
            if page == 1 and zero is not None:
                self._learn_first_page(zero, answer)
            times = [t for r in fresh if (t := _time_ms(r.updated_at)) is not None]
            if newest_ms is None and times:
                newest_ms = max(times)
            if newest_ms is not None and times and len(times) == len(fresh):
                walk.reach_ms = max(newest_ms - max(times), 0)
            if answer.last or (back_ms is not None and walk.reach_ms > back_ms):
                walk.complete = True
                break
            if fresh:
                sold_since = 0
            elif page > 1:  # page 1 may repeat page 0
                sold_since += await self._sold_since(seen, walk, in_doubt)
                if sold_since < len(answer.records):
                    # Too few to have moved a page that we know to this place: it repeats one since there is no other.
                    walk.complete = True
                    break
        return walk

    async def _sold_since(self, seen: set[str], walk: Walk, in_doubt: set[str]) -> int:
        """Rows on the first page that were not there when it was read before."""
        firsts = (1,) if self._first_page == 1 else (0, 1)
        return sum([len((await self._page(first, seen, walk, in_doubt))[1]) for first in firsts])

    async def _page(
        self, page: int, seen: set[str], walk: Walk, in_doubt: set[str]
    ) -> tuple[SerialPage, list[SerialRecord]]:
        answer = await self._provider.serial_page(page, PAGE_SIZE)
        fresh = [r for r in answer.records if r.serial_number not in seen]
        seen.update(r.serial_number for r in fresh)
        walk.rows += len(fresh)
        await self._take_in(fresh, walk, in_doubt)
        return answer, fresh

    async def _page_zero(self, seen: set[str], walk: Walk, in_doubt: set[str]) -> SerialPage | None:
        """Page 0, or None where there is none. Raises what it failed with, unless it alone fails for ever."""
        try:
            answer, _ = await self._page(0, seen, walk, in_doubt)
        except (Rejected, Unavailable) as error:
            if self._first_page == 0 or not error.tried:
                raise
            await self._provider.serial_page(1, PAGE_SIZE)  # where this fails too, it says nothing of page 0
            self._zero_failed += 1
            if self._zero_failed < ZERO_FAILED_MAX:
                raise
            self._first_page = 1
            return None
        self._zero_failed = 0
        return answer

    def _learn_first_page(self, zero: SerialPage, one: SerialPage) -> None:
        on_zero = {r.serial_number for r in zero.records}
        on_one = {r.serial_number for r in one.records}
        if on_one and (not on_zero or on_zero == on_one):
            self._first_page = 1
        elif on_zero and on_zero.isdisjoint(on_one):
            self._first_page = 0

    async def _take_in(self, rows: list[SerialRecord], walk: Walk, in_doubt: set[str]) -> None:
        ours = {r.serial_number: r for r in rows if order_id_of(r.file)}
        holders = await self._store.account.holders(list(ours))
        for serial, row in ours.items():
            order_id = order_id_of(row.file)
            assert order_id is not None
            holder = holders.get(serial)
            # One in the pool may be what an order in doubt has waited for: it came while a later try was under way.
            if holder is None or (holder == POOLED and order_id in in_doubt):
                used = row.status != "NOTSTAMP" and order_id not in in_doubt
                code = await self._store.found(
                    order_id, serial, "found on the account's list", walk=True, used=used
                )
                if code in (Code.OK, Code.POOL_EMPTY):
                    log.warning(
                        "SN found on the account",
                        order_id=order_id,
                        serial_number=serial,
                        pooled=code != Code.OK,
                    )
                if code == Code.OK:
                    in_doubt.discard(order_id)
                walk.taken += code in (Code.OK, Code.POOL_EMPTY)
                walk.strange += code == Code.MISSING
                walk.busy += code == Code.STATE
            if holder in (None, POOLED, order_id):
                walk.files[order_id] = serial
            else:
                walk.taken_by_others.add(order_id)


def order_id_of(file: str | None) -> str | None:
    """Our order id in an SN's file name, or None where the SN is not of our making."""
    stem = (file or "").rsplit("/", 1)[-1].removesuffix(".pdf")
    return stem if ids.is_id(stem) else None


def _time_ms(text: str | None) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)
