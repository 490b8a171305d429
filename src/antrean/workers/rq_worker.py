"""An RQ worker that runs many jobs at once on one event loop.

RQ's own workers fork for each job or run one at a time. This one keeps RQ's registration, heartbeats, executions and
registries ("the books"), so that `rq info` and RQ's dashboards show it. But it takes jobs in groups, awaits them
together, and writes the books of many jobs in one pipeline. A job is only a hint, and losing one costs nothing. So
jobs are taken without reading them, no second list guards them on the way, and a job that ends within LISTED_AFTER_S
never enters RQ's registries.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import structlog
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import RedisError
from rq import Queue
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker, WorkerStatus

from antrean.orders.seldom import Seldom
from antrean.workers.jobs import JOB_TIMEOUT_S

log = structlog.get_logger(__name__)

#: Longest wait of one blocking take, in seconds: how soon a stop is noticed.
TAKE_WAIT_S = 1
#: Most jobs taken in one go.
TAKE_MAX = 64
#: RQ's books are written this often, in seconds.
BOOKS_EVERY_S = 0.1
#: A job that runs for longer than this, in seconds, is shown as running. Listing one costs more than a tenth of all
#: that the worker does for an order, so it is well above what a turn takes in a busy fleet.
LISTED_AFTER_S = 1.0
#: An execution that nobody renews is forgotten by RQ after this many seconds beyond the job's own bound.
EXECUTION_GRACE_S = 60
#: A worker that is told to stop, while Redis has not answered for this many seconds, stops at once.
GONE_S = 3.0
#: Seconds between heartbeats to RQ.
HEARTBEAT_EVERY_S = 15.0


@dataclass(eq=False, slots=True)
class Running:
    """A job that was taken. `execution`: RQ's entry about it, where it was listed; `ok`: how it ended."""

    job_id: str
    since: float
    execution: Execution | None = None
    ok: bool | None = None


