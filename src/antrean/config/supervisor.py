"""Child processes: started, waited for until ready, replaced when they die, stopped in order.

Each child runs in a session of its own, so that Ctrl-C in the terminal reaches only the supervisor, which then stops
the children one stage after another. If the supervisor itself is killed, the kernel sends every child a SIGTERM
(PR_SET_PDEATHSIG), so that none lingers.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import structlog

log = structlog.get_logger(__name__)

#: Pause before a dead child is replaced: doubled at each death, back to the first after a life this long.
BACKOFF_FIRST_S = 0.2
BACKOFF_MAX_S = 10.0
BACKOFF_RESET_S = 30.0

#: What a child writes to its `--ready-fd` when it can do its work.
READY_LINE = b"ready\n"
#: Stands in a child's arguments for the number of that descriptor.
READY_FD = "{ready_fd}"

#: When memory runs out the kernel kills the process with the highest score: what a child's is raised by, and the
#: maximum.
OOM_STEP = 200
_OOM_MAX = 1000

#: A child that ends closes its descriptors a moment before its exit code is known.
_LAST_WORD_S = 0.5
#: What SIGKILL needs to take effect, at most.
_KILL_WAIT_S = 5.0

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class ChildFailed(Exception):
    """A child that did not get ready. `name` says which; the message what was seen."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True)
class ChildSpec:
    """What to start and how to tell that it is ready.

    `argv` may hold READY_FD: then the child is ready when it has written READY_LINE there; otherwise when
    `wait_ready` returns. `again`: what its successors are told as well. `prepare` runs before each
    start. `output_path`: a file that its output is appended to (None: ours). `stop_timeout_s`: seconds from SIGTERM to
    SIGKILL. `spared`: when memory runs out, the kernel is to kill the others first.
    """

    name: str
    argv: Sequence[str]
    again: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    wait_ready: Callable[[], Awaitable[None]] | None = None
    prepare: Callable[[], None] | None = None
    output_path: Path | None = None
    ready_timeout_s: float = 60.0
    stop_timeout_s: float = 20.0
    spared: bool = False


def _bind_to(parent_pid: int) -> Callable[[], None]:
    """What runs in a child between fork and exec: it gets a SIGTERM when its parent is gone, for whatever reason."""

    def bind() -> None:
        if _libc is not None:
            _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent_pid:  # it went before the line above
            os._exit(1)

    return bind


def _kill_sooner(pid: int) -> None:
    """Let the kernel kill this child before us and before `spared` ones. It inherited our score."""
    score = Path(f"/proc/{pid}/oom_score_adj")
    with contextlib.suppress(OSError):
        score.write_text(str(min(int(score.read_text()) + OOM_STEP, _OOM_MAX)))


