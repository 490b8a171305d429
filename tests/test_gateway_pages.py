"""The pages as files: kept by the browser for good, small, strict; and what they ask of the gateway beside the API."""

from __future__ import annotations

import gzip
import io
import re
import time
from collections.abc import AsyncIterator

import pikepdf
import pytest
from PIL import Image
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.web_files import BUILD, FILES
from gateway_support import OTHER, Gateway, running_gateway

WIDE = {"Accept-Encoding": "identity"}


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


def turned_pdf() -> bytes:
    """A wide first page; a second one, that the reader sees turned, with a black square at its lower left."""
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(842, 595))
    pdf.add_blank_page(page_size=(400, 600))
    page = pdf.pages[1]
    page.obj.Rotate = 90
    page.obj.CropBox = pikepdf.Array([100, 200, 400, 600])
    page.obj.Contents = pdf.make_stream(b"0 g 100 200 50 50 re f")
    buffer = io.BytesIO()
    pdf.save(buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("name", sorted(FILES))
async def test_a_file_under_its_builds_name_is_kept_for_good_and_known_again(
    gateway: Gateway, name: str
) -> None:
    path = f"/static/{BUILD}/{name}"
    answer = await gateway.client.get(path, headers=WIDE)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "public, max-age=31536000, immutable")
    assert await answer.read() == FILES[name].body
    known = await gateway.client.get(path, headers=WIDE | {"If-None-Match": answer.headers["ETag"]})
    assert (known.status, await known.read()) == (304, b"")
    other = await gateway.client.get(f"/static/earlier/{name}")
    assert (other.status, other.headers["Cache-Control"]) == (200, "no-cache")


async def test_large_files_travel_packed_to_those_who_take_it(gateway: Gateway) -> None:
    async with gateway.client.session.get(
        gateway.client.make_url("/"), headers={"Accept-Encoding": "gzip"}, auto_decompress=False
    ) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert gzip.decompress(await answer.read()) == FILES["index.html"].body


async def test_pages_name_only_files_that_exist_and_hold_no_script_or_style_of_their_own(
    gateway: Gateway,
) -> None:
    for path in ("/", "/ops"):
        answer = await gateway.client.get(path)
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy
        assert "unsafe" not in policy
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", page)
        for source in re.findall(r'(?:src|href)="(/static/[^"]+)"', page):
            assert (await gateway.client.get(source)).status == 200, source


async def test_modules_import_only_files_that_exist() -> None:
    for name, file in FILES.items():
        for target in re.findall(rb'from "\./([^"]+)"|import\("\./([^"$]+)"\)', file.body):
            assert (target[0] or target[1]).decode() in FILES, name


async def test_the_ticket_page_holds_the_ticket_and_an_unknown_one_is_404(gateway: Gateway) -> None:
    order = await gateway.order()
    answer = await gateway.client.get(f"/t/{order['ticket']['token']}")
    page = await answer.text()
    assert answer.status == 200
    assert f">{order['ticket']['number']}<" in page
    assert 'role="status">Pesanan Anda berikutnya</p>' in page
    assert not re.search(r"[>\"]{\w+}[<\"]", page)
    assert "Siti" not in page
    assert "1271" not in page
    for token in ("0" * 20, "x", order["ticket"]["token"][:-1]):
        missing = await gateway.client.get(f"/t/{token}")
        assert (missing.status, missing.content_type) == (404, "text/html")


async def test_the_tickets_qr_leads_to_its_page(gateway: Gateway) -> None:
    order = await gateway.order()
    answer = await gateway.client.get(f"/v1/tickets/{order['ticket']['token']}/qr")
    assert (answer.status, answer.content_type) == (200, "image/svg+xml")
    assert (await answer.text()).startswith("<svg")
    assert (await gateway.client.get("/v1/tickets/" + "0" * 20 + "/qr")).status == 404


async def test_a_page_of_an_upload_is_drawn_as_a_reader_sees_it(gateway: Gateway) -> None:
    upload = await (await gateway.upload(turned_pdf())).json()
    first = await gateway.call("GET", f"/v1/documents/{upload['id']}/pages/1.png?width=842")
    assert (first.status, first.content_type) == (200, "image/png")
    assert first.headers["X-Page-Box"] == "0 0 842 595"
    assert Image.open(io.BytesIO(await first.read())).size == (842, 595)
    second = await gateway.call("GET", f"/v1/documents/{upload['id']}/pages/2.png?width=400")
    assert (second.headers["X-Page-Box"], second.headers["X-Page-Rotation"]) == ("100 200 400 600", "90")
    picture = Image.open(io.BytesIO(await second.read())).convert("L")
    assert picture.size == (400, 300)
    # Turned clockwise by a quarter, the lower left corner is at the upper left.
    assert picture.getpixel((10, 10)) == 0
    assert picture.getpixel((390, 290)) == 255


async def test_a_page_is_drawn_for_its_own_office_and_only_where_there_is_one(gateway: Gateway) -> None:
    upload = await (await gateway.upload()).json()
    for path, office in (("1.png", OTHER), ("2.png", "MDN-01"), ("0.png", "MDN-01"), ("x.png", "MDN-01")):
        answer = await gateway.call("GET", f"/v1/documents/{upload['id']}/pages/{path}", office=office)
        assert (answer.status, answer.content_type) == (404, "application/problem+json")


async def test_ops_see_how_breakers_and_queue_went(gateway: Gateway) -> None:
    history = await (await gateway.call("GET", "/v1/ops/breaker/history", role="ops")).json()
    assert history == {"breakers": {"provider": [], "adapter": []}}
    end_s = time.monotonic() + 5
    while not (trend := await (await gateway.call("GET", "/v1/ops/trend", role="ops")).json())["samples"]:
        assert time.monotonic() < end_s
    assert trend["every_s"] == 10
    assert trend["samples"][0]["open"] == 0
