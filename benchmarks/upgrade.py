"""Two releases on one Valkey: gateways and workers are replaced one after another, there and back, while orders flow.

    python -m benchmarks.upgrade --previous TREE [--current TREE] [--step-s 6] [--orders-per-s 6] [--seed 1]

A TREE is a checkout (`git archive COMMIT | tar x -C TREE`); both run with this interpreter's packages. Faults of the
upstream change with the steps; processes are killed and stopped in turns. Ends with 1 where an order is lost or bought
twice, the ledger does not add up, or a mixed fleet completed nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import aiohttp
from pydantic import SecretStr

from antrean.config.embedded_valkey import EmbeddedValkey
from antrean.config.launch import make_first_keys
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.orders import layout
from benchmarks.replay.processes import Family, family, free_ports
from benchmarks.replay.script import Arrival
from benchmarks.replay.upstream import Upstream
from benchmarks.replay.with_antrean import OPS_KEY, SETTINGS, body_of, one_page

KEY = "upgrade-terminal-key-0123456789abcdefghi"
HERE = Path(__file__).parents[1]
#: Every so many-th order is an affix.
AFFIX_EVERY = 5
START_S = 40.0
DRAIN_S = 180.0

#: The fleet, and in which order its places change hands; then back in the same order.
PLACES = ("worker-1", "gateway-1", "worker-2", "gateway-2", "worker-3")
#: One for each step, over and over.
FAULTS: tuple[tuple[dict[str, object], ...], ...] = (
    ({"kind": "lost_answer", "scope": ["generate"], "rate": 0.3},),
    ({"kind": "slow", "scope": ["generate", "stamp"], "delay_s": 0.5},),
    ({"kind": "down", "scope": "*"},),
    ({"kind": "error", "scope": ["generate"], "status": 500, "commit": True, "rate": 0.3},),
    (),
)


@dataclass
class Seen:
    """What one run showed. `steps`: what was done, and orders completed since the step before."""

    accepted: int = 0
    steps: list[tuple[str, int]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


class Upgrade:
    """One run. `trees`: the two releases by name."""

    def __init__(
        self, processes: Family, trees: dict[str, Path], step_s: float, orders_per_s: float, seed: int
    ) -> None:
        self.trees = trees
        self.step_s = step_s
        self.orders_per_s = orders_per_s
        self.rng = random.Random(seed)
        self.processes = processes
        *self.ports, sim_port = free_ports(3)
        self.upstream = Upstream(processes, processes.folder / "simulator", sim_port, seed)
        data = processes.folder / "data"
        self.settings = Settings(_env_file=None, data_dir=data)
        self.env = SETTINGS | {
            **self.upstream.settings,
            "ANTREAN_DATA_DIR": str(data),
            "ANTREAN_BOOTSTRAP_TERMINAL_KEY": KEY,
            "ANTREAN_ADAPTER_SHARED_DIR": str(processes.folder / "simulator" / "sharefolder"),
        }
        self.fleet: dict[str, subprocess.Popen[bytes]] = {}
        self.accepted: set[str] = set()
        self.seen = Seen()

    async def run(self) -> Seen:
        """All steps, the draining and the judgement."""
        embedded = EmbeddedValkey.of(self.settings)
        embedded.prepare()
        self.processes.start(embedded.argv)
        await embedded.wait_ready(self.settings)
        keys = connect(self.settings.effective_redis_url, self.settings)
        given = {"bootstrap_terminal_key": KEY, "bootstrap_ops_key": OPS_KEY}
        await make_first_keys(self.settings.model_copy(update=_secrets(given)), keys)
        await keys.aclose()
        await self.upstream.ready()
        for place in PLACES:
            self._start(place, "previous")
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(15)) as self.http:
            for port in self.ports:
                await self._ready(port)
            load = asyncio.create_task(self._load())
            await self._step("all previous")
            for release in ("current", "previous", "current"):
                for number, place in enumerate(PLACES):
                    await self._replace(place, release, kill=number % 2 == 0)
                    await self._step(f"{place} {release}")
            load.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await load
            await self.upstream.lift_faults()
            await self._judge()
        return self.seen

    def _start(self, place: str, release: str) -> None:
        kind, number = place.split("-")
        env = self.env | {"PYTHONPATH": str(self.trees[release] / "src")}
        if kind == "gateway":
            env["ANTREAN_HTTP_PORT"] = str(self.ports[int(number) - 1])
        self.fleet[place] = self.processes.antrean(kind, env=env)

    async def _replace(self, place: str, release: str, kill: bool) -> None:
        old = self.fleet[place]
        if old.poll() is not None:
            self.seen.wrong.append(f"{place} had ended by itself with {old.returncode}")
        elif kill:
            old.kill()
        else:
            old.terminate()
        await asyncio.to_thread(old.wait, 60)
        self._start(place, release)
        if place.startswith("gateway"):
            await self._ready(self.ports[int(place[-1]) - 1])

    async def _step(self, what: str) -> None:
        await self.upstream.set_faults(FAULTS[len(self.seen.steps) % len(FAULTS)])
        before = (await self._by_state()).get("completed", 0)
        await asyncio.sleep(self.step_s)
        done = (await self._by_state()).get("completed", 0) - before
        self.seen.steps.append((what, done))
        print(f"{what:<20} {done:>4} completed", flush=True)

    async def _ready(self, port: int) -> None:
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with self.http.get(f"http://127.0.0.1:{port}/readyz") as answer:
                        if answer.status == 200:
                            return
                await asyncio.sleep(0.1)

    async def _load(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(1_000_000):
                group.create_task(self._submit(number))
                await asyncio.sleep(self.rng.expovariate(self.orders_per_s))

    async def _submit(self, number: int) -> None:
        """As a terminal does: with one key, at whichever gateway answers, until it is accepted."""
        headers = {"Authorization": f"Bearer {KEY}", "Idempotency-Key": f"upgrade-{number}"}
        kind: Literal["purchase", "affix"] = "purchase" if number % AFFIX_EVERY else "affix"
        body = body_of(Arrival(number, 0.0, 0, kind, None), None)
        attempt = number
        while True:
            attempt += 1
            origin = f"http://127.0.0.1:{self.ports[attempt % 2]}"
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                if kind == "affix" and "document_id" not in body:
                    body["document_id"] = await self._upload(origin)
                async with self.http.post(f"{origin}/v1/orders", json=body, headers=headers) as answer:
                    if answer.status == 202:
                        self.accepted.add((await answer.json())["id"])
                        return
            await asyncio.sleep(0.3)

    async def _upload(self, origin: str) -> str:
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/pdf"}
        async with self.http.post(f"{origin}/v1/documents", data=one_page(), headers=headers) as answer:
            answer.raise_for_status()
            found: str = (await answer.json())["id"]
            return found

    async def _judge(self) -> None:
        wrong = self.seen.wrong
        end = time.monotonic() + DRAIN_S
        by_state: dict[str, int] = {}
        while time.monotonic() < end and by_state.get("completed", 0) < len(self.accepted):
            by_state = await self._by_state()
            await asyncio.sleep(0.5)
        self.seen.accepted = len(self.accepted)
        books = await self.upstream.state()
        difference = (await self._ops("/v1/ops/ledger"))["difference_idr"]
        by_state = {state: count for state, count in by_state.items() if count}
        print(
            f"accepted {len(self.accepted)}, {by_state}, sold {books['sold']}, "
            f"sold twice {books['sold_twice']}, ledger difference Rp {difference}"
        )
        # An order whose 202 was on its way when the load ended is open or done, and not among the accepted.
        if by_state.keys() != {"completed"} or by_state["completed"] < len(self.accepted):
            wrong.append("an order is lost or stands still")
        if books["sold_twice"] or books["sold"] != by_state.get("completed"):
            wrong.append("stamps sold are not the orders completed")
        if difference:
            wrong.append(f"ledger difference Rp {difference}")
        states = [await self._state(order_id) for order_id in self.accepted]
        if set(states) != {"completed"}:
            wrong.append("not every accepted order is completed")
        idle = [
            what
            for number, (what, done) in enumerate(self.seen.steps)
            if not done and FAULTS[number % 5] == ()
        ]
        if idle:
            wrong.append(f"nothing was completed in {idle}")

    async def _by_state(self) -> dict[str, int]:
        return (await self._ops("/v1/ops/backlog"))["by_state"]

    async def _state(self, order_id: str) -> str:
        url = f"http://127.0.0.1:{self.ports[0]}/v1/orders/{order_id}"
        async with self.http.get(url, headers={"Authorization": f"Bearer {KEY}"}) as answer:
            return str((await answer.json()).get("state"))

    async def _ops(self, path: str) -> dict[str, dict[str, int]]:
        """From whichever gateway answers."""
        async with asyncio.timeout(START_S):
            for attempt in range(1_000_000):
                url = f"http://127.0.0.1:{self.ports[attempt % 2]}{path}"
                with contextlib.suppress(aiohttp.ClientError):
                    async with self.http.get(url, headers={"Authorization": f"Bearer {OPS_KEY}"}) as answer:
                        if answer.status == 200:
                            found: dict[str, dict[str, int]] = await answer.json()
                            return found
                await asyncio.sleep(0.2)
        raise AssertionError


def _secrets(values: dict[str, str]) -> dict[str, object]:
    return {name: SecretStr(value) for name, value in values.items()}


async def upgrade(previous: Path, current: Path, *, step_s: float, orders_per_s: float, seed: int) -> Seen:
    """One run on these two trees."""
    with family() as processes:
        run = Upgrade(processes, {"previous": previous, "current": current}, step_s, orders_per_s, seed)
        try:
            return await run.run()
        finally:
            await run.upstream.aclose()


def _reads(tree: Path) -> int:
    """The newest layout that a checkout reads; 0 for one from before layouts had numbers."""
    source = tree / "src" / "antrean" / "orders" / "layout.py"
    found = re.search(r"^READS = (\d+)$", source.read_text(), re.MULTILINE) if source.exists() else None
    return int(found[1]) if found else 0


def main() -> int:
    """Run; 1 where something was wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.upgrade")
    parser.add_argument("--previous", type=Path, required=True)
    parser.add_argument("--current", type=Path, default=HERE)
    parser.add_argument("--step-s", type=float, default=6)
    parser.add_argument("--orders-per-s", type=float, default=6)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if (reads := _reads(given.previous)) < layout.WRITES:
        parser.error(f"{given.previous} reads layouts up to {reads}, and {layout.WRITES} is written today")
    seen = asyncio.run(
        upgrade(
            given.previous.resolve(),
            given.current.resolve(),
            step_s=given.step_s,
            orders_per_s=given.orders_per_s,
            seed=given.seed,
        )
    )
    for each in seen.wrong:
        print(f"wrong: {each}")
    return 1 if seen.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
