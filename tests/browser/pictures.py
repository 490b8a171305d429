"""Takes the pictures in docs/pictures from a running product with an outage in it: `make screenshots`."""

from __future__ import annotations

import asyncio
import contextlib
import io
import random
import time
from pathlib import Path
from typing import Any

import pikepdf
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from browser.chromium import ARGUMENTS, find_or_install
from browser.desk import Desk, fill, paper
from debian import Missing
from stack import Stack, running_stack

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "pictures"
COLOURS = 160
BYTES_MAX = 150_000
OFFICES = ("MDN-01", "JKT-07", "SBY-03", "BDG-02", "MKS-01", "DPS-04")
NAMES = ("Siti Aminah", "Budi Santoso", "Made Wirawan", "Rina Lubis", "Agus Salim", "Dewi Lestari")


async def main() -> None:
    """Play an outage and take the pictures on the way."""
    try:
        chromium = find_or_install()
    except Missing as missing:
        raise SystemExit(str(missing)) from None
    FOLDER.mkdir(exist_ok=True)
    async with running_stack(workers=1) as stack, async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=list(ARGUMENTS))
        async with contextlib.AsyncExitStack() as open_desks:
            places = [Desk.at(stack, browser, office) for office in OFFICES]
            await _play(stack, browser, [await open_desks.enter_async_context(p) for p in places])
        await browser.close()


async def _play(stack: Stack, browser: Browser, desks: list[Desk]) -> None:
    rng = random.Random(7)
    await stack.fault("slow", "generate", delay_s=0.6)
    counter = await desks[0].counter()
    await counter.set_viewport_size({"width": 1366, "height": 960})
    ops = await _page(browser, desks[0], "ops", 1440, 1180, "dark")

    async def orders(count: int, **more: Any) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for _ in range(count):
            desk = rng.choices(desks, weights=(9, 7, 5, 4, 2, 1))[0]
            made = await desk.submit(
                document={
                    "type_code": "4b",
                    "number": f"SK-{rng.randrange(100, 999)}/2024",
                    "date": "2024-09-04",
                    "filename": "surat-pernyataan.pdf",
                },
                taxpayer={
                    "identity_type": "KTP",
                    "identity_number": "1271010101900001",
                    "name": rng.choice(NAMES),
                },
                **more,
            )
        return made

    for _ in range(6):
        await orders(14)
        await _seconds(5)
    await stack.sim.put("/_sim/outage", json={"on": True, "mode": "down"})
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 240))
    for _ in range(7):
        await orders(18, deadline=soon)
        await _seconds(4)
    held = await desks[0].submit()

    await counter.bring_to_front()
    await fill(counter, "SK-560/2024", name="Rina Lubis")
    await counter.keyboard.press("F9")
    await counter.wait_for_selector(".receipt .figure")
    await counter.fill("#taxpayer-identity_number", "317101410185")
    await _seconds(4)
    await counter.evaluate("scrollTo(0, 0)")
    await _save(counter, "counter")
    await counter.keyboard.press("F4")
    await counter.set_input_files("#pdf", paper(_statement(), "surat-pernyataan.pdf"))
    await counter.wait_for_selector(".sheet[data-page]")
    await counter.get_by_role("button", name="Kanan bawah").click()
    await counter.locator(".stamp").focus()
    for _ in range(12):
        await counter.keyboard.press("Shift+ArrowUp")
    await counter.evaluate("scrollTo(0, 0)")
    await _save(counter, "counter-paper")

    phones = [await _phone(browser, desks[0], held, "light", "id")]
    await _seconds(3)
    await _save(ops, "operations")
    await stack.sim.delete("/_sim/outage")
    await desks[0].stack.until(lambda: _is_closed(stack), 60)
    waiting = await orders(1)
    await stack.until(lambda: _has_a_time(desks[0], waiting), 60)
    phones.append(await _phone(browser, desks[0], waiting, "dark", "en"))
    await stack.no_faults()
    await stack.until(lambda: _is_done(desks[0], held["id"]), 120)
    phones.append(await _phone(browser, desks[0], held, "light", "id"))
    _write(_beside(phones), "tickets")


async def _is_closed(stack: Stack) -> bool:
    found = (await stack.ops.get("/v1/ops/breaker")).json()["breakers"]["provider"]["state"]
    return bool(found == "closed")


