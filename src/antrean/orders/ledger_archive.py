"""Old entries of the ledger, out of Redis and in the object store, since there is no end to them.

A *segment* holds SEGMENT_ENTRIES entries that follow each other, as compressed JSON lines, and is never changed:

    archive/ledger/2026-11/<last id>-<first id>.jsonl.gz

Which segments count is said by Redis alone, in the same step that takes their entries out of the stream. So a segment
that was written in vain, or after the backup that Redis was restored from, is nobody's.
"""

from __future__ import annotations

import gzip
import zlib
from datetime import UTC, datetime

import orjson
import structlog

from antrean.orders import keys
from antrean.orders.archive import ArchiveDamaged, Objects, fetched, kept
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.model import StoreUnavailable
from antrean.orders.store import OrderStore

log = structlog.get_logger(__name__)

ROOT = "archive/ledger"
#: Entries of one segment: as many as a reader may ask for at once, so that two segments are always enough.
SEGMENT_ENTRIES = 1000

#: An entry's id in the stream, and its fields.
Row = tuple[bytes, dict[bytes, bytes]]


def sortable(entry_id: str) -> str:
    """An entry's id in a form whose alphabetical order is the order in which entries were written."""
    ms, _, number = entry_id.partition("-")
    return f"{int(ms):020d}.{int(number):020d}"


def newest_of(name: str) -> str:
    """The id of the last entry of a segment."""
    ms, number = name.partition("-")[0].split(".")
    return f"{int(ms)}-{int(number)}"


class LedgerDamaged(ArchiveDamaged):
    """A part of the books is gone or damaged."""

    advice = "A part of the ledger is gone or damaged; the log says which. Restore it from a copy."


class LedgerArchive:
    """Reads and writes segments. Every method raises StoreUnavailable where the object store can not be reached."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    async def read(self, name: str) -> list[Row]:
        """The entries of a segment. Raises LedgerDamaged where it is gone or not what was written."""
        data = await fetched(self._objects, _path(name))
        if data is None:
            raise LedgerDamaged(f"a part of the ledger is missing in the document store: {_path(name)}")
        try:
            rows = [_row(orjson.loads(line)) for line in gzip.decompress(data).splitlines()]
        except (OSError, EOFError, ValueError, AttributeError, zlib.error) as error:
            raise LedgerDamaged(f"a part of the ledger is damaged: {_path(name)}") from error
        # An object that lost its content to a power cut can be read, too.
        if len(rows) != SEGMENT_ENTRIES or _name(rows) != name:
            raise LedgerDamaged(f"a part of the ledger is not what was written: {_path(name)}")
        return rows

    async def write(self, rows: list[Row]) -> str:
        """Keep entries durably and read them back; the segment's name. Raises StoreUnavailable where they differ."""
        name = _name(rows)
        lines = [
            orjson.dumps({"id": entry_id.decode()} | {f.decode(): v.decode() for f, v in fields.items()})
            for entry_id, fields in rows
        ]
        data = gzip.compress(b"\n".join(lines), mtime=0)
        if not await kept(self._objects, _path(name), data):
            raise StoreUnavailable("the archive does not hold what was written")
        return name


class LedgerArchiver:
    """Moves the oldest entries, a segment in a step. `after_s`: the least age of the youngest that goes, in seconds."""

    def __init__(self, store: OrderStore, archive: LedgerArchive, after_s: float) -> None:
        self._store = store
        self._archive = archive
        self._after_ms = int(after_s * 1000)

    async def run_once(self) -> bool:
        """One step; True where a segment went, and more may. Raises StoreUnavailable."""
        scripts = self._store.scripts
        rows: list[Row] = await asked(scripts.redis.xrange(keys.LEDGER, count=SEGMENT_ENTRIES))
        if len(rows) < SEGMENT_ENTRIES:
            return False
        now_ms = (await self._store.situation()).now_ms
        # What is dated after now is older than what follows it: the clock was set back since.
        if any(now_ms - self._after_ms < int(fields[b"at"]) <= now_ms for _, fields in rows):
            return False
        name = await self._archive.write(rows)
        first, last = rows[0][0], rows[-1][0]
        code, *_ = await asked(scripts.run("ledger_archive", first, last, len(rows), name))
        if code == Code.OK:
            log.info("ledger archived", entries=len(rows))
        return bool(code == Code.OK)


def _row(line: dict[str, str]) -> Row:
    fields = {field.encode(): value.encode() for field, value in line.items()}
    return fields.pop(b"id", b""), fields


def _name(rows: list[Row]) -> str:
    return f"{sortable(rows[-1][0].decode())}-{sortable(rows[0][0].decode())}"


def _path(name: str) -> str:
    month = datetime.fromtimestamp(int(name[:20]) / 1000, UTC).strftime("%Y-%m")
    return f"{ROOT}/{month}/{name}.jsonl.gz"
