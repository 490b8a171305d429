"""Seconds from `antrean up`, on files that are there already, to the first accepted order."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import Answer, Row, spread
from benchmarks.rig import KEY, OPS_KEY, free_ports
from benchmarks.terminals import terminals

STARTS, QUICK_STARTS = 5, 1


async def _start(env: dict[str, str], port: int) -> float:
    started = time.perf_counter()
    up = subprocess.Popen(
        [sys.executable, "-m", "antrean", "up"],
        env=env,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while True:
            try:
                async with terminals(f"http://127.0.0.1:{port}", 1) as counter:
                    await counter.submit()
                return time.perf_counter() - started
            except (OSError, RuntimeError):
                if time.perf_counter() - started > 60:
                    raise
                await asyncio.sleep(0.02)
    finally:
        up.send_signal(signal.SIGTERM)
        await asyncio.to_thread(up.wait, 60)


async def startup(quick: bool) -> Answer:
    """One row; the first start, which makes the files, does not count."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-bench-"))
    port, sim_port = free_ports(2)
    env = os.environ | {
        "ANTREAN_DATA_DIR": str(folder),
        "ANTREAN_HTTP_PORT": str(port),
        "ANTREAN_SIMULATOR_PORT": str(sim_port),
        "ANTREAN_BOOTSTRAP_TERMINAL_KEY": KEY,
        "ANTREAN_BOOTSTRAP_OPS_KEY": OPS_KEY,
    }
    try:
        seconds = [await _start(env, port) for _ in range(1 + (QUICK_STARTS if quick else STARTS))]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Answer([Row("`antrean up`, warm, to the first accepted order", f"{spread(seconds[1:], 2)} s")])
