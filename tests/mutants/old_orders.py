"""Faults in moving what is old to the archive: name, file under src/antrean, what is there, what takes its place."""

from __future__ import annotations

SUITES = (("tests/test_archive.py", "tests/test_archive_erasure.py"), ("tests/test_ledger_archive.py",))

FAULTS = (
    (
        "an order that changed since it was archived leaves Redis",
        "orders/lua/archive.lua",
        " and o.ver == ARGV[i + 1]",
        "",
    ),
    (
        "what was archived is not read back",
        "orders/archive.py",
        "        if not await kept(self.objects, segment.path, data):",
        "        await kept(self.objects, segment.path, data)\n        if False:",
    ),
    (
        "a refused order is archived while its money is owed",
        "orders/archiver.py",
        '    return state is not State.REJECTED or b"1" in (record.get(b"refunded"), record.get(b"given"))',
        "    return True",
    ),
    (
        "an order is archived before its time",
        "orders/archiver.py",
        ' or int(record.get(b"upd", record[b"made"])) > cutoff_ms',
        "",
    ),
    (
        "entries of the ledger leave Redis though they were not read back",
        "orders/ledger_archive.py",
        "        if not await kept(self._objects, _path(name), data):",
        "        await kept(self._objects, _path(name), data)\n        if False:",
    ),
    (
        "entries of the ledger that another has moved are taken away again",
        "orders/lua/ledger_archive.lua",
        "if not oldest or oldest[1] ~= first then return {CODE.STATE} end",
        "",
    ),
    (
        "a gap in the ledger is passed over",
        "orders/ledger_archive.py",
        '            raise LedgerDamaged(f"a part of the ledger is missing in the document store: {_path(name)}")',
        "            return []",
    ),
    (
        "an emptied part of the ledger passes for a whole one",
        "orders/ledger_archive.py",
        "        if len(rows) != SEGMENT_ENTRIES or _name(rows) != name:",
        "        if False:",
    ),
)
