"""Each peer in its turn: a private Valkey, jobs put in line beforehand, its own worker, and the upstream as judge."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from antrean.config.embedded_valkey import EmbeddedValkey, find_server
from antrean.config.redis_client import connect, wait_for_ping
from antrean.config.settings import Settings
from benchmarks.peers.venv import CannotInstall, bin_of
from benchmarks.rig import free_ports

ROOT = Path(__file__).parents[2]
#: Longest wait for a peer's first call, and for its jobs from then on, in seconds.
START_S, RUN_S = 20.0, 15.0
#: Longest that enqueueing may take, in seconds.
ENQUEUE_S = 30.0
#: After the last job the upstream is watched for this long: a job that comes again does so soon.
AFTERWARDS_S = 3.0
#: The rate is taken between these shares of the jobs.
FROM_SHARE, TO_SHARE = 0.2, 0.9


@dataclass(frozen=True, slots=True)
class Peer:
    """`worker`: the command, as its documentation has it; `{n}` is the number in flight, `{url}` the Redis.

    `jobs`: as many as it does in about ten seconds.
    """

    name: str
    module: str
    worker: tuple[str, ...]
    jobs: int
    lock: str = "requirements"


PEERS = (
    Peer("RQ, Worker", "rq_jobs", ("rq", "worker", "bench", "--url", "{url}"), 24),
    Peer(
        "RQ, SimpleWorker x 16",
        "rq_jobs",
        ("rq", "worker-pool", "bench", "--url", "{url}", "-n", "16", "-w", "rq.worker.SimpleWorker"),
        400,
    ),
    Peer("arq", "arq_jobs", ("arq", "benchmarks.peers.arq_jobs.WorkerSettings"), 2000, "requirements-arq"),
    Peer("saq", "saq_jobs", ("saq", "benchmarks.peers.saq_jobs.settings"), 2000),
    Peer(
        "celery, threads",
        "celery_jobs",
        ("celery", "-A", "benchmarks.peers.celery_jobs", "worker", "-P", "threads", "-c", "{n}"),
        2000,
    ),
    Peer(
        "dramatiq, 2 processes",
        "dramatiq_jobs",
        ("dramatiq", "benchmarks.peers.dramatiq_jobs", "-p", "2", "-t", "{half}"),
        2000,
    ),
)


class PeerFailed(Exception):
    """A peer did not do what it was asked to. The message says what was seen."""


@dataclass(frozen=True, slots=True)
class Contested:
    """What a peer did. `failure`: why there is nothing to tell; `lost`: None where its time was over before."""

    name: str
    failure: str = ""
    per_s: float = 0.0
    cpu_ms: float = 0.0
    jobs: int = 0
    done: int = 0
    twice: int = 0
    lost: int | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """The simulator: where generate is, and its books."""

    generate_url: str
    token: str
    http: httpx.AsyncClient

    async def begin(self, delay_s: float) -> None:
        """Empty books, and every generate takes `delay_s`."""
        (await self.http.post("/_sim/reset", json={"what": "all"})).raise_for_status()
        fault = {"kind": "slow", "scope": ["generate"], "delay_s": delay_s}
        (await self.http.post("/_sim/faults", json=fault)).raise_for_status()

    async def sold(self) -> int:
        """SNs sold since then."""
        return int((await self.http.get("/_sim/state")).json()["sold"])

    async def distinct(self) -> int:
        """For how many jobs."""
        rows = (await self.http.get("/_sim/serials", params={"limit": 100_000})).json()["serials"]
        return len({row["file"] for row in rows})


async def run_peer(peer: Peer, upstream: Upstream, in_flight: int, jobs: int) -> Contested:
    """One peer's turn. Never raises for what the peer does: that is told in the answer."""
    try:
        programs = await asyncio.to_thread(bin_of, peer.lock)
        async with _valkey() as url:
            return await _turn(peer, programs, url, upstream, in_flight, jobs)
    except (CannotInstall, PeerFailed) as error:
        return Contested(peer.name, failure=str(error))


