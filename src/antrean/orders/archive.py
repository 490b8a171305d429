"""Old orders, out of Redis and in the object store, where every gateway and worker finds them.

An order at its end becomes a line of a *segment*: a compressed object of up to some hundred records, never changed in
place. A segment's name says the day on which its orders were made, their first and last id, and their least and
greatest sequence number. So an order id, the minute in a ticket's token, or a list's cursor leads to one or two
objects:

    archive/orders/2026-11-24/<first id>-<last id>-<least seq>-<greatest seq>-<generation>.jsonl.gz

Erasing a person writes the segment again under the next generation. An order may be in two segments, after a crash
between writing and removing or a change in between: the record with the greatest version counts.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import gzip
import heapq
import re
import zlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

import orjson

from antrean.orders import ids
from antrean.orders.lease import Lease
from antrean.orders.model import Order, StoreUnavailable, moment
from antrean.orders.record import Record

ROOT = "archive/orders"
#: Segments kept in memory: one of 500 orders takes 1.6 MB there.
SEGMENTS_KEPT = 16
MINUTE_MS = 60_000
#: How often a look-up is tried when another process rewrites the segment meanwhile.
TRIES = 3

_NAME = re.compile(r"(\w{26})-(\w{26})-(\d+)-(\d+)-(\d+)\.jsonl\.gz")
#: The one field that is no text: it is sealed.
_SEALED = b"pii"


class ArchiveDamaged(StoreUnavailable):
    """A part of the archive is not what was written. It does not heal by itself: somebody has to look for a copy."""

    #: What ops are told.
    advice = "A part of the archive is damaged; the log says which. Restore it from a copy."


class Objects(Protocol):
    """The object store. Every method raises OSError where it can not be reached."""

    async def require_ours(self) -> None: ...
    async def put(self, path: str, data: bytes) -> None: ...
    async def get(self, path: str) -> bytes | None: ...
    async def delete(self, path: str) -> None: ...
    async def paths(self, prefix: str) -> list[str]: ...
    async def folders(self, prefix: str) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Segment:
    """What a segment's name says."""

    day: str
    first: str
    last: str
    low: int
    high: int
    generation: int

    @property
    def path(self) -> str:
        """Where it is in the object store."""
        name = f"{self.first}-{self.last}-{self.low}-{self.high}-{self.generation}"
        return f"{ROOT}/{self.day}/{name}.jsonl.gz"

    @property
    def name(self) -> Segment:
        """What all its generations have in common."""
        return dataclasses.replace(self, generation=0)

    @classmethod
    def of(cls, path: str) -> Segment | None:
        """Read a path; None for what is no segment's."""
        *_, day, name = path.split("/")
        found = _NAME.fullmatch(name)
        if found is None:
            return None
        return cls(day, found[1], found[2], int(found[3]), int(found[4]), int(found[5]))


