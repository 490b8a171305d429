"""The folder of a local document store: files that are durable and whole, whenever a process is killed."""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import threading
import time
from pathlib import Path, PurePath

import structlog

log = structlog.get_logger(__name__)

#: The folder in which a file is written before it gets its name. What is still there after LEFTOVER_S seconds is of a
#: process that was killed; the wait is long, so that a clock which is wrong does no harm.
STAGED = ".staged"
LEFTOVER_S = 24 * 3600


class DocumentFolder:
    """Blocks, so it is for threads. Every method raises OSError."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._names: dict[Path, _Names] = {}

    def keep(self, path: str, data: bytes) -> None:
        """Return when the file and its folders are synced: a reader finds all of it, or what was there before."""
        file, staged = self._root / path, self._area(path) / STAGED / secrets.token_hex(10)
        for each in (file.parent, staged.parent):
            each.mkdir(parents=True, exist_ok=True)
        try:
            staged.write_bytes(data)
            _fsync(staged)
            staged.replace(file)
        except OSError:
            staged.unlink(missing_ok=True)
            raise
        self._names.setdefault(file.parent, _Names(file.parent, self._root)).sync()

    def tidy(self) -> None:
        """Remove what processes that were killed had begun to keep: nobody else would find it."""
        removed = 0
        for staged in (*self._root.glob(f"{STAGED}/*"), *self._root.glob(f"*/{STAGED}/*")):
            with contextlib.suppress(OSError):  # gone meanwhile, or its disk is away
                if staged.stat().st_mtime < time.time() - LEFTOVER_S:
                    staged.unlink()
                    removed += 1
        if removed:
            log.info("leftovers removed", files=removed)

    def _area(self, path: str) -> Path:
        """The folder directly in the root that the file belongs to: each of these may have a disk of its own."""
        first, *below = PurePath(path).parts
        return self._root / first if below else self._root


class _Names:
    """Makes the names in a folder durable. Threads that come while one syncs share the next sync."""

    def __init__(self, path: Path, root: Path) -> None:
        self._path = path
        #: The folders above it: they may have been made just now, as it may.
        self._above = [above for above in path.parents if above.is_relative_to(root)]
        self._turn = threading.Lock()
        self._turns = itertools.count(1)
        self._named = 0
        self._synced = 0

    def sync(self) -> None:
        """Return when a sync that began after this call is over. The first sync covers the folders above as well."""
        mine = self._named = next(self._turns)
        with self._turn:
            if self._synced >= mine:
                return
            upto = self._named
            _fsync(self._path)
            if not self._synced:
                for above in self._above:
                    _fsync(above)
            self._synced = upto


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
