"""The ticket on paper: one of them however often it is asked for, and whatever the line does."""

from __future__ import annotations

import asyncio

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