class Archive:
    """Reads and writes segments. Every method raises StoreUnavailable where the object store can not be reached, and
    ArchiveDamaged where a segment that it needs can not be read."""

    def __init__(self, objects: Objects, alone: Callable[[], AbstractAsyncContextManager[Lease]]) -> None:
        """`alone`: a block in which no other process changes the archive."""
        self.objects = objects
        self.alone = alone
        self._kept: OrderedDict[str, list[Record]] = OrderedDict()

    # ---- looking up

    async def find(self, order_id: str) -> Order | None:
        """An archived order, or None, as for what is no id."""
        if not ids.is_id(order_id):
            return None
        found = await self._latest(order_id, order_id, b"id", order_id)
        return Order.from_hash(found) if found else None

    async def find_by_ticket(self, token: str) -> Order | None:
        """The archived order that a ticket token stands for, or None."""
        begin_ms = ids.token_minute_ms(token)
        first, last = ids.first_id(begin_ms), ids.first_id(begin_ms + MINUTE_MS)
        found = await self._latest(first, last, b"token", token)
        return Order.from_hash(found) if found else None

    async def newest(self, before: int | None) -> AsyncIterator[tuple[int, Order]]:
        """All archived orders with their sequence numbers, the greatest first, those below `before`."""
        unread: list[Segment] = []
        rows: list[tuple[int, int, bytes, Record]] = []
        told = before
        for day in (*sorted(await self._days(), reverse=True), None):
            here = [] if day is None else await self._segments(day)
            wanted = [segment for segment in here if before is None or segment.low < before]
            unread = sorted((*unread, *wanted), key=lambda segment: segment.high)
            # Gateways' clocks differ: orders of an earlier day may have a number above some of a later day's.
            floor = max((segment.high for segment in here), default=-1)
            while True:
                top = unread[-1].high if unread else -1
                if rows and -rows[0][0] > max(top, floor):
                    number, _, _, record = heapq.heappop(rows)
                    if told is None or -number < told:
                        told = -number
                        yield told, Order.from_hash(record)
                elif unread and top > floor:
                    for record in await self._read_latest(unread.pop()):
                        number, version = int(record[b"seq"]), int(record[b"ver"])
                        heapq.heappush(rows, (-number, -version, record[b"id"], record))
                else:
                    break

    async def numbers(self, damaged: list[str]) -> AsyncIterator[int]:
        """The sequence numbers of all archived orders, in no order, some of them twice.

        `newest` passes over an order whose id was made by a clock that was set back by days. What is wrong with
        segments that can not be read is put into `damaged`.
        """
        for day in await self._days():
            for segment in await self._segments(day):
                try:
                    records = await self._read_latest(segment)
                except ArchiveDamaged as error:
                    damaged.append(str(error))
                    continue
                for record in records:
                    yield int(record[b"seq"])

    # ---- writing

    async def write(self, records: Iterable[Record]) -> list[Segment]:
        """Keep records durably, one segment for each day on which they were made, and read them back.

        Raises StoreUnavailable also where what is read is not what was written.
        """
        by_day: dict[str, list[Record]] = {}
        for record in sorted(records, key=lambda r: r[b"id"]):
            by_day.setdefault(_day(ids.time_ms(record[b"id"].decode())), []).append(record)
        written = []
        for day, group in by_day.items():
            numbers = [int(record[b"seq"]) for record in group]
            first, last = group[0][b"id"].decode(), group[-1][b"id"].decode()
            segment = Segment(day, first, last, min(numbers), max(numbers), 0)
            await self._put(segment, group)
            written.append(segment)
        return written

    async def delete(self, segment: Segment) -> None:
        """Delete a segment whose orders are all kept elsewhere."""
        self._kept.pop(segment.path, None)
        await self._delete(segment.path)

    async def rewrite(self, order_id: str, change: Callable[[Record], Record]) -> None:
        """Change an order's record wherever it stands."""
        wanted = order_id.encode()
        for segment in await self._segments(_day(ids.time_ms(order_id))):
            if segment.first <= order_id <= segment.last:
                await self._rewrite(segment, lambda r: change(r) if r[b"id"] == wanted else r)

    async def rewrite_all(self, change: Callable[[Record], Record]) -> int:
        """Change every record; answers how many differ now."""
        changed = 0
        for day in await self._days():
            for segment in await self._segments(day):
                changed += await self._rewrite(segment, change)
        return changed

    async def _rewrite(self, segment: Segment, change: Callable[[Record], Record]) -> int:
        async with self.alone() as lease:
            # Another process may have written it anew while we waited.
            found = await self._newest(segment)
            return await self._rewrite_alone(found, change, lease) if found else 0

    async def _rewrite_alone(self, segment: Segment, change: Callable[[Record], Record], lease: Lease) -> int:
        before = await self._read(segment) or []
        after = [change(dict(record)) for record in before]
        changed = sum(new != old for new, old in zip(after, before, strict=True))
        if changed:
            await lease.renew()
            # If a crash leaves the earlier generation behind, readers pass it over.
            await self._put(dataclasses.replace(segment, generation=segment.generation + 1), after)
            self._kept.pop(segment.path, None)
            await self._delete(segment.path)
        return changed

    async def _put(self, segment: Segment, records: list[Record]) -> None:
        data = gzip.compress(b"\n".join(map(_line, records)), mtime=0)
        if not await kept(self.objects, segment.path, data):
            await self._delete(segment.path)
            raise StoreUnavailable("the archive does not hold what was written")

    async def _delete(self, path: str) -> None:
        try:
            await self.objects.delete(path)
        except OSError as error:
            raise _away(error) from error

    # ---- reading

    async def _latest(self, first: str, last: str, field: bytes, value: str) -> Record | None:
        """The latest record with this value in the field, among those with ids in [first, last]."""
        wanted = value.encode()
        for _ in range(TRIES):
            found: list[Record] = []
            renamed = False
            for day in {_day(ids.time_ms(at)) for at in (first, last)}:
                for segment in await self._segments(day):
                    if segment.first <= last and segment.last >= first:
                        records = await self._read(segment)
                        renamed |= records is None
                        found += [record for record in records or () if record[field] == wanted]
            if found or not renamed:
                return max(found, key=lambda record: int(record[b"ver"]), default=None)
        return None

    async def _days(self) -> list[str]:
        try:
            return [path.rstrip("/").rsplit("/", 1)[-1] for path in await self.objects.folders(ROOT)]
        except OSError as error:
            raise _away(error) from error

    async def _segments(self, day: str) -> list[Segment]:
        """The segments of a day, each in its latest generation."""
        try:
            paths = await self.objects.paths(f"{ROOT}/{day}")
        except OSError as error:
            raise _away(error) from error
        latest: dict[Segment, Segment] = {}
        for segment in filter(None, map(Segment.of, paths)):
            name = segment.name
            if name not in latest or latest[name].generation < segment.generation:
                latest[name] = segment
        return list(latest.values())

    async def _newest(self, segment: Segment) -> Segment | None:
        """The same in its latest generation; None where it was deleted."""
        return next((s for s in await self._segments(segment.day) if s.name == segment.name), None)

    async def _read_latest(self, segment: Segment) -> list[Record]:
        """Its records, though another process rewrites it meanwhile; none where it was deleted."""
        for _ in range(TRIES):
            if (records := await self._read(segment)) is not None:
                return records
            if (found := await self._newest(segment)) is None:
                return []
            segment = found
        raise StoreUnavailable("a part of the archive is rewritten all the time")

    async def _read(self, segment: Segment) -> list[Record] | None:
        """Its records; None where another process rewrote it meanwhile."""
        kept = self._kept.get(segment.path)
        if kept is not None:
            self._kept.move_to_end(segment.path)
            return kept
        data = await fetched(self.objects, segment.path)
        if data is None:
            return None
        # It takes some ms, so it is done on a thread: nobody else served by this process waits for it.
        try:
            records = await asyncio.to_thread(_records_in, data)
        except (OSError, EOFError, ValueError, TypeError, AttributeError, zlib.error) as error:
            raise ArchiveDamaged(f"a part of the archive is damaged: {segment.path}") from error
        # An object that lost its content to a power cut can be read, too.
        ends = [record.get(b"id", b"").decode() for record in (*records[:1], *records[-1:])]
        if ends != [segment.first, segment.last]:
            raise ArchiveDamaged(f"a part of the archive is not what was written: {segment.path}")
        self._kept[segment.path] = records
        if len(self._kept) > SEGMENTS_KEPT:
            self._kept.popitem(last=False)
        return records


