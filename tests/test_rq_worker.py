"""The concurrent RQ worker: many jobs at once on one loop, seen by RQ's own tools; losing keys is harmless."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from rq import Queue, SimpleWorker, Worker
from rq.registry import FailedJobRegistry, StartedJobRegistry
from rq.serializers import JSONSerializer

from antrean.config.embedded_valkey import EmbeddedValkey
from antrean.config.redis_client import connect_sync
from antrean.config.settings import Settings
from antrean.workers import rq_worker
from antrean.workers.dispatcher import enqueuer
from antrean.workers.jobs import order_of
from antrean.workers.rq_worker import ConcurrentWorker
from antrean.workers.sweeper import waiting_jobs

Perform = Callable[[str], Awaitable[object]]


@pytest.fixture
def queue(settings: Settings, redis: Redis) -> Queue:
    return Queue("antrean", connection=connect_sync(settings.redis_url, settings), serializer=JSONSerializer)


@asynccontextmanager
async def serving(queue: Queue, perform: Perform, concurrency: int = 64) -> AsyncIterator[ConcurrentWorker]:
    worker = ConcurrentWorker(queue, queue.connection, "worker-1", perform, concurrency)
    stop = asyncio.Event()
    task = asyncio.create_task(worker.serve(stop, 5))
    try:
        yield worker
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await task


async def until(condition: Callable[[], bool], timeout_s: float = 10) -> None:
    async with asyncio.timeout(timeout_s):
        while not await asyncio.to_thread(condition):
            await asyncio.sleep(0.02)


async def test_many_jobs_are_worked_on_at_once_and_each_once(queue: Queue) -> None:
    done: list[str] = []
    now = most = 0
    gate = asyncio.Event()

    async def perform(job_id: str) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == 40:
            gate.set()
        await gate.wait()
        now -= 1
        done.append(order_of(job_id))

    orders = [f"{n:026d}" for n in range(40)]
    await enqueuer(queue)(orders)
    async with serving(queue, perform, concurrency=40):
        await until(lambda: len(done) == 40)
    assert sorted(done) == orders
    assert most == 40


async def test_a_worker_that_is_to_stop_waits_for_its_jobs_but_not_for_a_redis_that_is_gone(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rq_worker, "GONE_S", 0.2)
    started = asyncio.Event()

    async def perform(job_id: str) -> None:
        started.set()
        await asyncio.Event().wait()

    await enqueuer(queue)([f"{1:026d}"])
    worker, stop = ConcurrentWorker(queue, queue.connection, "worker-1", perform, 4), asyncio.Event()
    serving_on = asyncio.create_task(worker.serve(stop, 60))
    await started.wait()
    stop.set()
    await asyncio.wait({serving_on}, timeout=1)
    assert not serving_on.done()

    def gone() -> bool:
        raise RedisConnectionError("gone")

    monkeypatch.setattr(queue.connection, "ping", gone)
    async with asyncio.timeout(5):
        await serving_on


async def test_no_more_than_the_concurrency_are_taken(queue: Queue) -> None:
    running: list[str] = []
    gate = asyncio.Event()

    async def perform(job_id: str) -> None:
        running.append(job_id)
        await gate.wait()

    await enqueuer(queue)([f"{n:026d}" for n in range(30)])
    async with serving(queue, perform, concurrency=8):
        await until(lambda: len(running) == 8)
        assert await waiting_jobs(queue)()
        assert queue.count == 22
        gate.set()
        await until(lambda: len(running) == 30)


async def test_rq_s_own_tools_see_worker_and_jobs_and_nothing_is_left_behind(queue: Queue) -> None:
    gate = asyncio.Event()

    async def perform(_: str) -> None:
        await gate.wait()

    await enqueuer(queue)(["0" * 26, "1" * 26])
    started = StartedJobRegistry(queue=queue)
    async with serving(queue, perform):
        await until(lambda: started.count == 2)
        seen = Worker.all(connection=queue.connection)
        assert [w.name for w in seen] == ["worker-1"]
        assert len(seen[0].get_current_executions(refresh=True)) == 2
        gate.set()
        await until(lambda: started.count == 0)
        await until(lambda: Worker.all(connection=queue.connection)[0].successful_job_count == 2)
    assert Worker.all(connection=queue.connection) == []
    left = {str(k).split(":")[1] for k in queue.connection.scan_iter("rq:*")}
    assert not left & {"job", "execution"}


async def test_rq_s_tools_see_the_worker_again_after_rq_s_keys_were_deleted(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rq_worker, "HEARTBEAT_EVERY_S", 0.05)
    done: list[str] = []

    async def perform(job_id: str) -> None:
        done.append(order_of(job_id))

    async with serving(queue, perform):
        await until(lambda: len(Worker.all(connection=queue.connection)) == 1)
        queue.connection.delete(*queue.connection.scan_iter("rq:*"))
        await until(lambda: [w.name for w in Worker.all(connection=queue.connection)] == ["worker-1"])
        await enqueuer(queue)(["0" * 26])
        await until(lambda: done == ["0" * 26])
        await until(lambda: Worker.all(connection=queue.connection)[0].successful_job_count == 1)
    assert Worker.all(connection=queue.connection) == []


async def test_a_turn_that_raises_ends_neither_worker_nor_the_others(queue: Queue) -> None:
    done: list[str] = []

    async def perform(job_id: str) -> None:
        if order_of(job_id) == "0" * 26:
            raise RuntimeError("boom")
        done.append(job_id)

    async with serving(queue, perform):
        await enqueuer(queue)(["0" * 26, "1" * 26])
        await until(lambda: len(done) == 1)
        await enqueuer(queue)(["2" * 26])
        await until(lambda: len(done) == 2)


async def test_a_job_whose_keys_were_deleted_is_worked_on_all_the_same_and_leaves_nothing(
    queue: Queue,
) -> None:
    done: list[str] = []

    async def perform(job_id: str) -> None:
        done.append(order_of(job_id))

    await enqueuer(queue)(["0" * 26, "1" * 26])
    queue.connection.delete(f"rq:job:{queue.get_job_ids()[0]}")
    async with serving(queue, perform):
        await until(lambda: done == ["0" * 26, "1" * 26])
    assert list(queue.connection.scan_iter("rq:job:*")) == []


async def test_many_jobs_cost_few_commands_of_the_worker_s_own(queue: Queue) -> None:
    """Taking is one command for a group; a short job stands in no registry: its key goes, and that is all."""
    orders = [f"{n:026d}" for n in range(200)]
    await enqueuer(queue)(orders)
    done: list[str] = []

    async def perform(job_id: str) -> None:
        done.append(job_id)

    queue.connection.config_resetstat()
    async with serving(queue, perform):
        await until(lambda: len(done) == 200)
        await until(lambda: Worker.all(connection=queue.connection)[0].successful_job_count == 200)
        seen: dict[str, dict[str, int]] = queue.connection.info("commandstats")
    calls = {name.removeprefix("cmdstat_"): row["calls"] for name, row in seen.items()}
    assert calls["blmpop"] <= 8
    assert sum(calls.get(name, 0) for name in ("del", "hset", "zadd", "sadd", "expire", "zrem", "srem")) <= 20


async def test_a_job_that_was_taken_by_a_worker_that_died_just_then_counts_as_no_job(queue: Queue) -> None:
    await enqueuer(queue)(["0" * 26, "1" * 26])
    look = waiting_jobs(queue)
    queue.connection.lmove(queue.key, queue.intermediate_queue_key, "LEFT", "RIGHT")
    assert sorted(map(order_of, await look())) == ["0" * 26, "1" * 26]
    assert [order_of(j) for j in await look()] == ["1" * 26]
    assert queue.connection.llen(queue.intermediate_queue_key) == 0


async def test_running_turns_end_before_the_worker_does(queue: Queue) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    async def perform(_: str) -> None:
        began.set()
        await asyncio.sleep(0.3)
        ended.set()

    await enqueuer(queue)(["0" * 26])
    async with serving(queue, perform):
        await began.wait()
    assert ended.is_set()


async def test_a_plain_rq_worker_does_no_harm(queue: Queue) -> None:
    """It does not know what to do: the job fails, and the order is put back by the sweeper."""
    await enqueuer(queue)(["0" * 26])
    worker = SimpleWorker([queue], connection=queue.connection, serializer=JSONSerializer)
    await asyncio.to_thread(_burst, worker, queue)
    assert FailedJobRegistry(queue=queue).count == 1


def _burst(worker: SimpleWorker, queue: Queue) -> None:
    job, _ = queue.dequeue_any([queue], None, connection=queue.connection, serializer=JSONSerializer)  # type: ignore[misc]
    worker.execute_job(job, queue)


async def test_a_worker_starts_where_the_path_of_its_valkey_has_a_space(
    short_dir: Path, make_settings: Callable[..., Settings]
) -> None:
    settings = make_settings(data_dir=short_dir / "kantor pos é")
    embedded = EmbeddedValkey.of(settings)
    embedded.prepare()
    server = subprocess.Popen(embedded.argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        await embedded.wait_ready(settings, timeout_s=10)
        client = connect_sync(settings.effective_redis_url, settings)
        queue = Queue("antrean", connection=client, serializer=JSONSerializer)
        done = asyncio.Event()

        async def perform(_job_id: str) -> None:
            done.set()

        async with serving(queue, perform):
            await enqueuer(queue)([f"{1:026d}"])
            async with asyncio.timeout(10):
                await done.wait()
    finally:
        server.terminate()
        await asyncio.to_thread(server.wait, 10)
