"""Several tabs share one cookie and one storage: none acts for another's office, and none leaves an order behind."""

from __future__ import annotations

import pytest
from playwright.async_api import Dialog, Page, Response, expect

from browser.desk import Desk, fill, kept, no_longer_kept

pytestmark = pytest.mark.asyncio(loop_scope="package")
CUT = "ERR_FAILED"
FIRST = "#taxpayer-identity_number"


async def signed_in(desk: Desk, key: str) -> Page:
    """A tab in which the key was typed."""
    page = await desk.open("/", "#key")
    await page.fill("#key", key)
    await page.keyboard.press("Enter")
    await expect(page.locator(FIRST)).to_be_focused()
    return page


async def other_office(desk: Desk) -> Desk:
    """Another office's key at the same browser."""
    office = f"{desk.office}-B"
    made = await desk.stack.ops.post("/v1/ops/keys", json={"role": "terminal", "office": office})
    return Desk(desk.stack, desk.browser, desk.context, office, made.json()["key"])


async def sign_in_again(page: Page, key: str) -> None:
    """The key, typed into the dialog over a page whose session is over."""
    await page.locator("dialog.again #key").fill(key)
    await page.keyboard.press("Enter")


async def test_a_tab_that_another_office_signed_in_beside_orders_nothing_in_its_name(desk: Desk) -> None:
    desk.expected = f"401|{CUT}"
    other = await other_office(desk)
    theirs = await signed_in(desk, desk.key)
    ours = await desk.open("/", FIRST)
    await desk.context.route("**/v1/orders", lambda route: route.abort())
    await fill(theirs, "SK-1")
    await theirs.keyboard.press("F9")
    await expect(theirs.locator(".receipt")).to_contain_text("Disimpan di komputer ini")
    await fill(theirs, "SK-2")
    # The session ends in the other tab, and the next office signs in there.
    await desk.context.clear_cookies()
    await sign_in_again(ours, other.key)
    await expect(ours.locator("#who")).to_contain_text(other.office)
    await expect(theirs.locator("dialog.again")).to_contain_text(desk.office)
    refused: list[Response] = []

    def note(answer: Response) -> None:
        if answer.request.method == "POST" and answer.status == 401:
            refused.append(answer)

    theirs.on("response", note)
    await desk.context.unroute("**/v1/orders")
    await theirs.evaluate("dispatchEvent(new Event('online'))")

    async def was_refused() -> bool:
        return bool(refused)

    await desk.stack.until(was_refused)
    assert (await desk.orders(), await other.orders()) == ([], [])
    assert [entry["office"] for entry in await kept(theirs, "outbox")] == [desk.office]
    await sign_in_again(theirs, desk.key)
    await expect(theirs.locator("tr[data-order]")).to_have_count(1)
    await expect(theirs.locator("#document-number")).to_have_value("SK-2")
    await expect(ours.locator("dialog.again")).to_contain_text(other.office)
    assert ([o["document"]["number"] for o in await desk.orders()], await other.orders()) == (["SK-1"], [])


async def test_who_signs_in_again_does_so_for_all_tabs_of_the_office(desk: Desk) -> None:
    desk.expected = "401"
    tabs = [await signed_in(desk, desk.key), await desk.open("/", FIRST)]
    await desk.context.clear_cookies()
    for tab in tabs:
        await tab.evaluate("dispatchEvent(new Event('online'))")
        await expect(tab.locator("dialog.again")).to_be_visible()
    await sign_in_again(tabs[0], desk.key)
    for tab in tabs:
        await expect(tab.locator("dialog.again")).to_have_count(0)


async def test_signing_out_clears_every_tab_and_the_next_office_finds_all_of_them(desk: Desk) -> None:
    other = await other_office(desk)
    first = await signed_in(desk, desk.key)
    second = await desk.open("/", FIRST)
    await fill(second, "SK-1")
    await first.click("#sign-out")
    for tab in (first, second):
        await expect(tab.locator("main.login #key")).to_be_visible()
    await no_longer_kept(second, "drafts", desk.stack)
    await first.fill("#key", other.key)
    await first.keyboard.press("Enter")
    for tab in (first, second):
        await expect(tab.locator("#who")).to_contain_text(other.office)
        await expect(tab.locator("#document-number")).to_have_value("")


async def test_signing_out_without_a_line_fails_and_takes_no_draft(desk: Desk) -> None:
    desk.expected = CUT
    page = await signed_in(desk, desk.key)
    said: list[str] = []

    async def accept(dialog: Dialog) -> None:
        said.append(dialog.message)
        await dialog.accept()

    page.on("dialog", accept)
    await fill(page, "SK-1")

    async def in_store() -> bool:
        drafts = await kept(page, "drafts")
        return bool(drafts) and drafts[0]["values"]["document.number"] == "SK-1"

    await desk.stack.until(in_store)
    await desk.context.route("**/v1/**", lambda route: route.abort())
    await page.click("#sign-out")

    async def was_said() -> bool:
        return said == ["Server tidak dapat dihubungi. Periksa sambungan lalu coba lagi."]

    await desk.stack.until(was_said)
    assert await in_store()
    await desk.context.unroute("**/v1/**")
    await page.click("#sign-out")
    await expect(page.locator("main.login #key")).to_be_visible()
    assert await kept(page, "drafts") == []


async def test_what_a_closed_tab_kept_is_sent_by_the_one_that_stays_open(desk: Desk) -> None:
    first = await desk.counter()
    await desk.open("/", FIRST)
    desk.expected = CUT
    await desk.context.route("**/v1/orders", lambda route: route.abort())
    await fill(first, "SK-1")
    await first.keyboard.press("F9")
    await expect(first.locator(".unsent")).to_contain_text("1 pesanan belum terkirim")
    await first.close()
    await desk.context.unroute("**/v1/orders")

    async def ordered() -> bool:
        return [o["document"]["number"] for o in await desk.orders()] == ["SK-1"]

    await desk.stack.until(ordered)
