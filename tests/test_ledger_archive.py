"""Old entries of the ledger leave Redis, and the books read as before; wherever the move is cut short, none is lost."""

from __future__ import annotations

import asyncio
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.books import WIB, Entry, Selection, wib_day
from antrean.orders.ledger import Ledger
from antrean.orders.ledger_archive import (
    ROOT,
    SEGMENT_ENTRIES,
    LedgerArchive,
    LedgerArchiver,
    LedgerDamaged,
    Row,
)
from antrean.orders.model import StoreUnavailable
from archive_support import DAY_S, Shelf

#: Two whole segments and something that stays.
ENTRIES = 2 * SEGMENT_ENTRIES + 300


class Books(Shelf):
    """A shelf with a long ledger; only its entries matter here."""

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.store)

    def new_archiver(self) -> LedgerArchiver:
        """As another worker has it."""
        return LedgerArchiver(self.store, LedgerArchive(self.objects), DAY_S)

    async def write(self, count: int, entry_id: str = "*") -> None:
        pipe = self.world.redis.pipeline(transaction=False)
        for number in range(count):
            fields = {
                "at": self.world.now_ms,
                "order": f"{number:026d}",
                "office": "MDN-01",
                "from": "",
                "to": "held",
                "idr": 10_000,
                "sn": "",
                "reason": "dibayar, “lunas”\u2028",
            }
            pipe.xadd(keys.LEDGER, {name: str(value) for name, value in fields.items()}, id=entry_id)
        await pipe.execute()

    async def all_entries(self) -> list[Entry]:
        return [entry async for entry in self.ledger.all_entries()]

    async def oldest(self) -> list[Row]:
        """What goes into the next segment."""
        rows: Any = await self.world.redis.xrange(keys.LEDGER, count=SEGMENT_ENTRIES)
        return list(rows)

    async def left(self) -> int:
        """Entries in Redis."""
        return int(await self.world.redis.xlen(keys.LEDGER))


@pytest.fixture
async def books(redis: Redis, tmp_path: Path) -> Books:
    """With ENTRIES entries, old enough to go."""
    made = Books(redis, tmp_path)
    await made.write(ENTRIES)
    made.later()
    return made


async def moved(books: Books) -> int:
    archiver, steps = books.new_archiver(), 0
    while await archiver.run_once():
        steps += 1
    return steps


async def test_the_books_read_as_before_from_wherever_one_reads_on(books: Books) -> None:
    before = await books.all_entries()
    assert len(before) == ENTRIES
    assert await moved(books) == 2
    assert await books.left() == ENTRIES - 2 * SEGMENT_ENTRIES
    assert await books.all_entries() == before

    edge = SEGMENT_ENTRIES
    for index in (0, 1, edge - 2, edge - 1, edge, 2 * edge - 2, 2 * edge - 1, 2 * edge, ENTRIES - 1):
        for limit in (1, 2, 500, 1000):
            found = await books.ledger.entries(before[index].id, limit)
            assert found == before[index + 1 : index + 1 + limit], (index, limit)
    assert await books.ledger.entries(None, 1000) == before[:1000]
    assert await books.ledger.entries("0-0", 3) == before[:3]


async def test_what_is_written_afterwards_follows(books: Books) -> None:
    await moved(books)
    order = await books.world.submit()
    entries = await books.all_entries()
    assert len(entries) == ENTRIES + 1
    assert entries[-1].order_id == order.id
    assert [e.id for e in entries] == sorted((e.id for e in entries), key=lambda i: [*map(int, i.split("-"))])


async def test_a_file_that_begins_with_a_day_is_whole_and_needs_no_segment_of_the_days_before(
    redis: Redis, tmp_path: Path
) -> None:
    books = Books(redis, tmp_path)
    midnight_ms = int(datetime(2026, 11, 20, tzinfo=WIB).timestamp() * 1000)
    before, that_day = date(2026, 11, 19), date(2026, 11, 20)
    hour_ms = 3_600_000
    for at_ms, count in (
        (midnight_ms - 20 * hour_ms, SEGMENT_ENTRIES),
        (midnight_ms - 1, 1),
        (midnight_ms, SEGMENT_ENTRIES),
    ):
        books.world.now_ms = at_ms
        await books.write(count, f"{at_ms}-*")
    # The clock was set back: dated on the day before, and named after what was written already.
    books.world.now_ms = midnight_ms - hour_ms
    await books.write(1, f"{midnight_ms}-*")
    books.world.now_ms = midnight_ms
    books.later(2 * DAY_S)
    assert await moved(books) == 2

    async def read(first: date) -> list[Entry]:
        wanted = Selection(first=first)
        return [e async for page in books.ledger.pages(first) for e in page if wanted.holds(e)]

    assert len(await read(before)) == 2 * SEGMENT_ENTRIES + 2
    oldest, _ = sorted(await books.objects.paths(f"{ROOT}/2026-11"))
    await books.objects.delete(oldest)
    assert {wib_day(e.at_ms) for e in await read(that_day)} == {that_day}
    assert len(await read(that_day)) == SEGMENT_ENTRIES
    assert await read(date(2026, 11, 21)) == []
    for first in (before, date(1, 1, 1)):
        with pytest.raises(LedgerDamaged):
            await read(first)