async def kept(objects: Objects, path: str, data: bytes) -> bool:
    """Write an object and read it back; whether it is what was written.

    Raises StoreUnavailable, also where the store is not the one that others read: what is kept there leaves Redis.
    """
    try:
        await objects.require_ours()
        await objects.put(path, data)
        return await objects.get(path) == data
    except OSError as error:
        raise _away(error) from error


async def fetched(objects: Objects, path: str) -> bytes | None:
    """An object, None where there is none. Raises StoreUnavailable."""
    try:
        return await objects.get(path)
    except OSError as error:
        raise _away(error) from error


def _away(error: OSError) -> StoreUnavailable:
    return StoreUnavailable(f"the archive does not answer: {type(error).__name__}")


def _day(at_ms: int) -> str:
    return moment(at_ms).strftime("%Y-%m-%d")


def _line(record: Record) -> bytes:
    return orjson.dumps(
        {
            name.decode(): base64.b64encode(value).decode() if name == _SEALED else value.decode()
            for name, value in record.items()
        }
    )


def _records_in(data: bytes) -> list[Record]:
    return [
        {
            name.encode(): base64.b64decode(value) if name.encode() == _SEALED else value.encode()
            for name, value in orjson.loads(line).items()
        }
        for line in gzip.decompress(data).split(b"\n")
        if line
    ]
