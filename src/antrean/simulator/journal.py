"""The books on disk, so that a simulator started again knows what it sold. One JSON object a line."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson


class Journal:
    """An append-only file of one process. Written at once, not synced: it outlives the process, not the machine.

    Raises OSError where the file cannot be opened, and BlockingIOError where another simulator holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise
        self.is_new = os.fstat(self._fd).st_size == 0

    def entries(self) -> Iterator[dict[str, Any]]:
        """Every whole entry; a torn last line, of a process killed while writing, is cut off."""
        whole_bytes = 0
        with self._path.open("rb") as lines:
            for line in lines:
                if not line.endswith(b"\n"):
                    break
                whole_bytes += len(line)
                yield orjson.loads(line)
        os.ftruncate(self._fd, whole_bytes)
        self.is_new = whole_bytes == 0

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry. Raises OSError."""
        line = orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE)
        size_bytes = os.fstat(self._fd).st_size
        if os.write(self._fd, line) != len(line):
            os.ftruncate(self._fd, size_bytes)
            raise OSError("the simulator's books could not be written in full")

    def restart(self) -> None:
        """Forget everything. Raises OSError."""
        os.ftruncate(self._fd, 0)

    def close(self) -> None:
        """Close the file and let another process have it."""
        os.close(self._fd)
