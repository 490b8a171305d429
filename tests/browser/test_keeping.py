"""What was sent at the counter is kept until the gateway has it, whatever stands in between; and typing goes on."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from browser.desk import (
    NAME,
    NIK,
    Desk,
    fill,
    kept,
    no_longer_kept,
    paper,
    sent_with_a_paper_that_stays,
    sent_without_a_session,
)

pytestmark = pytest.mark.asyncio(loop_scope="package")
OTHER_NIK = "3171014101850002"
SEND_AND_TYPE = """([field, value]) => {
    dispatchEvent(new KeyboardEvent("keydown", { key: "F9" }));
    const found = [document.activeElement.id, document.querySelector("#document-number").value];
    const next = document.querySelector(field);
    next.value = value;
    next.dispatchEvent(new InputEvent("input", { bubbles: true }));
    return found;
}"""
FULL = """IDBObjectStore.prototype.put = () => { throw new DOMException("full", "QuotaExceededError"); };"""
SHUT = """IDBFactory.prototype.open = () => { throw new DOMException("shut", "UnknownError"); };"""


async def send_and_type(page: Page, field: str, value: str) -> list[str]:
    """F9, and before any storage can have answered the next order's first keys; where they went, and what stood."""
    found: list[str] = await page.evaluate(SEND_AND_TYPE, [field, value])
    return found


async def test_what_is_typed_right_after_sending_belongs_to_the_next_order(desk: Desk) -> None:
    page = await desk.counter()
    await fill(page, "SK-1")
    assert await send_and_type(page, "#taxpayer-identity_number", OTHER_NIK) == [
        "taxpayer-identity_number",
        "",
    ]
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    await expect(page.locator("#taxpayer-identity_number")).to_have_value(OTHER_NIK)
    await fill(page, "SK-2", nik=OTHER_NIK)
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("2")
    numbers = [(o["document"]["number"], o["taxpayer"]["name"]) for o in await desk.orders()]
    assert [number for number, _ in numbers] == ["SK-2", "SK-1"]


async def test_an_order_not_wanted_twice_stands_beside_the_next_one_that_was_begun(desk: Desk) -> None:
    page = await desk.counter()
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    await fill(page, "SK-1")
    await send_and_type(page, "#taxpayer-name", "Budi Santoso")
    await page.get_by_role("button", name="Tidak", exact=True).click()
    aside = page.locator(".aside .notice")
    await expect(aside).to_contain_text(f"{NAME} · SK-1 Belum dikirim.")
    await expect(page.locator("#taxpayer-name")).to_have_value("Budi Santoso")
    await aside.get_by_role("button", name="Perbaiki").click()
    await expect(page.locator("form [role=alert]")).to_contain_text("Kirim atau kosongkan isian dahulu")
    await page.get_by_role("button", name="Kosongkan").click()
    await aside.get_by_role("button", name="Perbaiki").click()
    await expect(aside).to_have_count(0)
    await expect(page.locator("#document-number")).to_have_value("SK-1")
    await page.fill("#document-number", "SK-2")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("2")
    await no_longer_kept(page, "drafts", desk.stack)


async def test_a_paper_that_can_not_be_uploaded_holds_up_no_order_behind_it(desk: Desk) -> None:
    page = await desk.counter()
    desk.expected = "503"
    await desk.context.route("**/v1/documents", lambda r: r.fulfill(status=503, body="{}"))
    await sent_with_a_paper_that_stays(page, "SK-1")
    await page.keyboard.press("F2")
    await fill(page, "SK-2")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    assert [o["document"]["number"] for o in await desk.orders()] == ["SK-2"]
    assert [entry["body"]["document"]["number"] for entry in await kept(page, "outbox")] == ["SK-1"]
    await desk.context.unroute("**/v1/documents")
    await no_longer_kept(page, "outbox", desk.stack)
    assert [o["document"]["number"] for o in await desk.orders()] == ["SK-1", "SK-2"]


async def test_the_sign_in_dialog_stays_until_somebody_signed_in(desk: Desk) -> None:
    page = await desk.counter()
    again = await sent_without_a_session(desk, page, "SK-1")
    await expect(again).to_be_visible()
    for _ in range(3):
        await page.keyboard.press("Escape")
    await expect(again).to_be_visible()
    await expect(page.locator(".receipt")).to_contain_text("masuklah lagi dahulu")
    await expect(page.locator("#line")).to_have_text("Perlu masuk lagi")
    await again.locator("#key").fill(desk.key)
    await page.keyboard.press("Enter")
    await expect(again).to_have_count(0)
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    await expect(page.locator("#line")).to_be_empty()


@pytest.mark.parametrize(("status", "body"), [(204, ""), (202, '{"ok":true}')])
async def test_an_answer_that_is_no_order_leaves_the_order_kept(desk: Desk, status: int, body: str) -> None:
    page = await desk.counter()
    await page.route("**/v1/orders", lambda r: r.fulfill(status=status, body=body), times=1)
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt")).to_contain_text("Disimpan di komputer ini")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    assert [o["document"]["number"] for o in await desk.orders()] == ["SK-1"]
    await no_longer_kept(page, "outbox", desk.stack)


