"""The simulated upstream of a run: started, driven through the script's phases, and asked for its books."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from antrean.simulator.addresses import SIMULATOR_PASSWORD, SIMULATOR_USER, base_urls
from benchmarks.replay.processes import Family
from benchmarks.replay.script import Script


class Upstream:
    """A simulator as a process of its own."""

    def __init__(self, family: Family, folder: Path, port: int, seed: int) -> None:
        self.origin = f"http://127.0.0.1:{port}"
        env = {"ANTREAN_DATA_DIR": str(folder), "ANTREAN_LOG_LEVEL": "WARNING"}
        family.antrean("simulator", "--port", str(port), "--seed", str(seed), env=env)
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20))
        self.phases: list[tuple[float, str, str]] = []

    @property
    def settings(self) -> dict[str, str]:
        """What points Antrean at it."""
        urls = base_urls(self.origin)
        wanted = ("backend", "stampv2", "inventory", "adapter")
        return {
            **{f"ANTREAN_UPSTREAM_{name.upper()}_URL": urls[name] for name in wanted},
            "ANTREAN_UPSTREAM_USER": SIMULATOR_USER,
            "ANTREAN_UPSTREAM_PASSWORD": SIMULATOR_PASSWORD,
        }

    async def ready(self, timeout_s: float = 20) -> None:
        """Wait until it answers. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            while True:
                try:
                    await self.state()
                except aiohttp.ClientError:
                    await asyncio.sleep(0.05)
                else:
                    return

    async def state(self) -> dict[str, Any]:
        """Its books and counters."""
        async with self._http.get(f"{self.origin}/_sim/state") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def files_sold(self) -> dict[str, int]:
        """How many SNs were sold for each file name."""
        async with self._http.get(f"{self.origin}/_sim/serials?limit=100000") as answer:
            rows = (await answer.json())["serials"]
        sold: dict[str, int] = {}
        for row in rows:
            sold[row["file"]] = sold.get(row["file"], 0) + 1
        return sold

    async def go_through(self, script: Script, started: float) -> None:
        """Switch from phase to phase; `started`: the monotonic time of second 0."""
        for phase in script.phases:
            await asyncio.sleep(max(0.0, started + phase.at_s - time.monotonic()))
            await self.set_faults(script.faults(phase))
            self.phases.append((time.monotonic() - started, phase.name, phase.health))

    async def set_faults(self, faults: Sequence[Mapping[str, object]]) -> None:
        """These faults, and no others."""
        async with self._http.put(f"{self.origin}/_sim/faults", json=[dict(f) for f in faults]) as answer:
            answer.raise_for_status()

    async def lift_faults(self) -> None:
        """None."""
        await self.set_faults([])

    async def aclose(self) -> None:
        """Close the connection."""
        await self._http.close()
