"""The simulated upstream as one object: its account, tokens, faults and counters, and the clock they share."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from aiohttp import web

from antrean.simulator.account import Account
from antrean.simulator.calls import CallBook
from antrean.simulator.faults import Drawn, FaultTable
from antrean.simulator.journal import Journal
from antrean.simulator.modes import Modes
from antrean.simulator.tokens import TokenDesk
from antrean.simulator.uploads import Shelf

#: Threads that stamp. PDF work holds the interpreter lock for much of its time, so more would not be faster.
STAMP_THREADS: Final = 2
#: Stamps waiting or at work; above it the adapter answers that it is busy.
STAMPS_MAX: Final = 256

T = TypeVar("T")


@dataclass(frozen=True)
class SimulatorConfig:
    """What a simulator is started with.

    quota: stamps on the account. seed: of everything drawn by lot. adapter_root: the folder shared with the
    on-premise adapter (None: no such adapter). adapter_remote_root: the path by which requests name that folder
    (empty: the same). latency_s: time before any call is carried out. list_lag_s: how long a sale stays off the
    SN list. books_path: a file in which the books outlive the process (None: in memory only).
    """

    user: str
    password: str = field(repr=False)
    quota: int = 1_000_000
    seed: int = 0
    adapter_root: Path | None = None
    adapter_remote_root: str = ""
    latency_s: float = 0.0
    token_ttl_s: float = 86_400
    list_lag_s: float = 0.0
    price_idr: int = 10_000
    books_path: Path | None = None


class Simulator:
    """Everything that routes share. `clock`: Unix seconds. Raises OSError where the books cannot be opened."""

    def __init__(self, config: SimulatorConfig, clock: Callable[[], float] = time.time) -> None:
        self.config = config
        self.clock = clock
        self.user_id = f"SIM{config.seed:06d}"
        self._journal = Journal(config.books_path) if config.books_path is not None else None
        self.account = Account(config.quota, config.seed, clock, self._journal)
        self.faults = FaultTable(clock, random.Random(config.seed))  # noqa: S311 - lots of a simulation
        self.calls = CallBook()
        self.modes = Modes()
        self.tokens = TokenDesk(secrets.token_bytes(32), config.user, self.user_id, config.token_ttl_s, clock)
        self.uploads = Shelf("U")
        self.stamped_files = Shelf("S")
        self.batches: dict[str, list[dict[str, object]]] = {}
        self.batch_count = 0
        self.outage_fault_id: str | None = None
        self.stamps_waiting = 0
        #: Set, and made anew, whenever a fault is lifted: calls that hang wait for it.
        self._changed = asyncio.Event()
        self._pool = ThreadPoolExecutor(STAMP_THREADS, thread_name_prefix="stamp")

    def faults_changed(self) -> None:
        """Wake the calls that hang, so that each looks whether its fault is still on."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_for_change(self, timeout_s: float) -> None:
        """Return when faults change, or after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._changed.wait()
        except TimeoutError:
            return

    async def in_thread(self, work: Callable[[], T]) -> T:
        """Run work that would hold up the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Let go of threads and files."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        if self._journal is not None:
            self._journal.close()


#: A route: the simulator, the request, and the faults that befall this call.
Handler = Callable[[Simulator, web.Request, Drawn], Awaitable[web.Response]]
