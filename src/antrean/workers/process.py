"""One worker process: the concurrent RQ worker and the keeper loops beside it, from parts that the wiring built."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import structlog

from antrean.workers.keeper import Keeper
from antrean.workers.rq_worker import ConcurrentWorker

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What a worker process runs, and how it lets go of its connections."""

    rq_worker: ConcurrentWorker
    keeper: Keeper
    drain_s: float
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)


async def work(parts: WorkerParts, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Run until `stop` is set; then end running turns within the drain bound, and close everything."""
    keeper_stop = asyncio.Event()
    keeper = asyncio.create_task(parts.keeper.run(keeper_stop))
    worker = asyncio.create_task(parts.rq_worker.serve(stop, parts.drain_s))
    try:
        ready()
        await asyncio.wait({keeper, worker}, return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        # Signs of life go on while turns end: their claims must not expire meanwhile.
        await worker
    finally:
        stop.set()
        keeper_stop.set()
        await asyncio.gather(keeper, worker, return_exceptions=True)
        for close in parts.closers:
            await close()
    if not keeper.cancelled() and (error := keeper.exception()) is not None:
        raise error


def stop_on_signals(stop: asyncio.Event) -> None:
    """SIGTERM and SIGINT set `stop`."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
