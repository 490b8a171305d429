"""One `antrean up` per data dir: a lock that the kernel keeps.

The children inherit the lock's descriptor, so it is held until the last of them is gone. After a SIGKILL of `up`, a
new one sees the dead pid and knows that it only has to wait. So no two Valkeys ever write the same file.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import time
from pathlib import Path

LOCK_NAME = "up.lock"
_POLL_S = 0.05


class AlreadyRunning(Exception):
    """Another `antrean up` has this data dir. The message says which and what to do."""


class InstanceLock:
    """The lock of one data dir. `fd` is to be passed on to every child; a context manager lets go of it."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    async def acquire(cls, data_dir: Path, *, patience_s: float) -> InstanceLock:
        """Take the lock and write our pid into it.

        Where a living `up` holds it: AlreadyRunning at once. Where that one is dead and its children are still
        on their way out: waits for them, at most `patience_s` seconds, then AlreadyRunning. OSError where the
        data dir can not be written.
        """
        path = data_dir / LOCK_NAME
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            await _take(fd, path, patience_s)
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except BaseException:
            # A cancelled wait too: nobody else would close the file, and with it let go of the lock.
            os.close(fd)
            raise
        return cls(fd)

    def __enter__(self) -> InstanceLock:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go; children that still live keep it held."""
        os.close(self.fd)


async def _take(fd: int, path: Path, patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
            if holder.isdigit() and _lives(int(holder)):
                raise AlreadyRunning(
                    f"antrean up is already running on {path.parent} (process {holder}). "
                    "Stop it first, or give this one its own ANTREAN_DATA_DIR and ANTREAN_HTTP_PORT."
                ) from None
            if time.monotonic() >= deadline:
                raise AlreadyRunning(
                    f"Processes of an earlier antrean up (process {holder or 'unknown'}, which is gone) still hold "
                    f"{path}. `fuser {path}` names them; stop them and start again."
                ) from None
            await asyncio.sleep(_POLL_S)
        else:
            return


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
