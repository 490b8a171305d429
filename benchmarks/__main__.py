"""`make bench`: how fast, beside the plainest things that do the same, in one run; writes docs/benchmarks.md.

    python -m benchmarks [--quick] [accept drain capacity workers peers status memory startup]

Everything runs on this machine's cores, client included; compare the ratios, not the numbers of two machines.
A quick run prints its table and writes nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.accept import accept
from benchmarks.drain import capacity, drain, workers
from benchmarks.measure import Answer, Row
from benchmarks.memory import memory
from benchmarks.peers.question import peers
from benchmarks.startup import startup
from benchmarks.status import status

Ask = Callable[[bool], Coroutine[None, None, Answer]]
#: Each question and the longest it may take, in seconds. One that fails or takes longer spoils no other.
QUESTIONS: dict[str, tuple[Ask, float]] = {
    "accept": (accept, 150),
    "drain": (drain, 120),
    "capacity": (capacity, 140),
    "workers": (workers, 80),
    "peers": (peers, 200),
    "status": (status, 80),
    "memory": (memory, 240),
    "startup": (startup, 50),
}
DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "benchmarks.md"


def _begin(name: str) -> str:
    return f"<!-- {name}: written by make bench -->"


def _end(name: str) -> str:
    return f"<!-- end of {name} -->"


def _section(name: str, answer: Answer) -> str:
    lines = [
        _begin(name),
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{platform.system()}; the load average of the last minute was {os.getloadavg()[0]:.1f}.",
        "",
        "| what | seen | beside | ratio |",
        "|---|---|---|---|",
        *(f"| {row.what} | {row.seen} | {row.beside} | {row.ratio} |" for row in answer.rows),
        *(f"\n![{picture}](pictures/bench-{picture}.svg)" for picture in answer.pictures),
        _end(name),
    ]
    return "\n".join(lines)


def _write(name: str, answer: Answer) -> None:
    for picture, svg in answer.pictures.items():
        (DOCS / "pictures" / f"bench-{picture}.svg").write_text(svg)
    text = PAGE.read_text()
    start, end = text.index(_begin(name)), text.index(_end(name)) + len(_end(name))
    PAGE.write_text(text[:start] + _section(name, answer) + text[end:])


async def _asked(name: str, quick: bool) -> Answer:
    ask, bound_s = QUESTIONS[name]
    async with asyncio.timeout(bound_s):
        return await ask(quick)


def main() -> int:
    """Measure what is asked for, or all; 1 where a question had no answer."""
    # Asked to end, it ends what it started as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("question", nargs="*", help=f"of {', '.join(QUESTIONS)}; none: all")
    parser.add_argument("--quick", action="store_true", help="only try it out, and write nothing")
    asked = parser.parse_args()
    if unknown := sorted(set(asked.question) - QUESTIONS.keys()):
        parser.error(f"no question is called {', '.join(unknown)}")
    quick, wanted = asked.quick, asked.question or list(QUESTIONS)
    console = Console(width=150)
    failed = False
    for name in wanted:
        started = time.monotonic()
        try:
            answer = asyncio.run(_asked(name, quick))
        except TimeoutError:
            answer = Answer([Row("**FAILED, not measured**", f"took longer than {QUESTIONS[name][1]:.0f} s")])
            failed = True
        except Exception as error:  # noqa: BLE001 - the other questions are still to be asked
            console.print_exception()
            answer = Answer([Row("**FAILED, not measured**", f"{type(error).__name__}: {error}"[:200])])
            failed = True
        table = Table("what", "seen", "beside", "ratio", box=None, title=name)
        for row in answer.rows:
            table.add_row(row.what, row.seen, row.beside, row.ratio)
        console.print(table, f"({time.monotonic() - started:.0f} s)")
        if not quick:
            _write(name, answer)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
