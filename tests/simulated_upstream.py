"""A simulator on a port of its own for tests, and a client that speaks to it as an integration would."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pikepdf
from aiohttp import web

from antrean.simulator.addresses import base_urls
from antrean.simulator.app import SIMULATOR, SimulatorConfig, create_app
from antrean.simulator.machine import Simulator

USER = "kantor-pos"
PASSWORD = "rahasia-uji"
WAIT_MAX_S = 10.0

SALE = {
    "isUpload": False,
    "namadoc": "4b",
    "namafile": "order-1.pdf",
    "nilaidoc": "10000",
    "namejidentitas": "KTP",
    "noidentitas": "1271000000000001",
    "namedipungut": "Sari",
    "snOnly": False,
    "nodoc": "SK-1",
    "tgldoc": "2024-09-04",
}


class Clock:
    """Unix seconds that move when told to."""

    def __init__(self, now: float = 1_725_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@dataclass
class Upstream:
    """Calls by name; each answers (HTTP status, JSON)."""

    http: aiohttp.ClientSession
    origin: str
    simulator: Simulator
    token: str = ""

    def __post_init__(self) -> None:
        self.urls = base_urls(self.origin)

    async def call(self, method: str, url: str, **options: Any) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with self.http.request(method, url, headers=headers, **options) as response:
            return response.status, await response.json(content_type=None)

    async def login(self) -> None:
        body = {"user": USER, "password": PASSWORD}
        _, answer = await self.call("POST", f"{self.urls['backend']}/api/users/login", json=body)
        self.token = answer["token"]

    async def generate(self, **changes: Any) -> Any:
        url = f"{self.urls['stampv2']}/chanel/stampv2"
        return (await self.call("POST", url, json={**SALE, **changes}))[1]

    async def buy(self, file: str = "order-1.pdf") -> str:
        answer = await self.generate(namafile=file)
        assert answer["statusCode"] == "00"
        return str(answer["result"]["sn"])

    async def balance(self) -> int:
        _, answer = await self.call("POST", f"{self.urls['backend']}/function/saldopos")
        return int(answer["result"]["saldo"])

    async def status(self, serial_number: str) -> Any:
        url = f"{self.urls['backend']}/api/chanel/stamp/ext"
        return (await self.call("GET", url, params={"filter": serial_number}))[1]

    async def listed(self, page: int = 1, size: int = 10, user: str = USER) -> Any:
        url = f"{self.urls['stampv2']}/chanel/sale/stamp/ext/{user}"
        return (await self.call("GET", url, params={"page": page, "size": size}))[1]

    async def stamp(self, folder: Path, serial_number: str, **changes: Any) -> Any:
        url = f"{self.urls['adapter']}/adapter/pdfsigning/rest/docSigningZ"
        body = stamp_request(folder, serial_number, self.token) | changes
        return (await self.call("POST", url, json=body))[1]

    async def state(self) -> Any:
        return (await self.call("GET", f"{self.origin}/_sim/state"))[1]

    async def fault(self, kind: str, **values: Any) -> Any:
        status, answer = await self.call("POST", f"{self.origin}/_sim/faults", json={"kind": kind, **values})
        assert status in (200, 201), answer
        return answer

    async def until(self, holds: Callable[[Any], bool]) -> Any:
        """The state, once `holds` of it; fails after WAIT_MAX_S."""
        async with asyncio.timeout(WAIT_MAX_S):
            while not holds(state := await self.state()):
                await asyncio.sleep(0.01)
        return state


@asynccontextmanager
async def simulated(
    clock: Callable[[], float] | None = None, *, logged_in: bool = True, **config: Any
) -> AsyncIterator[Upstream]:
    """A running simulator with an account of USER."""
    made = SimulatorConfig(user=USER, password=PASSWORD, **config)
    app = create_app(made, clock) if clock is not None else create_app(made)
    # As `serve` runs it: aiohttp's own test server would cancel a call whose client has gone.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        async with aiohttp.ClientSession() as http:
            upstream = Upstream(http, f"http://127.0.0.1:{port}", app[SIMULATOR])
            if logged_in:
                await upstream.login()
            yield upstream
    finally:
        await runner.cleanup()


def stamp_request(folder: Path, serial_number: str, token: str) -> dict[str, Any]:
    """A docSigningZ request for `folder`/UNSIGNED/a.pdf."""
    return {
        "certificatelevel": "NOT_CERTIFIED",
        "src": str(folder / "UNSIGNED" / "a.pdf"),
        "dest": str(folder / "SIGNED" / "a.pdf"),
        "docpass": "",
        "jwToken": token,
        "location": "MEDAN",
        "profileName": "emeteraicertificateSigner",
        "reason": "Akta",
        "refToken": serial_number,
        "spesimenPath": str(folder / "STAMP" / "a.png"),
        "visLLX": 400,
        "visLLY": 60,
        "visURX": 490,
        "visURY": 150,
        "visSignaturePage": 1,
    }


def blank_pdf(pages: int = 1, mark: str = "") -> bytes:
    """A PDF of blank A4 pages; `mark` tells one from another."""
    with pikepdf.new() as pdf:
        for _ in range(pages):
            pdf.add_blank_page(page_size=(595, 842))
        pdf.docinfo["/Title"] = f"uji {mark}"
        out = io.BytesIO()
        pdf.save(out, deterministic_id=True)
    return out.getvalue()


def adapter_folder(folder: Path, pdf: bytes, picture: bytes) -> Path:
    """A shared folder with one document and one specimen."""
    for name in ("UNSIGNED", "SIGNED", "STAMP"):
        (folder / name).mkdir(parents=True)
    (folder / "UNSIGNED" / "a.pdf").write_bytes(pdf)
    (folder / "STAMP" / "a.png").write_bytes(picture)
    return folder
