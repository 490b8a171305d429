"""The replay with RQ and pybreaker as they come: default workers, default persistence, Retry, one shared breaker.

Stamping is left out, and a job knows no deadline: it is first come, first served.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
from redis import Redis
from redis.exceptions import RedisError
from rq import Queue, Retry

from antrean.config.embedded_valkey import find_server
from antrean.simulator.addresses import SIMULATOR_PASSWORD, SIMULATOR_USER, base_urls
from benchmarks.replay import plain_job
from benchmarks.replay.by_hand import count_books, due_s, generate_body, plain_outcome
from benchmarks.replay.outcome import OrderOutcome, Outcome, Sample
from benchmarks.replay.processes import Family, free_ports
from benchmarks.replay.script import Script
from benchmarks.replay.upstream import Upstream

WORKERS = 8
#: Seconds between RQ's tries of one job; after the last it is failed.
RETRIES_S = (1, 2, 4, 8, 8, 8, 8, 8, 8, 8)
QUEUE = "default"


class PlainRun:
    """One run."""

    def __init__(self, script: Script, family: Family, upstream: Upstream) -> None:
        self.script = script
        self.family = family
        self.upstream = upstream
        self._socket = family.folder / "valkey.sock"
        self._url = f"unix://{self._socket}"
        self._redis = Redis.from_url(self._url)
        self._queue = Queue(QUEUE, connection=self._redis)
        self._done_path = family.folder / "done"
        self._done_path.touch()
        self._env: dict[str, str] = {}
        self.accepted: dict[int, float] = {}
        self.kills: list[tuple[float, str]] = []
        self.samples: list[Sample] = []

    async def run(self, patience_s: float) -> Outcome:
        """From nothing until all is done, or nothing is left in the queue, or patience ends."""
        await self.upstream.ready()
        self._env = await self._environment()
        self.valkey = self._start_valkey()
        self.workers = [self._start_worker() for _ in range(WORKERS)]
        await asyncio.sleep(2)
        self.script = replace(self.script, started_at=time.time())
        self.started = time.monotonic()
        tasks = [asyncio.create_task(step) for step in (self._arrive(), self._kill_on_time(), self._keep())]
        driving = asyncio.create_task(self.upstream.go_through(self.script, self.started))
        end_s = self.script.span_s + patience_s
        while (now_s := time.monotonic() - self.started) < end_s:
            done = len(self._done())
            self.samples.append(Sample(now_s, len(self.accepted) - done, done))
            if now_s > self.script.span_s and await asyncio.to_thread(self._idle):
                break
            await asyncio.sleep(0.5)
        await driving
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return await self._outcome()

    async def _environment(self) -> dict[str, str]:
        urls = base_urls(self.upstream.origin)
        credentials = {"user": SIMULATOR_USER, "password": SIMULATOR_PASSWORD}
        async with (
            aiohttp.ClientSession() as http,
            http.post(f"{urls['backend']}/api/users/login", json=credentials) as answer,
        ):
            token = (await answer.json())["token"]
        return {
            "REPLAY_REDIS": self._url,
            "REPLAY_GENERATE": f"{urls['stampv2']}/chanel/stampv2",
            "REPLAY_TOKEN": token,
            "REPLAY_DONE": str(self._done_path),
            "PYTHONPATH": ":".join(sys.path),
        }

    def _start_valkey(self) -> subprocess.Popen[bytes]:
        server = find_server().path
        return self.family.start([server, "--port", "0", "--unixsocket", str(self._socket)])

    def _start_worker(self) -> subprocess.Popen[bytes]:
        rq = Path(sys.executable).parent / "rq"
        return self.family.start(
            [rq, "worker", "--with-scheduler", "-q", "--url", self._url, QUEUE], self._env
        )

    async def _arrive(self) -> None:
        for arrival in self.script.arrivals:
            await asyncio.sleep(max(0.0, self.started + arrival.at_s - time.monotonic()))
            retry = Retry(max=len(RETRIES_S), interval=list(RETRIES_S))
            while True:
                try:
                    await asyncio.to_thread(
                        self._queue.enqueue,
                        plain_job.buy,
                        arrival.number,
                        generate_body(arrival.number),
                        retry=retry,
                    )
                except RedisError:
                    await asyncio.sleep(0.3)
                else:
                    self.accepted[arrival.number] = time.monotonic() - self.started
                    break

    async def _kill_on_time(self) -> None:
        for at_s, what in self.script.kills:
            await asyncio.sleep(max(0.0, self.started + at_s - time.monotonic()))
            if what == "gateway":
                continue
            (self.valkey if what == "valkey" else self.workers[0]).kill()
            self.kills.append((time.monotonic() - self.started, what))

    async def _keep(self) -> None:
        """What systemd would do: start again what ended."""
        while True:
            await asyncio.sleep(0.5)
            if self.valkey.poll() is not None:
                self.valkey = self._start_valkey()
            for place, worker in enumerate(self.workers):
                if worker.poll() is not None:
                    self.workers[place] = self._start_worker()

    def _idle(self) -> bool:
        """Whether RQ has nothing left to give out, and nothing that it would try again."""
        try:
            registries = (self._queue.scheduled_job_registry, self._queue.started_job_registry)
            return self._queue.count == 0 and not any(registry.count for registry in registries)
        except RedisError:
            return False

    def _done(self) -> dict[int, float]:
        rows = (line.split() for line in self._done_path.read_text().splitlines())
        return {int(number): float(at) - self.script.started_at for number, at in rows}

    async def _outcome(self) -> Outcome:
        done = self._done()
        orders = [
            OrderOutcome(
                a.number, a.office_name, a.kind, a.at_s, due_s(self.script, a),
                self.accepted.get(a.number), done.get(a.number),
            )
            for a in self.script.arrivals
        ]  # fmt: skip
        outcome = plain_outcome("plain", self.script, self.upstream, orders)
        outcome.samples, outcome.kills = self.samples, self.kills
        outcome.end_s = time.monotonic() - self.started
        await count_books(outcome, self.upstream, set(done))
        failed = await asyncio.to_thread(lambda: self._queue.failed_job_registry.count)
        outcome.counts |= {"failed": failed, "vanished": len(orders) - len(done) - failed}
        return outcome


async def run(script: Script, family: Family, patience_s: float) -> Outcome:
    """One run of the plain way."""
    upstream = Upstream(family, family.folder / "simulator", free_ports(1)[0], script.seed)
    try:
        return await PlainRun(script, family, upstream).run(patience_s)
    finally:
        await upstream.aclose()
