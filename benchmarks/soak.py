"""`make soak`: hours of load and random faults on the real processes, while memory, open files and keys are watched.

    SOAK_SECONDS  how long, an hour if not set       SOAK_SEED  of everything drawn by lot

Ends with 1 where an order is lost or bought twice, the ledger does not add up, or something grows that should not:
a straight line is fitted to each process' memory and open files, over the second half of its life, and its slope
bounded. Processes are killed in the first half of the run; those that live through the second show what grows. Keys
of Redis may grow with the orders (they are kept), by a bounded number for each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil
from redis.asyncio import Redis

from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from benchmarks.replay.processes import Family, children, family, free_ports, kill_child
from benchmarks.replay.script import Arrival
from benchmarks.replay.upstream import Upstream
from benchmarks.replay.with_antrean import OPS_KEY, SETTINGS, body_of

KEY = "soak-terminal-key-0123456789abcdefghijkl"
ORDERS_PER_S = 8.0
SAMPLE_EVERY_S = 2.0
#: Share of the run in which processes are killed.
KILLS_SHARE = 0.5
#: Share of the run that a process must have lived to be judged, and minutes: a young one still warms up.
JUDGED_SHARE = 0.2
JUDGED_MINUTES_MIN = 4.0
#: Growth a process may show in the second half: of memory a minute, and of open files a minute.
RSS_SLOPE_MAX_BYTES = 1.5 * 1024**2
FILES_SLOPE_MAX = 2.0
#: Memory that Valkey may take for an order, since orders are kept, and keys for one.
VALKEY_BYTES_PER_ORDER_MAX = 16 * 1024
KEYS_PER_ORDER_MAX = 4.0

FAULTS: tuple[dict[str, object], ...] = (
    {"kind": "down", "scope": "*"},
    {"kind": "hang", "scope": "*"},
    {"kind": "refuse", "scope": "*"},
    {"kind": "slow", "scope": ["generate"], "delay_s": 0.5},
    {"kind": "lost_answer", "scope": ["generate"], "rate": 0.2},
    {"kind": "late_answer", "scope": ["generate"], "rate": 0.2, "delay_s": 5},
    {"kind": "garbage", "scope": ["generate"], "rate": 0.3},
    {"kind": "capacity", "scope": ["generate"], "max_in_flight": 2},
    {"kind": "error", "scope": ["generate"], "status": 500, "commit": True, "rate": 0.2},
)


@dataclass
class Watched:
    """What was measured: by process, time in minutes and bytes, and open files."""

    rss: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    files: dict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))
    keys: list[tuple[float, float]] = field(default_factory=list)


def slope(points: list[tuple[float, float]]) -> float:
    """Growth a minute of the later half, by least squares; 0 where there are too few points."""
    half = points[len(points) // 2 :]
    if len(half) < 5:
        return 0.0
    return statistics.linear_regression([t for t, _ in half], [v for _, v in half]).slope


class Soak:
    """One run on one machine."""

    def __init__(self, processes: Family, seconds: float, seed: int) -> None:
        self.seconds = seconds
        self.rng = random.Random(seed)
        self.processes = processes
        port, sim_port = free_ports(2)
        self.origin = f"http://127.0.0.1:{port}"
        self.upstream = Upstream(processes, processes.folder / "simulator", sim_port, seed)
        self.data = processes.folder / "data"
        self.env = SETTINGS | {
            **self.upstream.settings,
            "ANTREAN_DATA_DIR": str(self.data),
            "ANTREAN_HTTP_PORT": str(port),
            "ANTREAN_BOOTSTRAP_TERMINAL_KEY": KEY,
            "ANTREAN_ADAPTER_SHARED_DIR": str(processes.folder / "simulator" / "sharefolder"),
        }
        self.watched = Watched()
        self.accepted: set[str] = set()
        self.faults = self.kills = 0

    async def run(self) -> list[str]:
        """Run, print what was seen; answers what is not as it should be."""
        await self.upstream.ready()
        self.up = self.processes.antrean("up", env=self.env)
        self.end = time.monotonic() + self.seconds
        self.begin = time.monotonic()
        timeout = aiohttp.ClientTimeout(15)
        async with aiohttp.ClientSession(self.origin, timeout=timeout) as self.http:
            async with asyncio.TaskGroup() as group:
                for step in (self._load(group), self._break(), self._kill(), self._watch()):
                    group.create_task(step)
            await self.upstream.lift_faults()
            return await self._judge()

    def _on(self) -> bool:
        return time.monotonic() < self.end

    async def _load(self, group: asyncio.TaskGroup) -> None:
        number = 0
        while self._on():
            group.create_task(self._submit(number))
            number += 1
            await asyncio.sleep(self.rng.expovariate(ORDERS_PER_S))

    async def _submit(self, number: int) -> None:
        headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": f"soak-{number}"}
        body = body_of(Arrival(number, 0.0, 0, "purchase", None), None)
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self.http.post("/v1/orders", json=body, headers=headers) as answer:
                    if answer.status == 202:
                        self.accepted.add((await answer.json())["id"])
                        return
            await asyncio.sleep(0.5)

    async def _break(self) -> None:
        while self._on():
            await asyncio.sleep(self.rng.uniform(4, 12))
            await self.upstream.set_faults([self.rng.choice(FAULTS)])
            self.faults += 1
            await asyncio.sleep(self.rng.uniform(2, 8))
            await self.upstream.lift_faults()

    async def _kill(self) -> None:
        while time.monotonic() < self.begin + self.seconds * KILLS_SHARE:
            await asyncio.sleep(self.rng.uniform(20, 40))
            # Valkey seldom: it takes everybody with it for a moment.
            what = self.rng.choices(("worker", "gateway", "valkey"), (3, 1, 1))[0]
            self.kills += kill_child(self.up.pid, what)

    async def _watch(self) -> None:
        settings = Settings(_env_file=None, data_dir=self.data)
        redis: Redis = connect(settings.effective_redis_url, settings)
        try:
            while self._on():
                await asyncio.sleep(SAMPLE_EVERY_S)
                minutes = (time.monotonic() - self.begin) / 60
                for child in children(self.up.pid):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        # A process that was replaced is another one: it starts small.
                        name = f"{_role(child)}-{child.pid}"
                        self.watched.rss[name].append((minutes, child.memory_info().rss))
                        self.watched.files[name].append((minutes, child.num_fds()))
                with contextlib.suppress(Exception):
                    self.watched.keys.append((minutes, await redis.dbsize()))
        finally:
            await redis.aclose()

    async def _judge(self) -> list[str]:
        wrong: list[str] = []
        deadline = time.monotonic() + 180
        by_state: dict[str, int] = {}
        while time.monotonic() < deadline and by_state.get("completed", 0) < len(self.accepted):
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, KeyError):
                by_state = (await self._ops("/v1/ops/backlog"))["by_state"]
            await asyncio.sleep(0.5)
        books = await self.upstream.state()
        difference = (await self._ops("/v1/ops/ledger"))["difference_idr"]
        if not by_state.get("completed") == books["sold"] == len(self.accepted) or books["sold_twice"]:
            wrong.append(
                f"accepted {len(self.accepted)}, {by_state}, sold {books['sold']}, twice {books['sold_twice']}"
            )
        for row in (await self._ops("/v1/orders?state=attention&limit=20"))["orders"]:
            wrong.append(f"{row['id']} waits for a person: {row['error']}")
        if difference:
            wrong.append(f"ledger difference Rp {difference}")
        if (
            len(self.accepted) < self.seconds * ORDERS_PER_S / 3
            or self.faults < self.seconds / 40
            or not self.kills
        ):
            wrong.append(
                f"too little happened: {len(self.accepted)} orders, {self.faults} faults, {self.kills} kills"
            )
        minutes, judged = self.seconds / 60, 0
        print(
            f"{len(self.accepted)} orders, {self.faults} faults, {self.kills} kills in {minutes:.1f} minutes"
        )
        for name, points in sorted(self.watched.rss.items()):
            grown, files = slope(points), slope(self.watched.files[name])
            open_files = self.watched.files[name][-1][1]
            print(
                f"{name:<16} {len(points):>4} samples, memory {points[-1][1] / 1024**2:6.1f} MiB, "
                f"{grown / 1024**2:+6.2f} MiB a minute; files {open_files:4.0f}, {files:+.2f} a minute"
            )
            bound = RSS_SLOPE_MAX_BYTES
            if name.startswith("valkey"):
                bound += VALKEY_BYTES_PER_ORDER_MAX * 60 * ORDERS_PER_S
            if points[-1][0] - points[0][0] < max(JUDGED_SHARE * minutes, JUDGED_MINUTES_MIN):
                continue
            judged += 1
            if grown > bound or files > FILES_SLOPE_MAX:
                wrong.append(f"{name} grows")
        print(f"growth is judged of {judged} of them, which lived long enough")
        keys = slope(self.watched.keys) / (60 * ORDERS_PER_S)
        print(f"keys: {self.watched.keys[-1][1]:.0f}, {keys:.2f} for an order")
        if keys > KEYS_PER_ORDER_MAX:
            wrong.append(f"{keys:.1f} keys for an order")
        return wrong

    async def _ops(self, path: str) -> dict[str, Any]:
        async with self.http.get(path, headers={"Authorization": f"Bearer {OPS_KEY}"}) as answer:
            found: dict[str, Any] = await answer.json()
            return found


def _role(process: psutil.Process) -> str:
    words = process.cmdline()
    known = (
        name
        for name in ("gateway", "worker", "valkey")
        if any(w == name or f"{name}-server" in w for w in words)
    )
    return next(known, "other")


async def main() -> int:
    """Run; 1 where something was wrong."""
    seconds = float(os.environ.get("SOAK_SECONDS", "3600"))
    seed = int(os.environ.get("SOAK_SEED", "1"))
    with family() as processes:
        soak = Soak(processes, seconds, seed)
        try:
            wrong = await soak.run()
        finally:
            await soak.upstream.aclose()
    for each in wrong:
        print(f"wrong: {each}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
