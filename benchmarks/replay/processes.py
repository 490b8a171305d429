"""The processes of one run: started in a folder of its own, found, killed, and all ended with it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import psutil

from antrean.config.settings import Settings

#: Longest orderly end of a process, in seconds.
STOP_S = 40


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


class Family:
    """What was started here. `folder` also holds one log for all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_path = folder / "output.log"
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(
        self, argv: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a program with our environment, free of settings from outside, and `env`."""
        own = {f"ANTREAN_{name.upper()}" for name in Settings.model_fields}
        clean = {k: v for k, v in os.environ.items() if k not in own}
        with self.log_path.open("ab") as log:
            process = subprocess.Popen(
                argv, env=clean | dict(env or {}), stdout=log, stderr=subprocess.STDOUT, cwd=self.folder
            )
        self.processes.append(process)
        return process

    def antrean(self, *argv: str, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a command of ours."""
        return self.start([sys.executable, "-m", "antrean", *argv], env)

    def stop(self) -> None:
        """SIGTERM in the reverse order of starting, and wait; what is left after STOP_S is killed with its children."""
        for process in reversed(self.processes):
            left = children(process.pid)
            if process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_S)
                process.kill()
                process.wait(STOP_S)
            for child in left:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()


def children(pid: int) -> list[psutil.Process]:
    """All below a process; none where it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).children(recursive=True)
    return []


def kill_child(pid: int, word: str) -> bool:
    """SIGKILL the first child that runs the command `word`, or the server of that name; False where there is none."""
    for child in children(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            if any(part == word or f"{word}-server" in part for part in child.cmdline()):
                child.send_signal(signal.SIGKILL)
                return True
    return False


@contextlib.contextmanager
def family() -> Iterator[Family]:
    """A family in a new folder; both are gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-replay-", dir="/tmp"))
    made = Family(folder)
    try:
        yield made
    except BaseException:  # an interrupted run tells how far it came, too
        print(made.log_path.read_text(errors="replace")[-6000:], file=sys.stderr)
        raise
    finally:
        made.stop()
        shutil.rmtree(folder, ignore_errors=True)