class ConcurrentWorker(BaseWorker):
    """Takes jobs from one queue and awaits `perform(job id)` for up to `concurrency` of them at a time."""

    def __init__(
        self,
        queue: Queue,
        connection: Redis,
        name: str,
        perform: Callable[[str], Awaitable[object]],
        concurrency: int,
    ) -> None:
        super().__init__([queue], name=name, connection=connection, serializer=JSONSerializer)
        self._queue = queue
        self._perform = perform
        self._concurrency = concurrency
        self._active: dict[asyncio.Task[None], Running] = {}
        self._finished: list[Running] = []
        self._slot = asyncio.Event()
        # Taking blocks, so it has a thread of its own; bookkeeping another.
        self._taker = ThreadPoolExecutor(1, thread_name_prefix="rq-take")
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix="rq-books")

    def _set_connection(self, connection: Redis) -> Redis:
        """RQ would stretch the socket timeout to minutes for its long BLMOVE; ours is short."""
        return connection

    def _install_signal_handlers(self) -> None:
        """Signals belong to the process, which tells us to stop."""

    def _set_ip_address(self, connection: Redis) -> None:
        """RQ shows it, and decides nothing by it."""
        try:
            super()._set_ip_address(connection)
        except ValueError:
            # redis-py splits CLIENT INFO at spaces, and the path of a unix socket may have one.
            self.ip_address = "unknown"

    async def serve(self, stop: asyncio.Event, drain_s: float) -> None:
        """Work until `stop` is set, then let running jobs end within `drain_s` seconds.

        If Redis is gone as well (`antrean up` was killed), no job can record anything, so none is waited for.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._clerk, self._register)
        books = asyncio.create_task(self._keep_books())
        try:
            await self._take_jobs(stop)
            if self._active:
                ended = asyncio.ensure_future(asyncio.wait(self._active))
                gone = asyncio.create_task(self._redis_gone())
                await asyncio.wait({ended, gone}, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
                gone.cancel()
                ended.cancel()
            for task in self._active:
                task.cancel()
            await asyncio.gather(*self._active, return_exceptions=True)
        finally:
            books.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await books
            with contextlib.suppress(RedisError, OSError):
                await loop.run_in_executor(self._clerk, self._write_books, [])
                await loop.run_in_executor(self._clerk, self.register_death)
            self._taker.shutdown(wait=False)
            self._clerk.shutdown(wait=False)

    # ---- on the event loop

    async def _redis_gone(self) -> None:
        """Returns when it has not answered for GONE_S."""
        loop = asyncio.get_running_loop()
        answered = time.monotonic()
        while time.monotonic() - answered < GONE_S:
            try:
                await loop.run_in_executor(self._taker, self.connection.ping)
                answered = time.monotonic()
            except (RedisError, OSError):
                pass
            await asyncio.sleep(GONE_S / 10)

    async def _take_jobs(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.create_task(stop.wait())
        trouble = Seldom()
        try:
            while not stop.is_set():
                free = self._concurrency - len(self._active)
                if free <= 0:
                    self._slot.clear()
                    slot = asyncio.create_task(self._slot.wait())
                    await asyncio.wait({slot, stopped}, return_when=asyncio.FIRST_COMPLETED)
                    slot.cancel()
                    continue
                try:
                    taken = await loop.run_in_executor(self._taker, self._take, min(free, TAKE_MAX))
                except (RedisError, OSError) as error:
                    if trouble.due(type(error).__name__):
                        log.warning("jobs cannot be taken", error=type(error).__name__)
                    await asyncio.wait({stopped}, timeout=0.5)
                    continue
                for running in taken:
                    task = asyncio.create_task(self._run(running))
                    self._active[task] = running
                    task.add_done_callback(self._ended)
        finally:
            stopped.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._active.pop(task, None)
        self._slot.set()

    async def _run(self, running: Running) -> None:
        running.ok = False
        try:
            await self._perform(running.job_id)
            running.ok = True
        except Exception:
            # One order's trouble must not end the worker; the sweeper sees to the order.
            log.exception("turn failed", job_id=running.job_id)
        finally:
            self._finished.append(running)

    async def _keep_books(self) -> None:
        loop = asyncio.get_running_loop()
        beaten = time.monotonic()
        while True:
            await asyncio.sleep(BOOKS_EVERY_S)
            try:
                listed_before = time.monotonic() - LISTED_AFTER_S
                unlisted = [
                    r for r in self._active.values() if r.execution is None and r.since < listed_before
                ]
                if self._finished or unlisted or self._idle_to_tell():
                    await loop.run_in_executor(self._clerk, self._write_books, unlisted)
                if time.monotonic() - beaten > HEARTBEAT_EVERY_S:
                    beaten = time.monotonic()
                    await loop.run_in_executor(self._clerk, self._beat)
            except (RedisError, OSError) as error:
                log.warning("RQ's books cannot be written", error=type(error).__name__)
                await asyncio.sleep(0.5)
            except Exception:
                # RQ's own trouble with a book must not end all bookkeeping: what has ended would pile up.
                log.exception("RQ's books failed")
                await asyncio.sleep(0.5)

    # ---- on the threads, with RQ's synchronous client

    def _register(self) -> None:
        self.register_birth()  # type: ignore[no-untyped-call]
        self.set_state(WorkerStatus.IDLE)

    def _take(self, most: int) -> list[Running]:
        taken: Any = self.connection.blmpop(TAKE_WAIT_S, 1, self._queue.key, direction="LEFT", count=most)
        now = time.monotonic()
        return [Running(raw.decode(), now) for raw in taken[1]] if taken else []

    def _idle_to_tell(self) -> bool:
        return (self._state == WorkerStatus.BUSY) != bool(self._active)

    def _write_books(self, unlisted: list[Running]) -> None:
        """List long-running jobs and take ended ones off the books. What is not written now is written next time."""
        batch, self._finished = self._finished, []
        listed: list[tuple[Running, Execution]] = []
        try:
            with self.connection.pipeline(transaction=False) as pipe:
                for running in unlisted:
                    if running not in batch:
                        listed.append((running, self._list(running, pipe)))
                for running in batch:
                    if running.execution is not None:
                        running.execution.delete(job=self._job(running), pipeline=pipe)
                if batch:
                    pipe.delete(*(Job.key_for(running.job_id) for running in batch))
                done = sum(bool(running.ok) for running in batch)
                if done:
                    pipe.hincrby(self.key, "successful_job_count", done)
                if len(batch) > done:
                    pipe.hincrby(self.key, "failed_job_count", len(batch) - done)
                if self._idle_to_tell():
                    self.set_state(WorkerStatus.BUSY if self._active else WorkerStatus.IDLE, pipeline=pipe)
                pipe.execute()
        except (RedisError, OSError):
            self._finished = batch + self._finished
            raise
        for running, execution in listed:
            running.execution = execution
            self.executions[execution.id] = execution
        for running in batch:
            if running.execution is not None:
                self.executions.pop(running.execution.id, None)

    def _list(self, running: Running, pipe: Pipeline) -> Execution:
        job = self._job(running)
        ttl = JOB_TIMEOUT_S + EXECUTION_GRACE_S
        execution = Execution.create(job, ttl, pipeline=pipe, worker_name=self.name)
        job.prepare_for_execution(self.name, pipeline=pipe)
        return execution

    def _job(self, running: Running) -> Job:
        """The job as RQ's registries want it, without reading it."""
        job = Job(running.job_id, connection=self.connection, serializer=self.serializer)
        job.origin = self._queue.name
        return job

    def _beat(self) -> None:
        with self.connection.pipeline(transaction=False) as pipe:
            pipe.hexists(self.key, "birth")
            pipe.sismember(self.redis_workers_keys, self.key)
            if not all(pipe.execute()):
                # RQ's keys were deleted. What was written since is no whole registration, so register again.
                self.connection.delete(self.key)
                self._register()
        with self.connection.pipeline(transaction=False) as pipe:
            self.heartbeat(pipeline=pipe)
            for execution in list(self.executions.values()):
                execution.heartbeat(execution.job.started_job_registry, 120, pipeline=pipe)
            pipe.execute()
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
