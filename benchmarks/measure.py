"""What every measurement shares: calls at a fixed concurrency, quantiles, and rows of the table."""

from __future__ import annotations

import asyncio
import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: what was measured, what was seen, and beside what."""

    what: str
    seen: str
    beside: str = ""
    ratio: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a question found. `pictures`: SVG by file name, without its ending; the title is in it."""

    rows: list[Row]
    pictures: dict[str, str] = field(default_factory=dict)


@contextmanager
def no_collections() -> Iterator[None]:
    """Keeps the garbage collector out of a measurement that is short: with thousands of calls under way one full
    collection of the client took 70 ms, which counted as the server's."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def timed(
    count: int, at_once: int, call: Callable[[int], Awaitable[None]]
) -> tuple[float, list[float]]:
    """Run `call` `count` times, `at_once` at a time; answers calls per second and the latencies in seconds."""
    numbers = iter(range(count))
    latencies: list[float] = []

    async def lane() -> None:
        for number in numbers:
            started = time.perf_counter()
            await call(number)
            latencies.append(time.perf_counter() - started)

    started = time.perf_counter()
    await asyncio.gather(*(lane() for _ in range(at_once)))
    return count / (time.perf_counter() - started), latencies


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Median, and the least and greatest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def latency(latencies_s: Sequence[float]) -> str:
    """p50, p99 and p99.9 in milliseconds."""
    cuts = statistics.quantiles(latencies_s, n=1000)
    return " / ".join(f"{1000 * cuts[n - 1]:.1f}" for n in (500, 990, 999))
