"""The signal drops: nothing typed is lost, nothing is ordered twice, whatever is reloaded, closed or clicked twice."""

from __future__ import annotations

import pytest
from playwright.async_api import Route, expect

from browser.desk import (
    Desk,
    fill,
    kept,
    no_longer_kept,
    sent_with_a_paper_that_stays,
    sent_without_a_session,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")
CUT = "ERR_FAILED|ERR_INTERNET_DISCONNECTED"


async def cut(desk: Desk) -> None:
    """The pages still load, but no call to the API arrives."""
    desk.expected = CUT
    await desk.context.route("**/v1/**", lambda route: route.abort())


async def restore(desk: Desk) -> None:
    """The line is back."""
    await desk.context.unroute("**/v1/**")


async def assert_ordered_once(desk: Desk, *numbers: str) -> None:
    """Exactly these papers, each once, when all is sent."""

    async def all_there() -> bool:
        return len(await desk.orders()) >= len(numbers)

    await desk.stack.until(all_there)
    assert sorted(o["document"]["number"] for o in await desk.orders()) == sorted(numbers)


async def test_what_is_submitted_without_a_line_is_kept_and_sent_by_itself(desk: Desk) -> None:
    page = await desk.counter()
    desk.expected = CUT
    await desk.context.set_offline(True)
    for number in ("SK-1", "SK-2"):
        await fill(page, number)
        await page.keyboard.press("F9")
        await expect(page.locator("#document-number")).to_have_value("")
    await expect(page.locator(".unsent")).to_contain_text("2 pesanan belum terkirim")
    await expect(page.locator(".receipt")).to_contain_text("Jangan diketik ulang")
    await expect(page.locator("#line")).to_contain_text("Sambungan terputus")
    assert await desk.orders() == []
    await desk.context.set_offline(False)
    await expect(page.locator("tr[data-order]")).to_have_count(2)
    await expect(page.locator(".unsent")).to_be_hidden()
    await expect(page.locator("#line")).to_be_empty()
    await expect(page.locator(".receipt .figure")).to_have_text("2")
    await assert_ordered_once(desk, "SK-1", "SK-2")
    await no_longer_kept(page, "outbox", desk.stack)


async def test_a_reload_and_a_closed_tab_keep_what_waits_and_two_tabs_send_it_once(desk: Desk) -> None:
    page = await desk.counter()
    await cut(desk)
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator(".unsent")).to_contain_text("1 pesanan belum terkirim")
    await page.reload()
    await expect(page.locator(".unsent")).to_contain_text("1 pesanan belum terkirim")
    await page.close()
    tabs = [await desk.open("/", ".unsent:not([hidden])") for _ in range(2)]
    await restore(desk)
    for tab in tabs:
        await expect(tab.locator("tr[data-order]")).to_have_count(1)
        await expect(tab.locator(".unsent")).to_be_hidden()
    await assert_ordered_once(desk, "SK-1")


async def test_an_answer_that_is_lost_costs_no_second_order(desk: Desk) -> None:
    page = await desk.counter()
    desk.expected = CUT
    lost = 0

    async def lose(route: Route) -> None:
        nonlocal lost
        await route.fetch()
        lost += 1
        await route.abort()

    await desk.context.route("**/v1/orders", lose, times=2)
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await no_longer_kept(page, "outbox", desk.stack)
    assert lost == 2
    await assert_ordered_once(desk, "SK-1")
    await expect(page.locator("tr[data-order]")).to_have_count(1)


async def test_a_double_click_orders_once(desk: Desk) -> None:
    page = await desk.counter()
    await fill(page, "SK-1")
    await page.locator("button[type=submit]").dblclick()
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    await expect(page.locator(".field.wrong")).to_have_count(0)
    await assert_ordered_once(desk, "SK-1")


async def test_what_is_half_typed_survives_a_reload_and_is_ordered_once(desk: Desk) -> None:
    page = await desk.counter()
    await page.fill("#taxpayer-name", "Budi Santoso")
    await page.fill("#document-number", "SK-5")

    async def in_store() -> bool:
        drafts = await kept(page, "drafts")
        return bool(drafts) and drafts[0]["values"]["document.number"] == "SK-5"

    await desk.stack.until(in_store)
    await page.reload()
    await expect(page.locator("#document-number")).to_have_value("SK-5")
    await expect(page.locator("#taxpayer-name")).to_have_value("Budi Santoso")
    await expect(page.locator("#taxpayer-identity_number")).to_be_focused()
    await page.keyboard.type("3171014101850002")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    await page.reload()
    await expect(page.locator("#document-number")).to_have_value("")
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    await assert_ordered_once(desk, "SK-5")


async def test_two_tabs_have_a_paper_each_and_do_not_mix(desk: Desk) -> None:
    first = await desk.counter()
    second = await desk.open("/", "#taxpayer-name")
    await fill(first, "SK-1")
    await fill(second, "SK-2", name="Budi Santoso")
    for tab in (first, second):
        await tab.keyboard.press("F9")
        await expect(tab.locator("#document-number")).to_have_value("")
    await assert_ordered_once(desk, "SK-1", "SK-2")
    for tab in (first, second):
        await expect(tab.locator("tr[data-order]")).to_have_count(2)
        assert await kept(tab, "drafts") == []


async def test_a_pdf_chosen_without_a_line_is_sent_and_stamped_later(desk: Desk) -> None:
    page = await desk.counter()
    await cut(desk)
    await sent_with_a_paper_that_stays(page, "SK-1")
    await page.reload()
    await restore(desk)
    [order] = await desk.until_orders("completed", 1)
    assert order["kind"] == "affix"
    await no_longer_kept(page, "outbox", desk.stack)


async def test_a_session_that_ends_takes_nothing_with_it(desk: Desk) -> None:
    page = await desk.counter()
    again = await sent_without_a_session(desk, page, "SK-1")
    await expect(again).to_contain_text(desk.office)
    await again.locator("#key").fill(desk.key)
    await page.keyboard.press("Enter")
    await expect(again).to_have_count(0)
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    await assert_ordered_once(desk, "SK-1")
