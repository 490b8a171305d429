"""Runs the loops: each is a step, which tests can run alone, and a pause. Some run on the leading worker only."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from antrean.config.tasks import cancelled
from antrean.orders.layout import NewerLayout
from antrean.orders.model import StoreUnavailable
from antrean.orders.seldom import Seldom
from antrean.orders.store import OrderStore
from antrean.provider.errors import ProviderError

log = structlog.get_logger(__name__)

#: The leader's lease, in ms: after a leader's death the loops stand still for no longer than this.
LEADER_LEASE_MS = 2000
#: Seconds between two heartbeats, each of which also renews the lease.
BEAT_EVERY_S = 0.5
#: Pause after a step that failed because Redis or the upstream is away, in seconds.
AWAY_PAUSE_S = 0.5
#: Longest pause after a step that failed because the document store is away, in seconds.
OUTSIDE_PAUSE_MAX_S = 30.0


@dataclass(frozen=True, slots=True)
class Loop:
    """`step` is run every `every_s` seconds; it answers True where there is more to do at once."""

    name: str
    step: Callable[[], Awaitable[bool]]
    every_s: float
    leader_only: bool = True


class Keeper:
    """Sends one worker's heartbeats, takes the lead when it is free, and runs the loops.

    `on_lead` is called when this worker has become the leader, before the leader's loops go on.
    """

    def __init__(
        self,
        store: OrderStore,
        worker: str,
        loops: list[Loop],
        on_lead: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._worker = worker
        self._loops = loops
        self._on_lead = on_lead
        self._leads = asyncio.Event()

    @property
    def leads(self) -> bool:
        """This worker runs the leader's loops."""
        return self._leads.is_set()

    async def beat_once(self) -> None:
        """Send one heartbeat, and try once to lead. Raises StoreUnavailable."""
        await self._store.beat(self._worker)
        leads = await self._store.lead(self._worker, LEADER_LEASE_MS)
        if leads and not self.leads:
            log.info("leads the keeper loops", worker=self._worker)
            self._on_lead()
        if leads:
            self._leads.set()
        else:
            self._leads.clear()

    async def run(self, stop: asyncio.Event) -> None:
        """Run everything until `stop` is set."""
        tasks = [asyncio.create_task(self._beat())]
        tasks += [asyncio.create_task(self._run_loop(loop)) for loop in self._loops]
        stopped = asyncio.create_task(stop.wait())
        try:
            done, _ = await asyncio.wait({stopped, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stopped}:
                task.result()  # a loop never ends by itself: this raises what ended it
        finally:
            await cancelled((*tasks, stopped))

    async def _beat(self) -> None:
        while True:
            try:
                await self.beat_once()
            except NewerLayout:
                raise
            except StoreUnavailable:
                self._leads.clear()
            await asyncio.sleep(BEAT_EVERY_S)

    async def _run_loop(self, loop: Loop) -> None:
        trouble = Seldom()
        while True:
            if loop.leader_only:
                await self._leads.wait()
            try:
                more = await loop.step()
            except (StoreUnavailable, ProviderError) as error:
                _say_waiting(loop, trouble, error)
                await asyncio.sleep(AWAY_PAUSE_S)
                continue
            except OSError as error:
                # The document store. Only this loop needs it, so it is not asked again as soon as Redis would be.
                _say_waiting(loop, trouble, error)
                await asyncio.sleep(max(AWAY_PAUSE_S, min(loop.every_s, OUTSIDE_PAUSE_MAX_S)))
                continue
            except Exception:
                # If this loop died, orders would stand still: log it as an error and go on.
                log.exception("step failed", loop=loop.name)
                await asyncio.sleep(AWAY_PAUSE_S)
                continue
            if not more:
                await asyncio.sleep(loop.every_s)


def _say_waiting(loop: Loop, trouble: Seldom, error: Exception) -> None:
    if trouble.due(str(error)):
        log.warning("step waits", loop=loop.name, why=str(error))
