"""The ticket page: what it says in good and bad times, by itself, to anybody, for little."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Page, expect

from browser.desk import NAME, NIK, Desk

pytestmark = pytest.mark.asyncio(loop_scope="package")
BYTES_MAX = 50_000
REQUESTS_MAX = 14


async def pass_time(page: Page, seconds: int) -> None:
    """Let the page's clock run, in steps that are shorter than what it gives to one answer."""
    for _ in range(seconds // 5):
        await page.clock.run_for(5000)


async def test_in_an_outage_the_ticket_says_so_and_later_that_it_is_done(desk: Desk) -> None:
    await desk.outage(True)
    orders = [await desk.submit() for _ in range(3)]
    page = await desk.context.new_page()
    await page.clock.install()
    await page.goto(desk.base + orders[2]["ticket"]["url"])
    await expect(page.locator("#number")).to_have_text("3")
    headline = page.locator("#headline")
    await expect(headline).to_have_text(re.compile(r"Server pusat e-meterai terganggu sejak \d\d\.\d\d"))
    await expect(page.locator("#more")).to_contain_text("aman")
    await expect(page.locator("#more")).to_contain_text("tidak perlu menunggu di sini")
    await expect(page.locator("#eta")).to_have_text("2 pesanan di depan Anda")
    text = await page.inner_text("body")
    assert not any(word in text for word in (NIK, NAME, "Siti", "SK-9"))
    await desk.outage(False)
    await desk.until_orders("completed", 3)
    await page.clock.fast_forward(40_000)
    await expect(headline).to_have_text("Selesai")
    asked = len(desk.api_calls())
    await page.clock.fast_forward(600_000)
    assert len(desk.api_calls()) == asked


async def test_the_page_is_small_and_asks_seldom(desk: Desk) -> None:
    await desk.outage(True)
    order = await desk.submit()
    page = await desk.context.new_page()
    await page.clock.install()
    await page.goto(desk.base + order["ticket"]["url"])
    await page.wait_for_selector("#share:not([hidden])")
    urls = {request.split(" ")[1] for request in desk.requests}
    sizes = [len(await (await desk.context.request.get(url)).body()) for url in urls]
    assert len(sizes) <= REQUESTS_MAX
    # Unpacked; over the line it is less than half of it.
    assert sum(sizes) < BYTES_MAX
    assert desk.api_calls() == []
    await pass_time(page, 10 * 60)
    assert 10 <= len(desk.api_calls()) <= 30
    await desk.outage(False)


async def test_a_line_that_is_away_is_said_and_asked_less_and_less(desk: Desk) -> None:
    desk.expected = "ERR_FAILED"
    await desk.outage(True)
    order = await desk.submit()
    page = await desk.context.new_page()
    await page.clock.install()
    await page.goto(desk.base + order["ticket"]["url"])
    await desk.context.route("**/v1/**", lambda route: route.abort())
    await pass_time(page, 10 * 60)
    await expect(page.locator("#foot")).to_contain_text("Belum tersambung")
    assert len(desk.api_calls()) <= 13
    await desk.context.unroute("**/v1/**")
    asked = asyncio.Event()
    page.on("request", lambda request: asked.set() if "/v1/" in request.url else None)
    for _ in range(900):
        await page.clock.run_for(1000)
        if asked.is_set():
            # From here on the answer has as long as it needs: the page's clock, which limits it, stands still.
            break
    await expect(page.locator("#foot")).to_contain_text("Diperbarui")
    await desk.outage(False)


async def test_an_unknown_ticket_is_a_page_that_says_so(desk: Desk) -> None:
    desk.expected = "404"
    page = await desk.context.new_page()
    answer = await page.goto(f"{desk.base}/t/{'0' * 20}")
    assert answer is not None
    assert answer.status == 404
    await expect(page.locator("h1")).to_have_text("Tiket ini tidak dikenal")
    assert desk.api_calls() == []
