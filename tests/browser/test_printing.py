"""The ticket on paper: one of them however often it is asked for, whatever the line does, and on one sheet."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import pikepdf
import pytest
from playwright.async_api import Page, Route, expect

from browser.desk import Desk, fill

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def counter_with_a_printer(desk: Desk) -> Page:
    """A counter whose order is accepted; every dialog of the printer's is noted with what it holds, and closed."""
    page = await desk.counter()
    await page.evaluate(
        """() => {
            window.printed = [];
            window.print = () => {
                window.printed.push(document.querySelector(".print") ? "ticket" : "page");
                dispatchEvent(new Event("afterprint"));
            };
        }"""
    )
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    return page


async def printed(desk: Desk, page: Page, times: int) -> list[str]:
    """What the printer's dialogs held, once there were so many."""
    found: list[str] = []

    async def enough() -> bool:
        found[:] = await page.evaluate("window.printed")
        return len(found) >= times

    await desk.stack.until(enough)
    return found


async def test_a_ticket_that_is_asked_for_twice_is_printed_once_and_never_the_page(desk: Desk) -> None:
    page = await counter_with_a_printer(desk)
    released = asyncio.Event()

    async def slow(route: Route) -> None:
        await released.wait()
        await route.continue_()

    await desk.context.route("**/qr", slow)
    await page.keyboard.press("F8")
    await page.keyboard.press("F8")
    released.set()
    assert await printed(desk, page, 1) == ["ticket"]
    await page.keyboard.press("F8")
    assert await printed(desk, page, 2) == ["ticket", "ticket"]


async def test_a_ticket_is_printed_though_its_picture_never_comes(desk: Desk) -> None:
    page = await counter_with_a_printer(desk)
    await desk.context.route("**/qr", lambda route: None)
    await page.keyboard.press("F8")
    assert await printed(desk, page, 1) == ["ticket"]


@pytest.mark.parametrize("language", ["id", "en"])
@pytest.mark.parametrize(("roll", "width_mm"), [("receipt", 80), ("narrow", 58)])
async def test_the_longest_words_leave_a_ticket_on_one_piece_of_the_roll(
    desk: Desk, language: str, roll: str, width_mm: int
) -> None:
    await desk.prefer(language)
    order = await desk.submit()
    order["office"] = "KANTOR-POS-BESAR-01"
    order["ticket"]["number"] = 12345
    order["ticket"]["url"] = f"https://antrean-meterai.posindonesia.co.id{order['ticket']['url']}"
    holds = ("upstream_unavailable", "quota_exhausted", "paused", "balance_unexplained")
    changes: list[dict[str, Any]] = [
        {"state": "queued", "holding": {"reason": reason, "since": "2024-09-04T03:20:00Z", "forced": forced}}
        for reason, forced in (*((reason, False) for reason in holds), (holds[0], True))
    ]
    changes += [
        {"state": state, "holding": None} for state in ("unknown", "attention", "rejected", "cancelled")
    ]
    page = await desk.counter()
    for change in changes:
        await page.evaluate(
            """async ([order, roll]) => {
                window.print = () => {};
                localStorage.setItem("antrean.paper", roll);
                const source = document.querySelector('script[type=module]').src;
                const { printTicket } = await import(source.replace('console.js', 'printing.js'));
                await printTicket(order);
            }""",
            [order | change, roll],
        )
        with pikepdf.open(io.BytesIO(await page.pdf(prefer_css_page_size=True))) as pdf:
            assert len(pdf.pages) == 1, change
            assert float(pdf.pages[0].mediabox[2]) == pytest.approx(width_mm * 72 / 25.4, abs=1)
        # Nothing is wider than what the printer reaches: margins of 5 mm are beyond it.
        await page.emulate_media(media="print")
        await page.set_viewport_size({"width": round((width_mm - 10) * 96 / 25.4), "height": 600})
        for part in await page.locator(".print, .print *:not(br)").all():
            assert await part.evaluate("e => e.scrollWidth - e.clientWidth") <= 0, (change, part)
        await page.emulate_media(media="null")