async def _turn(
    peer: Peer, programs: Path, url: str, upstream: Upstream, in_flight: int, jobs: int
) -> Contested:
    env = os.environ | {
        "BENCH_GENERATE_URL": upstream.generate_url,
        "BENCH_TOKEN": upstream.token,
        "BENCH_REDIS_URL": url,
        "BENCH_IN_FLIGHT": str(in_flight),
        "PYTHONPATH": str(ROOT),
    }
    fill = [str(programs / "python"), "-m", f"benchmarks.peers.{peer.module}", str(jobs)]
    await asyncio.to_thread(_enqueue, fill, env)
    words = {"url": url, "n": str(in_flight), "half": str(in_flight // 2)}
    program, *options = (word.format_map(words) for word in peer.worker)
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [programs / program, *options],
            cwd=ROOT,
            env=env,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        try:
            per_s, cpu_ms, in_time = await _watched(process, upstream, jobs)
        except PeerFailed as error:
            said.seek(0)
            raise PeerFailed(f"{error}: {_last_line(said.read())}") from None
        finally:
            await asyncio.to_thread(_end, process)
    sold, done = await upstream.sold(), await upstream.distinct()
    return Contested(peer.name, "", per_s, cpu_ms, jobs, done, sold - done, jobs - done if in_time else None)


async def _watched(
    process: subprocess.Popen[bytes], upstream: Upstream, jobs: int
) -> tuple[float, float, bool]:
    """Jobs per second, CPU milliseconds of a job, and whether all were done in time. Raises PeerFailed."""
    worker = psutil.Process(process.pid)
    end = time.monotonic() + START_S
    while (sold := await upstream.sold()) == 0:
        if process.poll() is not None or time.monotonic() > end:
            raise PeerFailed("it began no job")
        await asyncio.sleep(0.1)
    end = time.monotonic() + RUN_S
    marks = [(time.perf_counter(), sold, _cpu_s(worker))]
    for share in (FROM_SHARE, TO_SHARE):
        while (sold := await upstream.sold()) < share * jobs and time.monotonic() < end:
            await asyncio.sleep(0.05)
        marks.append((time.perf_counter(), sold, _cpu_s(worker)))
    first = 1 if marks[2][1] > marks[1][1] else 0  # one too slow for its share is timed from its first job
    (t0, n0, c0), (t1, n1, c1) = marks[first], marks[2]
    while sold < jobs and time.monotonic() < end:
        sold = await upstream.sold()
        await asyncio.sleep(0.1)
    in_time = sold >= jobs
    await asyncio.sleep(AFTERWARDS_S)
    if n1 == n0:
        raise PeerFailed(f"it stood still after {n1} jobs")
    return (n1 - n0) / (t1 - t0), 1000 * (c1 - c0) / (n1 - n0), in_time


def _cpu_s(worker: psutil.Process) -> float:
    """CPU seconds of a worker and its children, those that ended included."""
    total = 0.0
    for process in (worker, *worker.children(recursive=True)):
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total


def _enqueue(command: list[str], env: dict[str, str]) -> None:
    try:
        subprocess.run(command, cwd=ROOT, env=env, capture_output=True, timeout=ENQUEUE_S, check=True)
    except subprocess.CalledProcessError as error:
        raise PeerFailed(f"jobs could not be enqueued: {_last_line(error.stderr)}") from None
    except subprocess.TimeoutExpired:
        raise PeerFailed("jobs could not be enqueued in time") from None


def _end(process: subprocess.Popen[bytes]) -> None:
    """Stop a worker and what it started."""
    children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.kill()
    process.wait(10)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()


def _last_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


@contextlib.asynccontextmanager
async def _valkey() -> AsyncIterator[str]:
    """A private Valkey with the product's configuration, reached by a port, since not every peer takes a socket."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-peer-"))
    (port,) = free_ports(1)
    embedded = EmbeddedValkey(folder / "valkey", folder / "valkey" / "s", find_server())
    embedded.prepare()
    argv = [*embedded.argv, "--port", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        client = connect(url, Settings(_env_file=None))
        await wait_for_ping(client, 30)
        await client.aclose()
        yield url
    finally:
        process.kill()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)
