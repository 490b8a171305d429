"""A private Antrean for measuring: real processes on loopback, Valkey with a synced append-only file, the simulator."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from antrean.config.embedded_valkey import EmbeddedValkey
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.config.shared_counts import environment, make_room, numbers_of
from antrean.simulator.addresses import SIMULATOR_PASSWORD, SIMULATOR_USER, base_urls

KEY = "bench-terminal-key-0123456789abcdefghij"
#: Longest that a process may take to end when asked to, in seconds.
STOP_S = 15.0
OPS_KEY = "bench-ops-key-0123456789abcdefghijklmnop"


@dataclass
class Rig:
    """Where the processes of one measurement are, and how to start more."""

    settings: Settings
    env: dict[str, str]
    sim_origin: str
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def origin(self) -> str:
        """The gateway's address."""
        return f"http://127.0.0.1:{self.settings.http_port}"

    @property
    def gateway(self) -> subprocess.Popen[bytes]:
        """The gateway, or the first: the third process, after Valkey and the simulator."""
        return self.processes[2]

    def run(self, *argv: str) -> subprocess.Popen[bytes]:
        """Start an `antrean` command beside us."""
        return self.start([sys.executable, "-m", "antrean", *argv])

    def start(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process that ends with the rig."""
        process = subprocess.Popen(
            command, env=self.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        """End a process: asked first, killed when it does not in STOP_S."""
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)

    async def listens(self, port: int, timeout_s: float = 30) -> None:
        """Wait until a port takes connections."""
        end = time.monotonic() + timeout_s
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                if time.monotonic() > end:
                    raise
                await asyncio.sleep(0.05)
            else:
                writer.close()
                return

    async def answers(self, url: str, timeout_s: float = 30) -> None:
        """Wait until a GET is answered with 200."""
        end = time.monotonic() + timeout_s
        async with aiohttp.ClientSession() as session:
            while True:
                try:
                    async with session.get(url) as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientError:
                    pass
                if time.monotonic() > end:
                    raise TimeoutError(url)
                await asyncio.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def _run_gateways(it: Rig) -> None:
    if it.settings.gateways == 1:
        it.run("gateway")
        return
    numbers = numbers_of(it.settings.gateways)
    make_room(it.settings.data_dir, numbers)
    it.env |= environment(it.settings.data_dir)
    for number in numbers:
        it.run("gateway", "--number", str(number))


@asynccontextmanager
async def rig(**settings: str) -> AsyncIterator[Rig]:
    """Valkey, simulator and gateway running; workers are the caller's to start."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-bench-"))
    port, sim_port = free_ports(2)
    origin = f"http://127.0.0.1:{sim_port}"
    own = {
        "DATA_DIR": str(folder),
        "HTTP_PORT": str(port),
        "SIMULATOR_PORT": str(sim_port),
        "UPSTREAM_USER": SIMULATOR_USER,
        "UPSTREAM_PASSWORD": SIMULATOR_PASSWORD,
        "BOOTSTRAP_TERMINAL_KEY": KEY,
        "BOOTSTRAP_OPS_KEY": OPS_KEY,
        "KEY_RATE_PER_S": "1000000",
        # All orders of a measurement are one office's.
        "OFFICE_BACKLOG_MAX": "1000000",
        "LOG_LEVEL": "WARNING",
        **{
            f"UPSTREAM_{n.upper()}_URL": u
            for n, u in base_urls(origin).items()
            if n in ("backend", "stampv2", "adapter")
        },
        **settings,
    }
    env = os.environ | {f"ANTREAN_{name}": value for name, value in own.items()}
    # Texts, as from the environment: pydantic makes numbers and paths of them.
    made = Settings(_env_file=None, **{n.lower(): v for n, v in own.items()})  # type: ignore[arg-type]
    embedded = EmbeddedValkey.of(made)
    embedded.prepare()
    it = Rig(made, env, origin)
    it.start(embedded.argv)
    try:
        await embedded.wait_ready(made)
        from antrean.config.launch import make_first_keys

        redis = connect(made.effective_redis_url, made)
        await make_first_keys(made, redis)
        await redis.aclose()
        it.run("simulator", "--port", str(sim_port))
        _run_gateways(it)
        await it.answers(f"{origin}/_sim/state")
        await it.answers(f"{it.origin}/readyz")
        yield it
    finally:
        for process in reversed(it.processes):
            process.terminate()
        for process in reversed(it.processes):
            it.stop(process)
        shutil.rmtree(folder, ignore_errors=True)