async def test_what_is_young_or_few_stays(redis: Redis, tmp_path: Path) -> None:
    books = Books(redis, tmp_path)
    await books.write(SEGMENT_ENTRIES - 1)
    books.later()
    assert await moved(books) == 0
    await books.write(1)
    assert await moved(books) == 0
    books.later(DAY_S - 1)
    assert await moved(books) == 0
    books.later(2)
    assert await moved(books) == 1
    assert await books.left() == 0
    assert len(await books.all_entries()) == SEGMENT_ENTRIES


async def test_two_that_move_at_once_move_each_entry_once(books: Books) -> None:
    before = await books.all_entries()
    one, other = books.new_archiver(), books.new_archiver()
    for _ in range(3):
        await asyncio.gather(one.run_once(), other.run_once())
    assert await books.all_entries() == before
    assert await books.world.redis.zcard(keys.LEDGER_SEGMENTS) == 2


@pytest.mark.parametrize("fault", ["put", "get", "tear"])
async def test_what_can_not_be_kept_or_read_back_stays_in_redis(books: Books, fault: str) -> None:
    before = await books.all_entries()
    books.objects.tear, books.objects.fail = fault == "tear", None if fault == "tear" else fault
    with pytest.raises(StoreUnavailable):
        await books.new_archiver().run_once()
    assert await books.left() == ENTRIES
    assert await books.all_entries() == before
    books.objects.tear, books.objects.fail = False, None
    assert await moved(books) == 2
    assert await books.all_entries() == before


async def test_a_move_that_began_before_another_s_takes_nothing_away(books: Books) -> None:
    """It was read and written; meanwhile the other has moved the same entries and more."""
    before = await books.all_entries()
    rows = await books.oldest()
    name = await LedgerArchive(books.objects).write(rows)
    await moved(books)
    await books.world.scripts.run("ledger_archive", rows[0][0], rows[-1][0], len(rows), name)
    assert await books.left() == ENTRIES - 2 * SEGMENT_ENTRIES
    assert await books.all_entries() == before


async def test_a_segment_that_redis_does_not_name_is_nobody_s(books: Books) -> None:
    """Left by a move that was cut short, or written after the backup that Redis was restored from."""
    before = await books.all_entries()
    rows = await books.oldest()
    lost = [(entry_id, fields | {b"order": b"of another time"}) for entry_id, fields in rows[:-7]]
    await LedgerArchive(books.objects).write(lost)
    assert await books.all_entries() == before
    await moved(books)
    assert await books.all_entries() == before


async def test_only_the_oldest_entries_leave_redis(books: Books) -> None:
    rows = (await books.oldest())[10:]
    await books.world.scripts.run("ledger_archive", rows[0][0], rows[-1][0], len(rows), "a name")
    assert await books.left() == ENTRIES
    assert await books.world.redis.zcard(keys.LEDGER_SEGMENTS) == 0


@pytest.mark.parametrize("harm", ["gone", "damaged", "emptied", "another"])
async def test_books_with_a_hole_are_not_shown_as_whole(books: Books, harm: str) -> None:
    await moved(books)
    path, other = sorted(await books.objects.paths(ROOT))
    if harm == "gone":
        await books.objects.delete(path)
    else:
        content = await books.objects.get(other if harm == "another" else path) or b""
        await books.objects.put(path, {"damaged": content[:-9], "emptied": b""}.get(harm, content))
    with pytest.raises(LedgerDamaged, match="a part of the ledger"):
        await books.all_entries()
    books.store.archive = None
    with pytest.raises(StoreUnavailable, match="there is none here"):
        await books.all_entries()


async def test_entries_dated_after_now_do_not_keep_the_book_in_redis(redis: Redis, tmp_path: Path) -> None:
    """A clock was a year ahead for a while, and was set right."""
    books = Books(redis, tmp_path)
    year_s = 365 * DAY_S
    books.later(year_s)
    await books.write(SEGMENT_ENTRIES // 2)
    books.later(-year_s)
    await books.write(SEGMENT_ENTRIES // 2)
    before = await books.all_entries()
    assert await moved(books) == 0
    books.later()
    assert await moved(books) == 1
    assert await books.all_entries() == before
