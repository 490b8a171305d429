"""A gateway as a process of its own, on the test's Valkey: for what only a process shows (memory, sockets, death)."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import psutil
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.keys import KeyRing, Role
from stack import free_ports

START_S = 60
OFFICE = "MDN-01"


@dataclass
class GatewayProcess:
    """A running `antrean gateway` and a client with a terminal's key."""

    process: subprocess.Popen[bytes]
    port: int
    key: str
    client: aiohttp.ClientSession
    log_path: Path

    def rss_bytes(self) -> int:
        """Memory in use by the gateway and the processes that check PDFs for it."""
        family = psutil.Process(self.process.pid)
        total: int = family.memory_info().rss
        for child in family.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += child.memory_info().rss
        return total

    def assert_unharmed(self) -> None:
        """It lives, and its log names no error of ours."""
        assert self.process.poll() is None
        assert "error of ours" not in self.log_path.read_text(errors="replace")


@asynccontextmanager
async def running_gateway_process(redis: Redis, settings: Settings) -> AsyncIterator[GatewayProcess]:
    """A gateway that runs while the block does."""
    (port,) = free_ports(1)
    key = await KeyRing(redis).create(Role.TERMINAL, OFFICE)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    log_path = settings.data_dir / "gateway.log"
    env = os.environ | {
        "ANTREAN_REDIS_URL": settings.redis_url,
        "ANTREAN_DATA_DIR": str(settings.data_dir),
        "ANTREAN_HTTP_PORT": str(port),
    }
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "antrean", "gateway"],
            env=env,
            stdout=log,
            stderr=log,
            cwd=settings.data_dir,
        )
    client = aiohttp.ClientSession(
        f"http://127.0.0.1:{port}",
        headers={"Authorization": f"Bearer {key}"},
        timeout=aiohttp.ClientTimeout(total=60),
        connector=aiohttp.TCPConnector(limit=32),
    )
    try:
        end_s = time.monotonic() + START_S
        while not await _ready(client):
            assert process.poll() is None, log_path.read_text(errors="replace")
            assert time.monotonic() < end_s, log_path.read_text(errors="replace")
        yield GatewayProcess(process, port, key, client, log_path)
    finally:
        await client.close()
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


async def _ready(client: aiohttp.ClientSession) -> bool:
    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with client.get("/readyz") as answer:
            return answer.status == 200
    return False