async def _is_done(desk: Desk, order_id: str) -> bool:
    return any(o["id"] == order_id and o["state"] == "completed" for o in await desk.orders())


async def _has_a_time(desk: Desk, order: dict[str, Any]) -> bool:
    found = (await desk.stack.http.get(f"/v1/tickets/{order['ticket']['token']}")).json()
    # Not the first one after an outage, which may be taken back once more.
    return found["eta"] is not None and found["ahead"] < 100


async def _seconds(seconds: float) -> None:
    # A picture shows what time has done: here, and only here, a span of it is what is waited for.
    await asyncio.sleep(seconds)


async def _page(browser: Browser, desk: Desk, role: str, width: int, height: int, theme: str) -> Page:
    context = await browser.new_context(
        locale="id-ID", timezone_id="Asia/Jakarta", viewport={"width": width, "height": height}
    )
    own = Desk(desk.stack, browser, context, desk.office, desk.key)
    await own.prefer("id", theme)
    await own.sign_in("ops" if role == "ops" else "terminal")
    page = await own.open("/ops", ".band i")
    await page.select_option("#hours", "1")
    return page


async def _phone(
    browser: Browser, desk: Desk, order: dict[str, Any], theme: str, language: str
) -> Image.Image:
    context = await browser.new_context(
        locale="id-ID", timezone_id="Asia/Jakarta", viewport={"width": 380, "height": 720}
    )
    own = Desk(desk.stack, browser, context, desk.office, desk.key)
    await own.prefer(language, theme)
    page = await own.open(order["ticket"]["url"], "#share:not([hidden])")
    picture = Image.open(io.BytesIO(await page.screenshot())).convert("RGB")
    await context.close()
    return picture


def _beside(pictures: list[Image.Image]) -> Image.Image:
    gap = 24
    width = sum(p.width for p in pictures) + gap * (len(pictures) - 1)
    joined = Image.new("RGB", (width, pictures[0].height), "white")
    left = 0
    for picture in pictures:
        joined.paste(picture, (left, 0))
        left += picture.width + gap
    return joined


async def _save(page: Page, name: str) -> None:
    await page.evaluate("document.fonts.ready")
    _write(Image.open(io.BytesIO(await page.screenshot())).convert("RGB"), name)


def _write(picture: Image.Image, name: str) -> None:
    path = FOLDER / f"{name}.png"
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    size = path.stat().st_size
    if size > BYTES_MAX:
        raise SystemExit(f"{path.name} has {size} bytes; at most {BYTES_MAX} are kept in the repository")
    print(f"{path.name}: {size} bytes")


def _statement() -> bytes:
    """A paper as people bring it."""
    lines = (
        "Yang bertanda tangan di bawah ini:",
        "",
        "Nama      :  Rina Lubis",
        "Alamat   :  Jalan Merdeka 17, Medan",
        "",
        "menyatakan dengan sebenarnya bahwa saya:",
        "",
        "1.  tidak pernah dipidana dengan pidana penjara;",
        "2.  bersedia ditempatkan di seluruh wilayah Indonesia;",
        "3.  menyampaikan data yang benar.",
        "",
        "Demikian pernyataan ini dibuat dengan sesungguhnya.",
    )
    text = " ".join(f"({line}) Tj T*" for line in lines)
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(595, 842))
    page = pdf.pages[0]
    fonts = {
        f"/{name}": pikepdf.Dictionary(
            Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name(font)
        )
        for name, font in (("F1", "/Helvetica"), ("F2", "/Helvetica-Bold"))
    }
    page.obj.Resources = pikepdf.Dictionary({"/Font": pikepdf.Dictionary(fonts)})
    page.obj.Contents = pdf.make_stream(
        f"BT /F2 18 Tf 200 740 Td (SURAT PERNYATAAN) Tj ET BT /F1 12 Tf 20 TL 72 690 Td {text} ET "
        "BT /F1 12 Tf 20 TL 380 400 Td (Medan, 4 September 2024) Tj T* T* T* T* (Rina Lubis) Tj ET".encode()
    )
    buffer = io.BytesIO()
    pdf.save(buffer)
    return buffer.getvalue()


if __name__ == "__main__":
    asyncio.run(main())
