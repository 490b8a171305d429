"""Reads the account's list of SNs upstream, newest first, so carefully that an absence from it proves something.

The list moves while it is read: what is sold in between pushes rows to later pages, never to earlier ones.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from antrean.orders import ids
from antrean.provider.errors import Rejected, Unavailable
from antrean.provider.protocol import Provider, SerialPage, SerialRecord

#: Rows asked for in one page, and most pages of one reading. A reading that ends there proves no absence.
PAGE_SIZE = 100
PAGES_MAX = 400
#: After this many readings in a row in which page 0 alone failed, the list is taken to have no page 0.
ZERO_FAILED_MAX = 3

#: Called with the rows of a page that were not shown before.
Take = Callable[[list[SerialRecord]], Awaitable[None]]


@dataclass(slots=True)
class Reading:
    """How far one reading of the list came. `complete`: it went as far back as was asked for."""

    rows: int = 0
    complete: bool = False
    #: Nothing was missed of what was sold within this many ms before the newest row; 0 where the rows have no dates.
    reach_ms: int = 0


class AccountList:
    """Reads the list for one process, which learns once whether pages count from 0 or from 1."""

    def __init__(
        self,
        provider: Provider,
        page_size: int = PAGE_SIZE,
        pages_max: int = PAGES_MAX,
    ) -> None:
        self._provider = provider
        self._page_size = page_size
        self._pages_max = pages_max
        self._first_page: int | None = None
        self._zero_failed = 0

    async def read(self, reading: Reading, back_ms: int | None, take: Take) -> None:
        """Read back to `back_ms` before the newest row, or to the list's end with None, and fill in `reading`.

        Only times of the upstream are compared with each other, so it does not matter how far its clock is from ours.
        Raises ProviderError, and whatever `take` raises.

        Pages count from 1, or in some sources from 0 (assumed). So page 0 is asked for as well, and first: asked for
        last, it would no longer show what has moved to page 1 meanwhile.
        """
        seen: set[str] = set()

        async def shown(page: int) -> tuple[SerialPage, list[SerialRecord]]:
            answer = await self._provider.serial_page(page, self._page_size)
            fresh = [r for r in answer.records if r.serial_number not in seen]
            seen.update(r.serial_number for r in fresh)
            reading.rows += len(fresh)
            await take(fresh)
            return answer, fresh

        newest_ms: int | None = None
        sold_since = 0
        zero = None if self._first_page == 1 else await self._page_zero(shown)
        for page in range(1, self._pages_max + 1):
            answer, fresh = await shown(page)
            if page == 1 and zero is not None:
                self._learn_first_page(zero, answer)
            times = [t for r in fresh if (t := _time_ms(r.updated_at)) is not None]
            if newest_ms is None and times:
                newest_ms = max(times)
            if newest_ms is not None and times and len(times) == len(fresh):
                reading.reach_ms = max(newest_ms - max(times), 0)
            if answer.last or (back_ms is not None and reading.reach_ms > back_ms):
                reading.complete = True
                break
            if fresh:
                sold_since = 0
            elif page > 1:  # page 1 may repeat page 0
                firsts = (1,) if self._first_page == 1 else (0, 1)
                sold_since += sum([len((await shown(first))[1]) for first in firsts])
                if sold_since < len(answer.records):
                    # Too few were sold to move a page that we know to this place: the upstream repeats its last page.
                    reading.complete = True
                    break

    async def _page_zero(
        self, shown: Callable[[int], Awaitable[tuple[SerialPage, list[SerialRecord]]]]
    ) -> SerialPage | None:
        """Page 0, or None where there is none. Raises what it failed with, unless it alone fails again and again."""
        try:
            answer, _ = await shown(0)
        except (Rejected, Unavailable) as error:
            if self._first_page == 0 or not error.tried:
                raise
            # If page 1 fails as well, this says nothing about page 0.
            await self._provider.serial_page(1, self._page_size)
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


def order_id_of(file: str | None) -> str | None:
    """Our order id in an SN's file name, in capitals or not, or None where the SN is not of our making."""
    stem = (file or "").rsplit("/", 1)[-1].lower().removesuffix(".pdf")
    return stem if ids.is_id(stem) else None


def _time_ms(text: str | None) -> int | None:
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else int(moment.timestamp() * 1000)
