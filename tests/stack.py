"""The product as it is run: `antrean up` and its children as real processes, reached over HTTP as a terminal would."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pikepdf
import psutil

from antrean.config.settings import Settings

START_TIMEOUT_S = 30
TERMINAL_KEY = "terminal-key-of-the-tests-0123456789abcdef"
OPS_KEY = "ops-key-of-the-tests-0123456789abcdef012345"


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]
    finally:
        for s in sockets:
            s.close()


def pdf_bytes(pages: int = 1) -> bytes:
    """A small, sound PDF of A4 pages."""
    pdf = pikepdf.new()
    for _ in range(pages):
        pdf.add_blank_page(page_size=(595, 842))
    buffer = io.BytesIO()
    pdf.save(buffer)
    return buffer.getvalue()


def purchase(**changes: Any) -> dict[str, Any]:
    """The body of a purchase order."""
    body: dict[str, Any] = {
        "kind": "purchase",
        "document": {"type_code": "4b", "number": "SK-1", "date": "2024-09-04", "filename": "surat.pdf"},
        "taxpayer": {"identity_type": "KTP", "identity_number": "1271010101900001", "name": "Siti Aminah"},
    }
    return body | changes


@dataclass
class Stack:
    """A running `antrean up` and a client for it."""

    folder: Path
    port: int
    sim_port: int
    env: dict[str, str]
    process: subprocess.Popen[bytes] | None = None
    accepted: dict[str, str] = field(default_factory=dict)
    starts: int = 0

    def __post_init__(self) -> None:
        limits = httpx.Limits(max_connections=100)
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {TERMINAL_KEY}"},
            timeout=20,
            limits=limits,
        )
        self.ops = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {OPS_KEY}"},
            timeout=20,
        )
        self.sim = httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.sim_port}", timeout=20)

    # ---- processes

    def start(self, *options: str) -> None:
        """Run `antrean up`."""
        self.starts += 1
        with (self.folder / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "antrean", "up", *options],
                env=self.env,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )

    async def ready(self) -> None:
        """Wait until orders are accepted and all processes do their work."""
        await self.until(self._ready, START_TIMEOUT_S)

    async def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(httpx.HTTPError):
            all_run = len(re.findall(r"^ready ", self.log(), re.MULTILINE)) == self.starts
            return all_run and (await self.http.get("/readyz")).status_code == 200
        return False

    async def until(self, condition: Callable[[], Any], timeout_s: float = 30) -> None:
        """Poll until `condition` (awaited) holds."""
        end = time.monotonic() + timeout_s
        while not await condition():
            assert time.monotonic() < end, f"not in {timeout_s} s; {self.log()[-3000:]}"
            await asyncio.sleep(0.1)

    def children(self, name: str) -> list[psutil.Process]:
        """The children of `up` whose command line ends in `antrean NAME …`, or the Valkey."""
        assert self.process is not None
        pattern = re.compile(rf"antrean(\.\w+)* {name}\b|{name}-server")
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if pattern.search(" ".join(child.cmdline())):
                    found.append(child)
        return found

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a signal to the first child of that name; answers its pid."""
        child = self.children(name)[0]
        child.send_signal(number)
        return child.pid

    def log(self) -> str:
        """All that was printed."""
        return (self.folder / "up.log").read_text(errors="replace")

    async def stop(self) -> None:
        """SIGTERM, and wait; then nothing of it may live."""
        for client in (self.http, self.ops, self.sim):
            await client.aclose()
        if self.process is not None and self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            self.process.send_signal(signal.SIGTERM)
            try:
                await asyncio.to_thread(self.process.wait, 60)
            finally:
                for process in family:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.kill()
                self.process.kill()

    # ---- what a terminal does

    async def submit(
        self, body: dict[str, Any], key: str | None = None, timeout_s: float = 60
    ) -> dict[str, Any]:
        """Send until it is accepted, with one key, as a terminal does."""
        key = key or secrets.token_hex(8)
        end = time.monotonic() + timeout_s
        while True:
            try:
                answer = await self.http.post("/v1/orders", json=body, headers={"Idempotency-Key": key})
                if answer.status_code == 202:
                    order: dict[str, Any] = answer.json()
                    assert self.accepted.setdefault(key, order["id"]) == order["id"]
                    return order
                assert answer.status_code in (429, 503), answer.text
            except httpx.TransportError:
                pass
            assert time.monotonic() < end, f"not accepted; {self.log()[-3000:]}"
            await asyncio.sleep(0.1)

    async def upload(self, pdf: bytes | None = None) -> str:
        """Upload a PDF; answers its id."""
        answer = await self.http.post(
            "/v1/documents", content=pdf or pdf_bytes(), headers={"Content-Type": "application/pdf"}
        )
        assert answer.status_code == 201, answer.text
        document_id: str = answer.json()["id"]
        return document_id

    async def affix_body(self, **changes: Any) -> dict[str, Any]:
        """The body of an affix order on a new document."""
        placement = {"page": 1, "x": 400, "y": 60, "width": 90, "height": 90}
        return purchase(kind="affix", document_id=await self.upload(), placement=placement, **changes)

    async def order(self, order_id: str) -> dict[str, Any]:
        """One order as the terminal sees it."""
        answer = await self.http.get(f"/v1/orders/{order_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def backlog(self) -> dict[str, Any]:
        """What ops see of the queue."""
        answer = await self.ops.get("/v1/ops/backlog")
        found: dict[str, Any] = answer.json()
        return found

    async def all_completed(self, timeout_s: float = 60) -> None:
        """Wait until every accepted order is completed."""

        async def done() -> bool:
            with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
                return bool((await self.backlog())["by_state"].get("completed", 0) >= len(self.accepted))
            return False

        await self.until(done, timeout_s)

    # ---- the upstream

    async def sim_state(self) -> dict[str, Any]:
        """The simulator's books."""
        found: dict[str, Any] = (await self.sim.get("/_sim/state")).json()
        return found

    async def fault_hits(self, kind: str) -> int:
        """How many calls a fault of the upstream has met since the simulator started."""
        return int((await self.sim_state())["fault_hits"].get(kind, 0))

    async def until_hit(self, kind: str, hits: int) -> None:
        """Wait until a fault of the upstream has met so many calls."""

        async def met() -> bool:
            return await self.fault_hits(kind) >= hits

        await self.until(met)

    async def fault(self, kind: str, scope: str | list[str] = "*", **more: Any) -> None:
        """Switch a fault of the upstream on."""
        answer = await self.sim.post("/_sim/faults", json={"kind": kind, "scope": scope, **more})
        assert answer.status_code < 300, answer.text

    async def no_faults(self) -> None:
        """Switch all faults off."""
        await self.sim.delete("/_sim/faults")

    async def assert_books_agree(self) -> None:
        """SNs sold = SNs on our books = completed orders; the ledger's parts are its whole."""
        answer = await self.ops.get("/v1/ops/ledger")
        totals = answer.json()["totals_idr"]
        assert totals["paid"] == sum(totals[a] for a in ("stamped", "bought_unused", "refunded", "held")), (
            totals
        )
        sim = await self.sim_state()
        assert sim["sold_twice"] == 0, sim["sold_twice_files"]
        assert sim["sold"] == len(self.accepted)
        assert totals["stamped"] + totals["bought_unused"] == 10_000 * sim["sold"]


@contextlib.asynccontextmanager
async def running_stack(workers: int = 2, **settings: str) -> AsyncIterator[Stack]:
    """A stack in a folder of its own, stopped afterwards; its log is printed where the test fails."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-", dir="/tmp"))
    port, sim_port = free_ports(2)
    own = {f"ANTREAN_{name.upper()}" for name in Settings.model_fields}
    env = {k: v for k, v in os.environ.items() if k not in own} | {
        "ANTREAN_DATA_DIR": str(folder / "data"),
        "ANTREAN_HTTP_PORT": str(port),
        "ANTREAN_SIMULATOR_PORT": str(sim_port),
        "ANTREAN_WORKERS": str(workers),
        "ANTREAN_BOOTSTRAP_TERMINAL_KEY": TERMINAL_KEY,
        "ANTREAN_BOOTSTRAP_OPS_KEY": OPS_KEY,
        "ANTREAN_PROBE_INTERVAL_S": "1",
        "ANTREAN_UNKNOWN_SETTLE_S": "4",
        "ANTREAN_UPSTREAM_TIMEOUT_S": "3",
        **{f"ANTREAN_{name.upper()}": value for name, value in settings.items()},
    }
    stack = Stack(folder, port, sim_port, env)
    stack.start()
    try:
        await stack.ready()
        yield stack
    except BaseException:
        print(stack.log()[-8000:])
        raise
    finally:
        await stack.stop()
        shutil.rmtree(folder, ignore_errors=True)
