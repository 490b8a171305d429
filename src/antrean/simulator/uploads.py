"""Files that the cloud variant holds between upload, stamp and download; in memory and bounded."""

from __future__ import annotations

import secrets
from typing import Final

#: Files and bytes on one shelf; the oldest make room.
FILES_MAX: Final = 500
BYTES_MAX: Final = 256 * 1024 * 1024


class Shelf:
    """Files by an id that cannot be guessed."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._files: dict[str, bytes] = {}
        self._size_bytes = 0

    def put(self, content: bytes) -> str:
        """Keep a file and name it."""
        while self._files and (len(self._files) >= FILES_MAX or self._size_bytes + len(content) > BYTES_MAX):
            self._size_bytes -= len(self._files.pop(next(iter(self._files))))
        file_id = f"{self._prefix}{secrets.token_hex(16)}"
        self._files[file_id] = content
        self._size_bytes += len(content)
        return file_id

    def get(self, file_id: str) -> bytes | None:
        """The file, or None where it is not (or no longer) there."""
        return self._files.get(file_id)

    def clear(self) -> None:
        """Throw all away."""
        self._files.clear()
        self._size_bytes = 0
