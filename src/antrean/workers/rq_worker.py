"""An RQ worker that runs many jobs at once on one event loop.

RQ's own workers fork for each job or run one at a time. This one keeps RQ's registration, heartbeats, executions
and registries, so that `rq info` and its dashboards show it, but takes jobs in groups, awaits them together, and
writes the books of many finished jobs in one pipeline. A job is only a hint: losing one costs nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue
from rq.executions import Execution
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker, WorkerStatus

log = structlog.get_logger(__name__)

#: Longest wait of one blocking take, in seconds: how soon a stop is noticed.
TAKE_WAIT_S = 1
#: Most jobs taken in one go.
TAKE_MAX = 64
#: Finished jobs are written to RQ's books at least this often, in seconds.
BOOKS_EVERY_S = 0.05
#: Seconds between heartbeats to RQ.
HEARTBEAT_EVERY_S = 15.0

Running = tuple[Job, Execution]


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
        self._active: dict[asyncio.Task[None], str] = {}
        self._finished: list[tuple[Running, bool]] = []
        self._slot = asyncio.Event()
        # Taking blocks, so it has a thread of its own; bookkeeping another.
        self._taker = ThreadPoolExecutor(1, thread_name_prefix="rq-take")
        self._clerk = ThreadPoolExecutor(1, thread_name_prefix="rq-books")

    def _set_connection(self, connection: Redis) -> Redis:
        """RQ would stretch the socket timeout to minutes for its long BLMOVE; ours is short."""
        return connection

    def _install_signal_handlers(self) -> None:
        """Signals belong to the process, which tells us to stop."""

    async def serve(self, stop: asyncio.Event, drain_s: float) -> None:
        """Work until `stop` is set, then let running jobs end within `drain_s` seconds."""
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._clerk, self._register)
        books = asyncio.create_task(self._keep_books())
        try:
            await self._take_jobs(stop)
            if self._active:
                await asyncio.wait(self._active, timeout=drain_s)
            for task in self._active:
                task.cancel()
            await asyncio.gather(*self._active, return_exceptions=True)
        finally:
            books.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await books
            with contextlib.suppress(RedisError, OSError):
                await loop.run_in_executor(self._clerk, self._write_books)
                await loop.run_in_executor(self._clerk, self.register_death)
            self._taker.shutdown(wait=False)
            self._clerk.shutdown(wait=False)

    # ---- on the event loop

    async def _take_jobs(self, stop: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        stopped = asyncio.create_task(stop.wait())
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
                    log.warning("jobs cannot be taken", error=type(error).__name__)
                    await asyncio.wait({stopped}, timeout=0.5)
                    continue
                for running in taken:
                    task = asyncio.create_task(self._run(running))
                    self._active[task] = running[0].id
                    task.add_done_callback(self._ended)
        finally:
            stopped.cancel()

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._active.pop(task, None)
        self._slot.set()

    async def _run(self, running: Running) -> None:
        ok = False
        try:
            await self._perform(running[0].id)
            ok = True
        except Exception:
            # One order's trouble must not end the worker; the sweeper sees to the order.
            log.exception("turn failed", job_id=running[0].id)
        finally:
            self._finished.append((running, ok))

    async def _keep_books(self) -> None:
        loop = asyncio.get_running_loop()
        beaten = time.monotonic()
        while True:
            await asyncio.sleep(BOOKS_EVERY_S)
            try:
                if self._finished:
                    await loop.run_in_executor(self._clerk, self._write_books)
                if time.monotonic() - beaten > HEARTBEAT_EVERY_S:
                    beaten = time.monotonic()
                    await loop.run_in_executor(self._clerk, self._beat)
            except (RedisError, OSError) as error:
                log.warning("RQ's books cannot be written", error=type(error).__name__)
                await asyncio.sleep(0.5)

    # ---- on the threads, with RQ's synchronous client

    def _register(self) -> None:
        self.register_birth()  # type: ignore[no-untyped-call]
        self.set_state(WorkerStatus.IDLE)

    def _take(self, most: int) -> list[Running]:
        source, held = self._queue.key, self._queue.intermediate_queue_key
        first = self.connection.blmove(source, held, TAKE_WAIT_S, "LEFT", "RIGHT")
        if first is None:
            return []
        with self.connection.pipeline(transaction=False) as pipe:
            for _ in range(most - 1):
                pipe.lmove(source, held, "LEFT", "RIGHT")
            raw = [first, *(r for r in pipe.execute() if r is not None)]
        job_ids = [r.decode() for r in raw]
        jobs = Job.fetch_many(job_ids, connection=self.connection, serializer=self.serializer)
        taken: list[Running] = []
        with self.connection.pipeline(transaction=False) as pipe:
            for job_id, job in zip(job_ids, jobs, strict=True):
                pipe.lrem(held, 1, job_id)
                if job is None:
                    continue  # its hash is gone; the sweeper puts the order back
                ttl = int(job.timeout or 0) + 60
                execution = Execution.create(job, ttl, pipeline=pipe, worker_name=self.name)
                job.prepare_for_execution(self.name, pipeline=pipe)
                taken.append((job, execution))
            if taken:
                self.set_state(WorkerStatus.BUSY, pipeline=pipe)
            pipe.execute()
        for _, execution in taken:
            self.executions[execution.id] = execution
        return taken

    def _write_books(self) -> None:
        batch, self._finished = self._finished, []
        try:
            with self.connection.pipeline(transaction=False) as pipe:
                for (job, execution), ok in batch:
                    execution.delete(job=job, pipeline=pipe)
                    pipe.delete(job.key)
                    if ok:
                        self.increment_successful_job_count(pipeline=pipe)
                    else:
                        self.increment_failed_job_count(pipeline=pipe)
                if not self._active:
                    self.set_state(WorkerStatus.IDLE, pipeline=pipe)
                pipe.execute()
        except (RedisError, OSError):
            self._finished = batch + self._finished
            raise
        for (_, execution), _ok in batch:
            self.executions.pop(execution.id, None)

    def _beat(self) -> None:
        with self.connection.pipeline(transaction=False) as pipe:
            self.heartbeat(pipeline=pipe)
            for execution in list(self.executions.values()):
                execution.heartbeat(execution.job.started_job_registry, 120, pipeline=pipe)
            pipe.execute()
        if self.should_run_maintenance_tasks:
            self.run_maintenance_tasks()  # type: ignore[no-untyped-call]
