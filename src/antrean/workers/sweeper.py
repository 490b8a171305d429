"""Puts back orders that lost their job, their worker or their claim (promise 3: nothing gets stuck)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from redis.exceptions import RedisError
from rq import Queue

from antrean.orders import keys
from antrean.orders.model import StoreUnavailable
from antrean.orders.store import OrderStore
from antrean.workers.jobs import order_of

log = structlog.get_logger(__name__)

#: A dispatched order that nobody claimed, and for which RQ has no job, goes back to its lane after this, in ms.
DISPATCH_MAX_MS = 3000
#: Most orders moved in one sweep, so that no script is long.
SWEEP_MAX = 1000


class Sweeper:
    """One step finds and puts back what stands still. `claim_max_ms`: no turn lasts longer than this."""

    def __init__(
        self, store: OrderStore, job_ids: Callable[[], Awaitable[list[str]]], claim_max_ms: int
    ) -> None:
        self._store = store
        self._job_ids = job_ids
        self._claim_max_ms = claim_max_ms

    async def run_once(self) -> bool:
        """One sweep; True where there may be more. Raises StoreUnavailable."""
        try:
            jobs = await self._job_ids()
        except (RedisError, OSError) as error:
            raise StoreUnavailable("RQ's queue cannot be read") from error
        swept = await self._store.sweep(
            lease_ms=keys.WORKER_SILENT_MS,
            claim_max_ms=self._claim_max_ms,
            dispatch_max_ms=DISPATCH_MAX_MS,
            most=SWEEP_MAX,
            jobs={order_of(j) for j in jobs},
        )
        if swept.expired or swept.restored:
            log.info("swept", expired=swept.expired, restored=swept.restored)
        return max(swept.expired, swept.restored, swept.due) >= SWEEP_MAX


def waiting_jobs(queue: Queue) -> Callable[[], Awaitable[list[str]]]:
    """Ids of the jobs that RQ still has to give out; the queue is short by design.

    Our worker takes jobs without RQ's intermediate list. With a plain `rq worker` a job is in that list for
    milliseconds. One that is there at two looks in a row was taken by a worker that died or lost its connection just
    then, so it is dropped and counts as no job.
    """
    seen_before: set[bytes] = set()

    def read() -> list[str]:
        nonlocal seen_before
        held = queue.intermediate_queue_key
        with queue.connection.pipeline(transaction=False) as pipe:
            pipe.lrange(queue.key, 0, -1)
            pipe.lrange(held, 0, -1)
            waiting, taken = pipe.execute()
            for job_id in seen_before.intersection(taken):
                pipe.lrem(held, 0, job_id.decode())
            pipe.execute()
        fresh = set(taken) - seen_before
        seen_before = fresh
        return [raw.decode() for raw in (*waiting, *fresh)]

    return lambda: asyncio.to_thread(read)
