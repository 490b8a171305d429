"""One suite for whatever answers as Peruri: scripted answers and the simulator must satisfy the same tests."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pikepdf
import pytest
from aiohttp import web
from redis.asyncio import Redis

from antrean.provider.errors import QuotaExhausted, Rejected, SerialUnusable
from antrean.provider.peruri import PeruriAdapter, PeruriConfig
from antrean.provider.pictures import is_png
from antrean.provider.protocol import CallMeter
from antrean.simulator.addresses import base_urls
from antrean.simulator.app import SimulatorConfig, create_app
from provider_support import (
    PDF,
    ScriptedUpstream,
    generate_request,
    jwt,
    png_text,
    shared_token,
    stamp_request,
)

QUOTA = 3
USER, PASSWORD = "pos-medan", "rahasia-sekali"
VARIANTS = ["onpremise", "cloud"]


def one_page() -> bytes:
    """A PDF of one A4 page."""
    pdf, out = pikepdf.new(), io.BytesIO()
    pdf.add_blank_page(page_size=(595, 842))
    pdf.save(out)
    return out.getvalue()


class PaperUpstream(ScriptedUpstream):
    """An account on paper: as little as the protocol's page demands, behind the scripted answers."""

    def __init__(self, shared: Path) -> None:
        super().__init__()
        self.shared = shared
        self.sold: list[dict[str, Any]] = []
        self.stamped: dict[str, str] = {}
        self.on("POST", "/api/users/login", {"statusCode": "00", "token": jwt(id="A77", iat=0, exp=86400)})
        self.on("POST", "/chanel/stampv2", self.generate)
        self.on("GET", "/api/chanel/stamp/ext", self.status)
        self.on("GET", "/chanel/sale/stamp/ext/A77", self.page)
        self.on("POST", "/function/saldopos", lambda _: done({"saldo": QUOTA - len(self.sold)}))
        self.on("GET", "/snqr/qrimage", done(png_text()))
        self.on("GET", "/jenisdoc", done([{"id": "1", "kode": "4b", "nama": "Surat pernyataan"}]))
        self.on("POST", "/adapter/pdfsigning/rest/docSigningZ", self.sign)
        self.on("POST", "/uploaddoc2", {"statusCode": "00", "id": "U1", "name": "x.pdf"})
        self.on("POST", "/keystamp/adapter/docSigningZ", self.sign)
        self.on("GET", "/file/1", httpx.Response(200, content=PDF))

    def generate(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", body["tgldoc"]):
            return httpx.Response(200, json={"statusCode": "12", "message": "tgldoc harus YYYY-MM-DD"})
        if len(self.sold) >= QUOTA:
            return httpx.Response(200, json={"statusCode": "93", "message": "Kuota habis"})
        sn = hashlib.sha256(str(len(self.sold)).encode()).hexdigest()[:22].upper()
        row = {
            "serialnumber": sn,
            "status": "NOTSTAMP",
            "file": body["namafile"],
            "tglupdate": "2026-01-01T00:00:00+07:00",
        }
        self.sold.insert(0, row)
        return done({"sn": sn, "image": png_text()})

    def status(self, request: httpx.Request) -> httpx.Response:
        rows = [row for row in self.sold if row["serialnumber"] == request.url.params["filter"]]
        return done({"total": 1, "data": rows} if rows else "Data tidak ditemukan")

    def page(self, request: httpx.Request) -> httpx.Response:
        query = parse_qs(request.url.query.decode())
        page, size = int(query["page"][0]), int(query["size"][0])
        return done({"total": len(self.sold), "data": self.sold[(page - 1) * size : page * size]})

    def sign(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        row = next((row for row in self.sold if row["serialnumber"] == body["refToken"]), None)
        if row is None:
            return httpx.Response(
                200, json={"errorCode": "92", "status": "False", "errorMessage": "SN tidak dikenal"}
            )
        row["status"] = "STAMP"
        if "dest" in body:
            (self.shared / "SIGNED" / Path(body["dest"]).name).write_bytes(PDF)
        url = f"{request.url.scheme}://{request.url.netloc.decode()}/file/1"
        return httpx.Response(
            200, json={"errorCode": 0, "status": "True", "errorMessage": "", "urlFile": url}
        )


def done(result: Any) -> httpx.Response:
    return httpx.Response(200, json={"statusCode": "00", "message": "success", "result": result})


def variant_config(urls: dict[str, str], variant: str, shared: Path) -> PeruriConfig:
    signing: dict[str, Any] = {"adapter_url": urls["adapter"], "shared_dir": shared}
    if variant == "cloud":
        signing = {"fileupload_url": urls["fileupload"], "stampservice_url": urls["stampservice"]}
    return PeruriConfig(urls["backend"], urls["stampv2"], USER, PASSWORD, timeout_s=10, **signing)


@pytest.fixture(params=VARIANTS)
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=["scripted", "simulator"])
async def adapter(
    request: pytest.FixtureRequest, variant: str, redis: Redis, tmp_path: Path
) -> AsyncIterator[PeruriAdapter]:
    shared = tmp_path / "sharefolder"
    if request.param == "scripted":
        names = ("backend", "stampv2", "adapter", "fileupload", "stampservice")
        config = variant_config({name: f"http://{name}.test" for name in names}, variant, shared)
        scripted = PeruriAdapter(config, shared_token(redis, config), PaperUpstream(shared).transport)
        yield scripted
        await scripted.aclose()
        return
    runner = web.AppRunner(create_app(SimulatorConfig(USER, PASSWORD, quota=QUOTA, adapter_root=shared)))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    config = variant_config(base_urls(f"http://127.0.0.1:{runner.addresses[0][1]}"), variant, shared)
    simulated = PeruriAdapter(config, shared_token(redis, config))
    yield simulated
    await simulated.aclose()
    await runner.cleanup()


async def test_what_was_bought_is_found_by_sn_and_by_order_and_leaves_the_balance(
    adapter: PeruriAdapter,
) -> None:
    assert await adapter.balance() == QUOTA
    bought = await adapter.generate(generate_request("ord-1"), CallMeter())
    assert bought.qr_png is not None
    assert is_png(bought.qr_png)
    assert await adapter.balance() == QUOTA - 1
    status = await adapter.serial_status(bought.serial_number)
    assert status is not None
    assert (status.status, status.file) == ("NOTSTAMP", "ord-1.pdf")
    page = await adapter.serial_page(1, 10)
    assert [(row.serial_number, row.file) for row in page.records] == [(bought.serial_number, "ord-1.pdf")]
    assert is_png(await adapter.qr_image(bought.serial_number, CallMeter()))


async def test_the_list_is_newest_first_in_pages_from_one_and_has_an_end(adapter: PeruriAdapter) -> None:
    bought = [
        (await adapter.generate(generate_request(f"ord-{n}"), CallMeter())).serial_number for n in range(3)
    ]
    pages = [await adapter.serial_page(number, 2) for number in (1, 2, 3)]
    assert [row.serial_number for page in pages for row in page.records] == bought[::-1]
    assert [page.last for page in pages] == [False, False, True]


async def test_an_sn_nobody_bought_is_none(adapter: PeruriAdapter) -> None:
    assert await adapter.serial_status("Z" * 22) is None


async def test_a_used_up_quota_and_a_rejection_are_told_apart(adapter: PeruriAdapter) -> None:
    request = generate_request("ord-bad")
    wrong = type(request)(
        **{**{f: getattr(request, f) for f in request.__dataclass_fields__}, "document_date": "x"}
    )
    with pytest.raises(Rejected) as rejected:
        await adapter.generate(wrong, CallMeter())
    assert rejected.value.code not in ("00", "01", "93")
    for number in range(QUOTA):
        await adapter.generate(generate_request(f"ord-{number}"), CallMeter())
    with pytest.raises(QuotaExhausted):
        await adapter.generate(generate_request("ord-more"), CallMeter())


async def test_a_document_is_stamped_and_may_be_stamped_again_with_the_same_sn(
    adapter: PeruriAdapter,
) -> None:
    sn = (await adapter.generate(generate_request(), CallMeter())).serial_number
    pdf = one_page()
    first = await adapter.stamp(stamp_request(sn, pdf=pdf), CallMeter())
    again = await adapter.stamp(stamp_request(sn, pdf=pdf, retry=True, ref="ord-1-8"), CallMeter())
    assert first.startswith(b"%PDF-")
    assert again.startswith(b"%PDF-")
    status = await adapter.serial_status(sn)
    assert status is not None
    assert status.status == "STAMP"


async def test_an_sn_that_is_not_ours_can_not_be_stamped(adapter: PeruriAdapter) -> None:
    with pytest.raises(SerialUnusable):
        await adapter.stamp(stamp_request("Z" * 22, pdf=one_page()), CallMeter())


async def test_document_types_and_probes_are_answered(adapter: PeruriAdapter) -> None:
    await adapter.probe()
    await adapter.probe()
    assert "4b" in await adapter.document_types()
