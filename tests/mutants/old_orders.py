"""Faults in moving old orders to the archive: name, file under src/antrean, what is there, what takes its place."""

from __future__ import annotations

SUITES = (("tests/test_archive.py",),)

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
        "            if written != data:",
        "            if False:",
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
        ' or int(record[b"upd"]) > cutoff_ms',
        "",
    ),
)
