"""The replay without a gateway: clerks call the upstream themselves, and try again when nothing comes back.

Each office has WINDOWS counters that serve its line in order. A clerk who got no answer pays again, since there is
nothing to ask and the customer stands there. Stamping is left out, in favour of this way.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime

import aiohttp

from antrean.simulator.addresses import SIMULATOR_PASSWORD, SIMULATOR_USER, base_urls
from benchmarks.replay.outcome import OrderOutcome, Outcome, Sample
from benchmarks.replay.processes import Family, free_ports
from benchmarks.replay.script import OFFICES, Arrival, Script
from benchmarks.replay.upstream import Upstream

WINDOWS = 3
#: A clerk waits this long for an answer, and about as long before the next try, in seconds.
PATIENCE_S = 3.0
PAUSE_S = (0.5, 2.0)


def generate_body(number: int) -> dict[str, object]:
    """A call of generate as the channel's integrators send it."""
    return {
        "isUpload": False, "namadoc": "4b", "namafile": f"hand-{number}.pdf", "nilaidoc": "10000",
        "namejidentitas": "KTP", "noidentitas": "1271010101900001", "namedipungut": "Siti Aminah",
        "snOnly": False, "nodoc": f"SK-{number}", "tgldoc": "2024-09-04",
    }  # fmt: skip


def plain_outcome(name: str, script: Script, upstream: Upstream, orders: list[OrderOutcome]) -> Outcome:
    """An outcome with what both other ways have in common."""
    return Outcome(
        name, script.seed, script.span_s, script.full_per_s,
        script.full_per_s * script.half_room / script.room,
        f"{datetime.now(UTC):%Y-%m-%d}", os.cpu_count() or 1, orders, upstream.phases,
    )  # fmt: skip


def due_s(script: Script, arrival: Arrival) -> float | None:
    """When an arrival is due in the end, in seconds from the start."""
    due = script.due_at(arrival, moved=True)
    return None if due is None else due - script.started_at


class Counters:
    """The clerks of all offices."""

    def __init__(self, script: Script, upstream: Upstream) -> None:
        self.script = script
        self.upstream = upstream
        self.lines: dict[int, asyncio.Queue[Arrival]] = defaultdict(asyncio.Queue)
        self.done: dict[int, float] = {}
        self._rng = random.Random(script.seed)
        urls = base_urls(upstream.origin)
        self._login, self._generate = (
            f"{urls['backend']}/api/users/login",
            f"{urls['stampv2']}/chanel/stampv2",
        )
        self.token = ""

    async def work(self, http: aiohttp.ClientSession, started: float, office: int) -> None:
        """One window, until cancelled."""
        while True:
            arrival = await self.lines[office].get()
            await self._serve(http, arrival)
            self.done[arrival.number] = time.monotonic() - started

    async def _serve(self, http: aiohttp.ClientSession, arrival: Arrival) -> None:
        served = await self._buy(http, arrival)
        while not served:
            await asyncio.sleep(self._rng.uniform(*PAUSE_S))
            served = await self._buy(http, arrival)

    async def _buy(self, http: aiohttp.ClientSession, arrival: Arrival) -> bool:
        headers = {"Authorization": f"Bearer {self.token}"}
        try:
            if not self.token:
                credentials = {"user": SIMULATOR_USER, "password": SIMULATOR_PASSWORD}
                async with http.post(self._login, json=credentials) as answer:
                    self.token = (await answer.json())["token"]
                    headers = {"Authorization": f"Bearer {self.token}"}
            body = generate_body(arrival.number)
            async with http.post(self._generate, json=body, headers=headers) as answer:
                return answer.status == 200 and (await answer.json())["statusCode"] == "00"
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return False


async def run(script: Script, family: Family, patience_s: float) -> Outcome:
    """One run by hand; who is not served when patience ends stays unserved."""
    upstream = Upstream(family, family.folder / "simulator", free_ports(1)[0], script.seed)
    try:
        await upstream.ready()
        script = replace(script, started_at=time.time())
        started = time.monotonic()
        counters = Counters(script, upstream)
        samples: list[Sample] = []

        async def arrive() -> None:
            for arrival in script.arrivals:
                await asyncio.sleep(max(0.0, started + arrival.at_s - time.monotonic()))
                counters.lines[arrival.office].put_nowait(arrival)

        async def watch() -> None:
            end = started + script.span_s + patience_s
            while time.monotonic() < end and len(counters.done) < len(script.arrivals):
                now_s = time.monotonic() - started
                come = sum(arrival.at_s <= now_s for arrival in script.arrivals)
                samples.append(Sample(now_s, come - len(counters.done), len(counters.done)))
                await asyncio.sleep(0.5)

        timeout = aiohttp.ClientTimeout(PATIENCE_S)
        async with aiohttp.ClientSession(timeout=timeout, connector=aiohttp.TCPConnector(limit=0)) as http:
            windows = [
                counters.work(http, started, office) for office in range(OFFICES) for _ in range(WINDOWS)
            ]
            tasks = [asyncio.create_task(step) for step in (*windows, arrive())]
            driving = asyncio.create_task(upstream.go_through(script, started))
            await watch()
            await driving
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        orders = [
            OrderOutcome(
                a.number, a.office_name, a.kind, a.at_s, due_s(script, a), a.at_s, counters.done.get(a.number)
            )
            for a in script.arrivals
        ]
        outcome = plain_outcome("by_hand", script, upstream, orders)
        outcome.samples = samples
        outcome.end_s = time.monotonic() - started
        await count_books(outcome, upstream, set(counters.done))
        return outcome
    finally:
        await upstream.aclose()


async def count_books(outcome: Outcome, upstream: Upstream, done: set[int]) -> None:
    """Fill in what the upstream's books say, against the orders that were done."""
    books = await upstream.state()
    sold = {
        int(file.split("-")[1].removesuffix(".pdf")): n for file, n in (await upstream.files_sold()).items()
    }
    outcome.counts |= {
        "accepted": len(outcome.orders),
        "completed": len(done),
        "sold": books["sold"],
        "sold_twice": sum(count > 1 for count in sold.values()),
        "stamps_too_many": books["sold"] - len(sold),
        "paid_not_delivered": len(sold.keys() - done),
        "generate_in_outage": books["calls"]["during_outage"]["generate"],
        "calls_in_outage": sum(books["calls"]["during_outage"].values()),
        "calls": sum(books["calls"]["total"].values()),
    }
    outcome.fault_hits = books["fault_hits"]
