"""The replay with Antrean between the counters and the upstream: `antrean up` as it is, reached over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import random
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pikepdf

from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.gateway.keys import KeyRing, Role
from benchmarks.replay.outcome import OrderOutcome, Outcome, Promise, Sample
from benchmarks.replay.processes import Family, free_ports, kill_child
from benchmarks.replay.script import OFFICES, Arrival, Script
from benchmarks.replay.upstream import Upstream

OPS_KEY = "replay-ops-key-0123456789abcdefghijklmnop"
#: Pauses of a terminal that was not answered with 202, in seconds.
RETRY_S = 0.3
SAMPLE_EVERY_S = 0.5
#: How often the time range of some waiting order is looked at, in seconds.
LOOK_EVERY_S = 0.1
#: Settings of the run: the times of the product, shortened as the days are.
SETTINGS = {
    "ANTREAN_WORKERS": "2",
    "ANTREAN_PROBE_INTERVAL_S": "1",
    "ANTREAN_BREAKER_WINDOW_S": "10",
    "ANTREAN_BREAKER_SLOW_CALL_S": "2",
    "ANTREAN_UPSTREAM_TIMEOUT_S": "3",
    "ANTREAN_UNKNOWN_SETTLE_S": "4",
    "ANTREAN_LOG_LEVEL": "WARNING",
    "ANTREAN_BOOTSTRAP_OPS_KEY": OPS_KEY,
}


def body_of(arrival: Arrival, due_at: float | None) -> dict[str, Any]:
    """What the terminal sends; an affix lacks its document."""
    body: dict[str, Any] = {
        "kind": arrival.kind,
        "document": {
            "type_code": "4b",
            "number": f"SK-{arrival.number}",
            "date": "2024-09-04",
            "filename": "surat.pdf",
        },
        "taxpayer": {"identity_type": "KTP", "identity_number": "1271010101900001", "name": "Siti Aminah"},
        "reference": str(arrival.number),
    }
    if due_at is not None:
        body["deadline"] = datetime.fromtimestamp(due_at, UTC).isoformat()
    if arrival.kind == "affix":
        body["placement"] = {"page": 1, "x": 400, "y": 60, "width": 90, "height": 90}
    return body


def one_page() -> bytes:
    """A small PDF."""
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(595, 842))
    buffer = io.BytesIO()
    pdf.save(buffer)
    return buffer.getvalue()


class AntreanRun:
    """One run. `patience_s`: how long after the span the last order may take.

    `on_the_minute`: begin at a full one. Dates are full minutes too, so that runs begun at other seconds have others.
    """

    def __init__(
        self, script: Script, family: Family, patience_s: float, *, on_the_minute: bool = False
    ) -> None:
        self.on_the_minute = on_the_minute
        self.family = family
        self.patience_s = patience_s
        self._rng = random.Random(script.seed)
        port, sim_port = free_ports(2)
        self.origin = f"http://127.0.0.1:{port}"
        self.upstream = Upstream(family, family.folder / "simulator", sim_port, script.seed)
        self._data = family.folder / "data"
        self._env = SETTINGS | {
            **self.upstream.settings,
            "ANTREAN_DATA_DIR": str(self._data),
            "ANTREAN_HTTP_PORT": str(port),
            "ANTREAN_ADAPTER_SHARED_DIR": str(family.folder / "simulator" / "sharefolder"),
        }
        self.script = script
        self.accepted: dict[str, tuple[int, float]] = {}
        self.documents: dict[int, str] = {}
        self.promised: list[tuple[str, float, float, float, bool, int]] = []
        self.no_promise = 0
        self.samples: list[Sample] = []
        self.kills: list[tuple[float, str]] = []
        self.done = 0

    async def run(self) -> Outcome:
        """From nothing to nothing left to do. Raises TimeoutError, AssertionError where that is not reached."""
        await self.upstream.ready()
        up = self.family.antrean("up", env=self._env)
        limits = aiohttp.TCPConnector(limit=256)
        async with aiohttp.ClientSession(
            self.origin, connector=limits, timeout=aiohttp.ClientTimeout(20)
        ) as self.http:
            await self._until(self._ready, 60)
            self.keys = await self._make_keys()
            await self._upload_documents()
            if self.on_the_minute:
                await asyncio.sleep(-time.time() % 60)
            self.script = replace(self.script, started_at=time.time())
            self.started = time.monotonic()
            background = [self._kill_on_time(up.pid), self._move_the_date(), self._sample(), self._look()]
            async with _all_of(*background, self.upstream.go_through(self.script, self.started)):
                async with asyncio.TaskGroup() as counters:
                    for arrival in self.script.arrivals:
                        counters.create_task(self._come(arrival))
                span_left_s = self.script.span_s - self._now_s()
                await asyncio.sleep(max(0.0, span_left_s))
                await self._until(self._all_done, self.patience_s)
                self.end_s = self._now_s()
            return await self._outcome()

    # ---- what happens meanwhile

    async def _come(self, arrival: Arrival) -> None:
        await asyncio.sleep(max(0.0, self.started + arrival.at_s - time.monotonic()))
        moved = self._now_s() >= self.script.moved_at_s
        body = body_of(arrival, self.script.due_at(arrival, moved=moved))
        if arrival.kind == "affix":
            body["document_id"] = self.documents[arrival.office]
        headers = self._as(arrival.office) | {"Idempotency-Key": f"replay-{arrival.number}"}
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self.http.post("/v1/orders", json=body, headers=headers) as answer:
                    if answer.status == 202:
                        order = await answer.json()
                        self.accepted[order["id"]] = (arrival.number, self._now_s())
                        self._note_promise(order, at_acceptance=True)
                        return
                    assert answer.status in (429, 503), await answer.text()
            await asyncio.sleep(RETRY_S * self._rng.uniform(0.5, 1.5))

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if not self.accepted:
                continue
            order_id = self._rng.choice(list(self.accepted)[-2000:])
            office = self.script.arrivals[self.accepted[order_id][0]].office
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with self.http.get(f"/v1/orders/{order_id}", headers=self._as(office)) as answer:
                    if answer.status == 200 and (order := await answer.json())["state"] == "queued":
                        self._note_promise(order, at_acceptance=False)

    def _note_promise(self, order: dict[str, Any], *, at_acceptance: bool) -> None:
        if order["eta"] is None:
            self.no_promise += 1
            return
        earliest, latest = (self._since_start(order["eta"][end]) for end in ("earliest", "latest"))
        self.promised.append((order["id"], self._now_s(), earliest, latest, at_acceptance, order["position"]))

    async def _sample(self) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, KeyError):
                backlog = await self._ops("GET", "/v1/ops/backlog")
                breakers = await self._ops("GET", "/v1/ops/breaker")
                self.done = backlog["by_state"]["completed"]
                self.samples.append(
                    Sample(
                        self._now_s(), backlog["open"], self.done, backlog["held"], backlog["in_flight"],
                        backlog["concurrency_limit"], breakers["breakers"]["provider"]["state"],
                    )
                )  # fmt: skip
            await asyncio.sleep(SAMPLE_EVERY_S)

    async def _kill_on_time(self, up_pid: int) -> None:
        for at_s, what in self.script.kills:
            await asyncio.sleep(max(0.0, self.started + at_s - time.monotonic()))
            # mypy gives a lambda with a default no type.
            await self._until(lambda what=what: _is_true(kill_child(up_pid, what)), 20)  # type: ignore[misc]
            self.kills.append((self._now_s(), what))

    async def _move_the_date(self) -> None:
        await asyncio.sleep(max(0.0, self.started + self.script.moved_at_s - time.monotonic()))
        before, after = (self.script.exam_due_at(moved=moved) for moved in (False, True))
        body = {"from": _rfc3339(before), "to": _rfc3339(after), "reason": "BKN: 6 to 10 September"}

        async def moved() -> bool:
            return "status" not in await self._ops("POST", "/v1/ops/deadlines", body)

        await self._until(moved, 30)

    # ---- before and after

    async def _ready(self) -> bool:
        async with self.http.get("/readyz") as answer:
            return answer.status == 200

    async def _all_done(self) -> bool:
        backlog = await self._ops("GET", "/v1/ops/backlog")
        self.done = backlog["by_state"]["completed"]
        return bool(
            backlog["open"] == 0 and self.done + backlog["by_state"]["rejected"] >= len(self.accepted)
        )

    async def _make_keys(self) -> list[str]:
        settings = Settings(_env_file=None, data_dir=self._data)
        redis = connect(settings.effective_redis_url, settings)
        try:
            return [
                await KeyRing(redis).create(Role.TERMINAL, f"KPC-{office:02d}") for office in range(OFFICES)
            ]
        finally:
            await redis.aclose()

    async def _upload_documents(self) -> None:
        pdf = one_page()
        for office in range(OFFICES):
            headers = self._as(office) | {"Content-Type": "application/pdf"}
            async with self.http.post("/v1/documents", data=pdf, headers=headers) as answer:
                assert answer.status == 201, await answer.text()
                self.documents[office] = (await answer.json())["id"]

    async def _orders(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor = ""
        while True:
            page = await self._ops("GET", f"/v1/orders?limit=500{cursor}")
            found += page["orders"]
            if page["next_cursor"] is None:
                return found
            cursor = f"&cursor={page['next_cursor']}"

    async def _outcome(self) -> Outcome:
        records = {order["id"]: order for order in await self._orders()}
        ledger = await self._ops("GET", "/v1/ops/ledger")
        books = await self.upstream.state()
        orders = []
        for order_id, (number, accepted_s) in self.accepted.items():
            arrival = self.script.arrivals[number]
            record = records.get(order_id)
            done = _completed_at(record) if record else None
            deadline = record["deadline"] if record else None
            orders.append(
                OrderOutcome(
                    number, arrival.office_name, arrival.kind, arrival.at_s,
                    self._since_start(deadline) if deadline else None,
                    accepted_s, self._since_start(done) if done else None,
                )
            )  # fmt: skip
        done_s = {order_id: _completed_at(record) for order_id, record in records.items()}
        promises = [
            Promise(shown, earliest, latest, self._since_start(done_at), first, position)
            for order_id, shown, earliest, latest, first, position in self.promised
            if (done_at := done_s.get(order_id))
        ]
        totals = ledger["totals_idr"]
        counts = {
            "accepted": len(self.accepted),
            "completed": sum(order.done_s is not None for order in orders),
            "lost": sum(order_id not in records for order_id in self.accepted),
            "records": len(records),
            "sold": books["sold"],
            "sold_twice": books["sold_twice"],
            "stamped": books["stamped"],
            "ledger_difference_idr": ledger["difference_idr"],
            "ledger_purchases_idr": totals["stamped"] + totals["bought_unused"],
            "generate_in_outage": books["calls"]["during_outage"]["generate"],
            "calls_in_outage": sum(books["calls"]["during_outage"].values()),
            "calls": sum(books["calls"]["total"].values()),
        }
        return Outcome(
            "antrean", self.script.seed, self.script.span_s, self.script.full_per_s,
            self.script.full_per_s * self.script.half_room / self.script.room,
            f"{datetime.now(UTC):%Y-%m-%d}", os.cpu_count() or 1, orders, self.upstream.phases, self.kills,
            self.samples, promises, self.no_promise, counts, books["fault_hits"], self.end_s,
        )  # fmt: skip

    # ---- small things

    async def _ops(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {OPS_KEY}"}
        async with self.http.request(method, path, json=body, headers=headers) as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def _until(self, condition: Callable[[], Coroutine[Any, Any, bool]], timeout_s: float) -> None:
        """Poll until the condition holds; what is away meanwhile comes back."""
        async with asyncio.timeout(timeout_s):
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError, KeyError):
                    if await condition():
                        return
                await asyncio.sleep(0.1)

    def _as(self, office: int) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.keys[office]}"}

    def _now_s(self) -> float:
        return time.monotonic() - self.started

    def _since_start(self, when: str) -> float:
        return datetime.fromisoformat(when).timestamp() - self.script.started_at


async def _is_true(value: bool) -> bool:
    return value


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def _completed_at(record: dict[str, Any]) -> str | None:
    """When it was completed, from its history."""
    moments: list[str] = [line["at"] for line in record["history"] if line["state"] == "completed"]
    return moments[-1] if moments else None


@contextlib.asynccontextmanager
async def _all_of(*steps: Coroutine[Any, Any, None]) -> Any:
    """Run the steps beside the block; one that fails ends it, and all end with it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(step) for step in steps]
        yield
        for task in tasks:
            task.cancel()


async def run(script: Script, family: Family, patience_s: float, *, on_the_minute: bool = False) -> Outcome:
    """One run with Antrean."""
    outcome = AntreanRun(script, family, patience_s, on_the_minute=on_the_minute)
    try:
        return await outcome.run()
    finally:
        await outcome.upstream.aclose()
