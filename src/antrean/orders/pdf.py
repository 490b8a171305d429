"""Checks of PDFs, each in a bounded process of its own kind (`pdf_worker.py`), a few of them kept warm.

Refused are: what is no PDF, encrypted ones (with an empty password too), damaged or cut-off ones (nothing is
repaired on the quiet: a signature would be put on a guess), no pages or too many, absurd page sizes, and active
content: JavaScript, program starts, XFA forms, attached files. Refused and not stripped, since the paper that is
stamped must be the paper that was brought.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import sys
from dataclasses import dataclass, field
from typing import Any

import orjson
import structlog

from antrean.orders.placement import PageRun

log = structlog.get_logger(__name__)

#: A process is replaced after this many PDFs, so that what it leaks is bounded.
JOBS_MAX = 500
#: Bytes of one answer: a line for each change of page size of at most some thousand pages, or a page's picture.
ANSWER_BYTES_MAX = 4 * 1024 * 1024
#: What a process that does not end by itself is given before it is killed, in seconds.
END_S = 1.0


class PdfRefused(Exception):
    """A PDF that is not taken. `problem` is a stable name such as `pdf-encrypted`."""

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem
        self.message = message


class PdfChecksBusy(Exception):
    """More PDFs wait to be checked than may, or no process could be started. Nothing is said of this one."""


class StampedUnsound(ValueError):
    """A stamped PDF is not what it should be. The message says why."""


@dataclass(frozen=True, slots=True)
class PagePicture:
    """A page as PNG; `rotation`: how the PDF turns it for the reader, in degrees clockwise."""

    png: bytes = field(repr=False)
    rotation: int


@dataclass(slots=True)
class _Process:
    """One warm process, at one PDF at a time."""

    process: asyncio.subprocess.Process
    jobs: int = 0

    async def ask(self, request: dict[str, Any], parts: list[bytes]) -> dict[str, Any]:
        """Raises OSError or ValueError where the process does not answer: it is then of no more use."""
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(orjson.dumps(request | {"sizes": [len(part) for part in parts]}) + b"\n")
        for part in parts:
            stdin.write(part)
        await stdin.drain()
        line = await stdout.readline()
        if not line.endswith(b"\n"):
            raise OSError("the process has ended")
        self.jobs += 1
        answer: dict[str, Any] = orjson.loads(line)
        return answer

    async def end(self) -> None:
        """Let it go; killed where it is busy or does not listen."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(END_S if self.jobs else 0):
                await self.process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()


class PdfChecker:
    """A few processes that check PDFs. Use as an async context manager, or call `aclose`."""

    def __init__(
        self, pages_max: int = 1000, processes: int = 2, timeout_s: float = 20, waiting_max: int = 64
    ) -> None:
        """`timeout_s`: for one PDF once it is its turn; `waiting_max`: PDFs that wait or are being checked."""
        self._pages_max = pages_max
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(processes)
        self._idle: list[_Process] = []
        self._waiting = 0
        self._waiting_max = waiting_max

    async def __aenter__(self) -> PdfChecker:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    @property
    def pids(self) -> list[int]:
        """Processes that are warm and idle."""
        return [process.process.pid for process in self._idle]

    async def inspect(self, pdf: bytes) -> tuple[PageRun, ...]:
        """The pages of a PDF that may be stamped, as runs. Raises PdfRefused, PdfChecksBusy."""
        answer = await self._ask({"op": "inspect", "pages_max": self._pages_max}, [pdf])
        return tuple(PageRun(int(row[0]), *row[1:]) for row in answer["runs"])

    async def draw(self, pdf: bytes, page: int, width_px: int) -> PagePicture:
        """A page (from 1) of a PDF that was inspected, as it is seen. Raises PdfRefused, PdfChecksBusy."""
        answer = await self._ask({"op": "draw", "page": page, "width_px": width_px}, [pdf])
        return PagePicture(base64.b64decode(answer["png"]), int(answer["rotation"]))

    async def verify_stamped(self, original: bytes, stamped: bytes, page: int) -> str:
        """SHA-256 of a stamped PDF that opens, has the original's pages and shows something new on `page` (from 1).

        Raises StampedUnsound; PdfChecksBusy, which is an OSError to a caller that repeats.
        """
        try:
            await self._ask({"op": "verify", "page": page}, [original, stamped])
        except PdfRefused as refused:
            raise StampedUnsound(refused.message) from None
        except PdfChecksBusy as busy:
            raise OSError(str(busy)) from busy
        return await asyncio.to_thread(lambda: hashlib.sha256(stamped).hexdigest())

    async def aclose(self) -> None:
        """End the idle processes; those at work end with their PDF."""
        idle, self._idle = self._idle, []
        await asyncio.gather(*(process.end() for process in idle))

    async def _ask(self, request: dict[str, Any], parts: list[bytes]) -> dict[str, Any]:
        if self._waiting >= self._waiting_max:
            raise PdfChecksBusy("too many PDFs wait to be checked")
        self._waiting += 1
        try:
            async with self._slots:
                answer = await self._checked(request, parts)
        finally:
            self._waiting -= 1
        if "problem" in answer:
            raise PdfRefused(answer["problem"], answer["message"])
        return answer

    async def _checked(self, request: dict[str, Any], parts: list[bytes]) -> dict[str, Any]:
        process = await self._take()
        answer: dict[str, Any] | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await process.ask(request, parts)
        except (OSError, ValueError, TimeoutError) as error:
            # It hung, crashed or ran into a bound on this PDF: the PDF is at fault, the next one is not.
            log.warning("a PDF was too much for its checker", error=type(error).__name__)
            return {
                "problem": "pdf-too-complex",
                "message": "The PDF needs more time or memory than is given to it.",
            }
        finally:
            if answer is None or process.jobs >= JOBS_MAX:
                process.jobs = 0 if answer is None else process.jobs
                await process.end()
            else:
                self._idle.append(process)
        return answer

    async def _take(self) -> _Process:
        while self._idle:
            process = self._idle.pop()
            if process.process.returncode is None:
                return process
            await process.end()
        try:
            started = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # a file of the folder that we were started in is no module of ours
                "-m",
                "antrean.orders.pdf_worker",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
                limit=ANSWER_BYTES_MAX,
                env={name: value for name, value in os.environ.items() if not _is_setting(name)},
            )
        except OSError as error:
            raise PdfChecksBusy("no process to check PDFs could be started") from error
        process = _Process(started)
        assert started.stdout is not None
        greeting = b""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    greeting = await started.stdout.readline()
        finally:
            # Also where the one who waits for it goes away.
            if not greeting:
                await process.end()
        if not greeting:
            raise PdfChecksBusy("the process to check PDFs does not start")
        return process


def _is_setting(name: str) -> bool:
    """Settings and cloud credentials stay with us."""
    return name.startswith(("ANTREAN_", "AWS_"))
