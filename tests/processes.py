"""Small programs to supervise, and waiting for what they do."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from antrean.config.supervisor import READY_FD, ChildSpec

#: Nothing here takes longer than this, in seconds.
PATIENCE_S = 10.0


async def until(condition: Callable[[], object], what: str) -> None:
    """Return when the condition holds. Raises TimeoutError naming `what` after PATIENCE_S seconds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(what)
        await asyncio.sleep(0.01)


def lives(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), Path(f"/proc/{pid}/stat").open() as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"
    return False


READY = "import os, sys; os.write(int(sys.argv[1]), b'ready\\n');"
#: Ends, and not before its first word was read: the reader hangs up then.
UNTIL_HEARD = "exec('try:\\n while True: os.write(int(sys.argv[1]), b\".\")\\nexcept BrokenPipeError: pass')"
SLEEP = "import time; time.sleep(60)"


def python(
    name: str, code: str, *args: str, ready_timeout_s: float = PATIENCE_S, stop_timeout_s: float = PATIENCE_S
) -> ChildSpec:
    """A child that runs `code`; its first argument is the ready descriptor."""
    argv = (sys.executable, "-I", "-S", "-c", code, READY_FD, *args)
    return ChildSpec(name, argv, ready_timeout_s=ready_timeout_s, stop_timeout_s=stop_timeout_s)