@pytest.mark.parametrize(
    "body",
    ['{"results":[]}', '{"results":[{"status":202},{"status":202}]}'],
)
async def test_an_answer_that_is_no_batch_leaves_its_orders_kept(desk: Desk, body: str) -> None:
    page = await desk.counter()
    await page.route("**/v1/batches", lambda r: r.fulfill(status=200, body=body), times=1)
    rows = "".join(f"SK-{n},2024-09-04,{NIK},{NAME}\n" for n in (1, 2))
    await page.click("#batch")
    await page.set_input_files(
        "#csv", paper(f"nomor_dokumen,tanggal,nik,nama\n{rows}".encode(), "a.csv", "text/csv")
    )
    await page.get_by_role("button", name="Kirim 2 baris yang benar").click()
    await expect(page.locator("dialog.batch")).to_contain_text("2 pesanan diterima")
    assert sorted(o["document"]["number"] for o in await desk.orders()) == ["SK-1", "SK-2"]


@pytest.mark.parametrize("fault", [FULL, SHUT])
async def test_where_nothing_can_be_kept_the_clerk_reads_it_and_the_list_goes_on(
    desk: Desk, fault: str
) -> None:
    await desk.submit()
    await desk.context.add_init_script(fault)
    page = await desk.counter()
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    await fill(page, "SK-1")
    await expect(page.locator("form")).to_contain_text("Jangan tutup halaman ini")
    await page.keyboard.press("F9")
    await expect(page.locator("form [role=alert]")).to_contain_text("tidak dapat disimpan di komputer ini")
    await expect(page.locator("#document-number")).to_have_value("SK-1")
    # With the next order begun, the one that was not kept stands beside it.
    await send_and_type(page, "#taxpayer-name", "Budi Santoso")
    await expect(page.locator(".aside")).to_contain_text(re.compile("SK-1 .*tidak dapat disimpan"))
    await expect(page.locator("#taxpayer-name")).to_have_value("Budi Santoso")
    assert [o["document"]["number"] for o in await desk.orders()] == ["SK-9"]


async def test_a_file_that_can_not_be_kept_is_not_said_to_be_on_its_way(desk: Desk) -> None:
    await desk.context.add_init_script(FULL)
    page = await desk.counter()
    await page.click("#batch")
    rows = f"nomor_dokumen,tanggal,nik,nama\nSK-1,2024-09-04,{NIK},{NAME}\n"
    await page.set_input_files("#csv", paper(rows.encode(), "a.csv", "text/csv"))
    await page.get_by_role("button", name=re.compile("Kirim 1 baris")).click()
    await expect(page.locator("dialog.batch [role=alert]")).to_contain_text("belum dikirim")
    assert await desk.orders() == []


async def test_an_open_order_is_shown_printed_and_offered_as_it_stands_now(desk: Desk) -> None:
    await desk.outage(True)
    order: dict[str, Any] = await desk.submit()
    page = await desk.counter()
    await page.evaluate("window.print = () => { window.printed = true; }")
    await page.locator("[data-action=open]").click()
    shown = page.locator("dialog.order")
    await expect(shown.get_by_role("button", name="Batalkan pesanan")).to_be_visible()
    await shown.locator("[data-action=cancel]").focus()
    headers = {"Authorization": f"Bearer {desk.key}"}
    answer = await desk.stack.http.post(f"/v1/orders/{order['id']}/cancel", headers=headers)
    assert answer.status_code == 200, answer.text
    await expect(shown.locator("h2")).to_contain_text("Dibatalkan")
    await expect(shown.get_by_role("button", name="Batalkan pesanan")).to_have_count(0)
    await expect(shown.locator("[data-action=close]")).to_be_focused()
    await shown.locator("button[data-action=print]").click()
    await desk.stack.until(lambda: page.evaluate("window.printed === true"))
    await expect(page.locator(".print")).to_contain_text("dibatalkan dan tidak dikerjakan lagi")
    await desk.outage(False)


async def test_who_signs_in_where_nothing_is_kept_reads_why_it_does_not_work(desk: Desk) -> None:
    await desk.context.add_init_script(
        "Storage.prototype.setItem = () => { throw new DOMException('full', 'QuotaExceededError'); }"
    )
    page = await desk.open("/", "#key")
    await page.fill("#key", desk.key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("Izinkan cookie dan data situs")
    await expect(page.locator(".field.wrong")).to_be_visible()


async def test_the_keyboard_goes_on_where_an_order_was_opened_that_moved_meanwhile(desk: Desk) -> None:
    await desk.outage(True)
    page = await desk.counter()
    order = await desk.submit()
    row = page.locator(f"tr[data-order='{order['id']}']")
    await row.locator(".ticket").focus()
    await page.keyboard.press("Enter")
    await desk.outage(False)
    await expect(page.locator("dialog.order .state")).to_have_text("Selesai")
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog")).to_have_count(0)
    await expect(row.locator(".ticket")).to_be_focused()


async def test_a_place_that_moves_draws_no_row_anew_and_the_ticket_says_the_latest(desk: Desk) -> None:
    await desk.submit()
    [order] = await desk.orders()
    place = 5

    async def listed(route: Route) -> None:
        moved = order | {"state": "queued", "position": place, "eta": None}
        await route.fulfill(json={"orders": [moved], "next_cursor": None})

    await desk.context.route("**/v1/orders?*", listed)
    page = await desk.counter()
    outlook = page.locator("tr[data-order] .outlook")
    await expect(outlook).to_have_text("Giliran ke-5")
    await page.locator("tr[data-order]").evaluate("(row) => row.firstChild.classList.add('as-before')")
    place = 4
    await expect(outlook).to_have_text("Giliran ke-4")
    await expect(page.locator("tr[data-order] .as-before")).to_have_count(1)
    await page.evaluate("window.print = () => {}")
    await page.locator("tr[data-order] [data-action=print]").click()
    await expect(page.locator(".print-honest")).to_have_text("Giliran ke-4")