class Child:
    """One child and its successors. `pid` and `starts` tell of the present one."""

    def __init__(self, spec: ChildSpec, inherited_fds: Sequence[int] = ()) -> None:
        self.spec = spec
        self.starts = 0
        self._inherited_fds = tuple(inherited_fds)
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()

    @property
    def pid(self) -> int | None:
        """Of the process that lives, None between two."""
        alive = self._process is not None and self._process.returncode is None
        return self._process.pid if alive and self._process else None

    async def start(self) -> None:
        """Start it and return when it is ready. Raises ChildFailed; then nothing of it is left running."""
        if self.spec.prepare is not None:
            self.spec.prepare()
        process, ready_fd = await self._spawn()
        self._process = process
        self.starts += 1
        if self._stopping.is_set():  # stop() came while it was being started
            self._signal(signal.SIGTERM)
        ready = asyncio.ensure_future(self._wait_ready(ready_fd))
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait(
                {ready, ended}, timeout=self.spec.ready_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if ready.done() and ready.exception():
                await asyncio.wait({ended}, timeout=_LAST_WORD_S)  # its exit code tells more
            elif ended.done():
                await asyncio.wait({ready}, timeout=_LAST_WORD_S)  # it may have been ready before
            if ended.done() and (not ready.done() or ready.exception()):
                raise ChildFailed(self.spec.name, f"it ended with code {ended.result()} before it was ready")
            if not ready.done():
                raise ChildFailed(self.spec.name, f"it was not ready within {self.spec.ready_timeout_s:g} s")
            if failure := ready.exception():
                raise ChildFailed(self.spec.name, f"it did not get ready: {failure}") from failure
        except BaseException:
            if not ended.done():
                self._signal(signal.SIGKILL)
                await ended
            raise
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)
            ended.cancel()
            await asyncio.gather(ended, return_exceptions=True)
            if ready_fd is not None:
                os.close(ready_fd)

    async def keep(self) -> None:
        """Replace it whenever it dies, until `stop`. To be run after `start`."""
        backoff_s = BACKOFF_FIRST_S
        while self._process is not None:
            began = time.monotonic()
            code = await self._process.wait()
            lived_s = time.monotonic() - began
            if lived_s >= BACKOFF_RESET_S:
                backoff_s = BACKOFF_FIRST_S
            if not self._stopping.is_set():
                log.error("child_died", child=self.spec.name, code=code, lived_s=round(lived_s, 1))
            backoff_s = await self._replace(backoff_s)
            if self._stopping.is_set():
                return

    async def _replace(self, backoff_s: float) -> float:
        """Start it again, after a pause, until that works or it is to stop. Returns the next pause."""
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff_s)
                break
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)
            try:
                await self.start()
            except (ChildFailed, OSError) as error:
                if not self._stopping.is_set():
                    log.error(
                        "child_not_ready", child=self.spec.name, reason=str(error), again_in_s=backoff_s
                    )
            else:
                log.info("child_replaced", child=self.spec.name, pid=self.pid)
                break
        return backoff_s

    async def stop(self, *, at_once: asyncio.Event) -> None:
        """SIGTERM, and SIGKILL after `stop_timeout_s` or as soon as `at_once` is set. Returns when it is gone."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        hurry = asyncio.ensure_future(at_once.wait())
        ended = asyncio.ensure_future(process.wait())
        try:
            await asyncio.wait(
                {hurry, ended}, timeout=self.spec.stop_timeout_s, return_when=asyncio.FIRST_COMPLETED
            )
            if not ended.done():
                log.warning("child_killed", child=self.spec.name, after_s=self.spec.stop_timeout_s)
                self._signal(signal.SIGKILL)
                await asyncio.wait({ended}, timeout=_KILL_WAIT_S)
        finally:
            hurry.cancel()
            ended.cancel()
            await asyncio.gather(hurry, ended, return_exceptions=True)

    def _signal(self, signum: signal.Signals) -> None:
        """SIGTERM to the process itself, which knows how to stop; SIGKILL to all of its session."""
        if self.pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if signum is signal.SIGKILL:
                os.killpg(self.pid, signum)
            else:
                os.kill(self.pid, signum)

    async def _spawn(self) -> tuple[asyncio.subprocess.Process, int | None]:
        ready_fd: int | None = None
        passed = self._inherited_fds
        argv = [*self.spec.argv, *(self.spec.again if self.starts else ())]
        with contextlib.ExitStack() as ours:
            if READY_FD in argv:
                ready_fd, child_end = os.pipe()
                ours.callback(os.close, child_end)
                passed = (*passed, child_end)
                argv = [str(child_end) if part == READY_FD else part for part in argv]
            output: BinaryIO | None = None
            if self.spec.output_path is not None:
                output = ours.enter_context(self.spec.output_path.open("ab"))
            try:
                process = await asyncio.create_subprocess_exec(
                    *argv,
                    env={**os.environ, **self.spec.env},
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=passed,
                    start_new_session=True,
                    preexec_fn=_bind_to(os.getpid()),
                )
            except OSError as error:
                if ready_fd is not None:
                    os.close(ready_fd)
                raise ChildFailed(self.spec.name, f"it can not be started: {error}") from error
        if not self.spec.spared:
            _kill_sooner(process.pid)
        return process, ready_fd

    async def _wait_ready(self, ready_fd: int | None) -> None:
        if ready_fd is not None:
            await _read_ready_line(ready_fd)
        if self.spec.wait_ready is not None:
            await self.spec.wait_ready()


async def _read_ready_line(fd: int) -> None:
    """Return when READY_LINE has come. Raises EOFError where the child closes its end without it."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(fd, readable.set)
    try:
        await readable.wait()
        if os.read(fd, len(READY_LINE)) != READY_LINE:
            raise EOFError("it closed its ready descriptor without a word")
    finally:
        loop.remove_reader(fd)


class Supervisor:
    """Keeps a set of children; `stages` are stopped one after another, the children of a stage together."""

    def __init__(self, *, inherited_fds: Sequence[int] = ()) -> None:
        self._inherited_fds = tuple(inherited_fds)
        self._children: list[Child] = []
        self._keepers: dict[Child, asyncio.Task[None]] = {}

    async def start(self, spec: ChildSpec) -> Child:
        """Start a child, wait until it is ready and keep it from then on. Raises ChildFailed, OSError."""
        child = Child(spec, self._inherited_fds)
        self._children.append(child)
        await child.start()
        self._keepers[child] = asyncio.create_task(child.keep(), name=f"keep {spec.name}")
        return child

    async def stop(self, stages: Sequence[Callable[[str], bool]], *, at_once: asyncio.Event) -> None:
        """Stop all children: those whose name the first stage takes, then the next; what is left comes last.

        `at_once`: when set, what still lives is killed without waiting.
        """
        left = list(self._children)
        for takes in stages:
            stage = [child for child in left if takes(child.spec.name)]
            left = [child for child in left if child not in stage]
            await asyncio.gather(*(self._stop(child, at_once) for child in stage))
        await asyncio.gather(*(self._stop(child, at_once) for child in left))

    async def _stop(self, child: Child, at_once: asyncio.Event) -> None:
        keeper = self._keepers.pop(child, None)
        await child.stop(at_once=at_once)
        if keeper is not None:
            await keeper
