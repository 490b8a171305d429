"""After sending: the next order is typed at once, and what became of the last one is told where it is seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from antrean.orders.states import State
from browser.desk import Desk, fill, paper
from stack import pdf_bytes

pytestmark = pytest.mark.asyncio(loop_scope="package")


@asynccontextmanager
async def slow_answers(page: Page) -> AsyncIterator[None]:
    """Orders arrive, and their answers only at the end of this block."""
    released = asyncio.Event()

    async def late(route: Route) -> None:
        answer = await route.fetch()
        await released.wait()
        await route.fulfill(response=answer)

    await page.route("**/v1/orders", late, times=1)
    yield
    released.set()


async def test_what_is_typed_while_an_answer_is_slow_stays(desk: Desk) -> None:
    page = await desk.counter()
    async with slow_answers(page):
        await fill(page, "SK-1")
        await page.keyboard.press("F9")
        await expect(page.locator(".receipt")).to_have_text("Mengirim…")
        await expect(page.locator("#taxpayer-identity_number")).to_be_focused()
        await expect(page.locator("#document-number")).to_have_value("")
        await fill(page, "SK-2", name="Budi Santoso")
        # An answer that is long in coming is no reason to type the order again.
        await expect(page.locator(".receipt")).to_contain_text("Jangan diketik ulang")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    await expect(page.locator("#taxpayer-name")).to_have_value("Budi Santoso")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("2")
    assert [o["document"]["number"] for o in await desk.orders()] == ["SK-2", "SK-1"]


async def test_a_refusal_that_comes_late_waits_until_the_form_is_free(desk: Desk) -> None:
    desk.expected = "422"
    page = await desk.counter()
    async with slow_answers(page):
        await fill(page, "SK-1")
        await page.click(".more summary")
        await page.fill("#deadline", "31/12/2099")
        await page.keyboard.press("F9")
        await expect(page.locator("#document-number")).to_have_value("")
        await page.fill("#taxpayer-name", "Budi Santoso")
    await expect(page.locator(".receipt")).to_contain_text("Pesanan sebelumnya ditolak")
    mend = page.locator(".unsent").get_by_role("button", name="Perbaiki")
    await mend.click()
    await expect(page.locator("form [role=alert]")).to_contain_text("Kirim atau kosongkan isian dahulu")
    await expect(page.locator("#taxpayer-name")).to_have_value("Budi Santoso")
    await page.get_by_role("button", name="Kosongkan").click()
    await mend.click()
    await expect(page.locator("#document-number")).to_have_value("SK-1")
    await expect(page.locator("#deadline")).to_have_value("31/12/2099")
    await expect(page.locator("[data-field='deadline'].wrong .error")).to_contain_text(
        "sebelum atau sesudah hari ini"
    )
    assert await desk.orders() == []


async def test_a_refused_paper_comes_back_with_all_its_pages(desk: Desk) -> None:
    desk.expected = "422"
    page = await desk.counter()
    await page.keyboard.press("F4")
    await page.set_input_files("#pdf", paper(pdf_bytes(3)))
    await expect(page.locator(".drop")).to_contain_text("3 halaman")
    async with slow_answers(page):
        await fill(page, "SK-1")
        await page.click(".more summary")
        await page.fill("#deadline", "31/12/2099")
        await page.keyboard.press("F9")
        await page.fill("#taxpayer-name", "Budi Santoso")
    mend = page.locator(".unsent").get_by_role("button", name="Perbaiki")
    await expect(mend).to_be_visible()
    await page.reload()
    await page.get_by_role("button", name="Kosongkan").click()
    await mend.click()
    await expect(page.locator(".drop")).to_contain_text("3 halaman")
    await expect(page.locator(".placing")).to_contain_text("Halaman 1 dari 3")


async def test_the_same_payer_and_paper_again_is_asked_about_once(desk: Desk) -> None:
    page = await desk.counter()
    for number in ("SK-1", "SK-2"):
        await fill(page, number)
        await page.keyboard.press("F9")
        await expect(page.locator(".receipt .figure")).to_have_text(number[-1])
    await fill(page, "sk-1", name="S. Aminah")
    await page.keyboard.press("F9")
    dialog = page.get_by_role("dialog")
    await expect(dialog).to_contain_text("Pesanan yang sama sudah ada (nomor 1). Kirim lagi?")
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(page.locator("#document-number")).to_have_value("sk-1")
    assert len(await desk.orders()) == 2
    await page.keyboard.press("F9")
    await dialog.get_by_role("button", name="Kirim lagi").click()
    await expect(page.locator(".receipt .figure")).to_have_text("3")


async def test_a_cancelled_order_is_asked_about_and_its_papers_say_so(desk: Desk) -> None:
    await desk.outage(True)
    page = await desk.counter()
    await page.evaluate("() => { window.print = () => {}; }")
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .slip.good")).to_contain_text("Diterima dan aman")
    await page.click("tr[data-order] .ticket")
    await page.locator("dialog.order").get_by_role("button", name="Batalkan pesanan").click()
    asked = page.locator("dialog.confirm")
    await expect(asked).to_contain_text("Batalkan pesanan nomor 1?")
    await asked.get_by_role("button", name="Tidak").click()
    assert [o["state"] for o in await desk.orders()] == ["queued"]
    await page.locator("dialog.order").get_by_role("button", name="Batalkan pesanan").click()
    await asked.get_by_role("button", name="Batalkan pesanan").click()
    await expect(page.locator("tr[data-order] .state.quiet")).to_have_text("Dibatalkan")
    await expect(page.locator(".receipt .slip.quiet b")).to_have_text("Dibatalkan")
    await page.keyboard.press("F8")
    await expect(page.locator(".print")).to_contain_text("Pesanan ini dibatalkan dan tidak dikerjakan lagi")
    await expect(page.locator(".print")).not_to_contain_text("Bea meterai")
    await desk.outage(False)


async def rejected(desk: Desk, **changes: Any) -> dict[str, Any]:
    """An order that the central server does not take."""
    await desk.stack.fault("reject", "generate", message="NIK tidak sesuai")
    await desk.submit(**changes)
    [order] = await desk.until_orders("rejected", 1)
    await desk.stack.no_faults()
    return order


async def test_a_refused_order_says_what_to_do_and_gives_its_data_back_to_the_form(desk: Desk) -> None:
    await rejected(desk, deadline="2026-12-31T01:00:00+07:00", reference="LOKET 3")
    page = await desk.counter()
    dialog, masked = page.locator("dialog.order"), page.locator("form [role=alert]")
    await page.click("tr[data-order] .ticket")
    await expect(dialog).to_contain_text("Tidak ada meterai yang dibeli. Kembalikan uangnya")
    await expect(dialog).to_contain_text("Alasan server pusat: NIK tidak sesuai")
    await expect(dialog.locator("button.primary")).to_have_text("Pakai data ini lagi")
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    await expect(masked).to_contain_text("Nomor identitas dan nama disamarkan")
    await expect(page.locator("#taxpayer-identity_number")).to_be_focused()
    typed = {
        "taxpayer-identity_number": "",
        "taxpayer-name": "",
        "document-number": "SK-9",
        "document-date": "04/09/2024",
        "document-filename": "surat.pdf",
        "deadline": "31/12/2026",
        "reference": "LOKET 3",
    }
    assert {name: await page.input_value(f"#{name}") for name in typed} == typed
    await fill(page, "SK-9")
    # Never over what is being typed.
    await page.click("tr[data-order] .ticket")
    await dialog.get_by_role("button", name="Pakai data ini lagi").click()
    await expect(masked).to_contain_text("Kirim atau kosongkan isian dahulu")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("2")
    [order] = await desk.until_orders("completed", 1)
    assert order["deadline"].startswith("2026-12-31T16:59")


async def test_a_refusal_is_told_to_the_clerk_who_sends_it_again_without_being_asked(desk: Desk) -> None:
    await desk.stack.fault("reject", "generate", message="NIK tidak sesuai")
    page = await desk.counter()
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .slip.bad")).to_contain_text("Kembalikan uangnya kepada pembayar")
    await desk.stack.no_faults()
    await page.click("tr[data-order] .ticket")
    await page.get_by_role("button", name="Pakai data ini lagi").click()
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("2")
    assert [o["document"]["number"] for o in await desk.orders()] == ["SK-1", "SK-1"]


async def test_a_refused_affix_gives_its_paper_and_place_back(desk: Desk) -> None:
    content = pdf_bytes(3)
    document_id = await desk.upload(content)
    place = {"page": 2, "x": 100, "y": 110, "width": 80, "height": 80}
    await rejected(desk, kind="affix", document_id=document_id, placement=place)
    page = await desk.counter()
    await page.click("tr[data-order] .ticket")
    await page.get_by_role("button", name="Pakai data ini lagi").click()
    await expect(page.locator(".sheet")).to_have_attribute("data-page", "2")
    await fill(page, "SK-9")
    await page.keyboard.press("F9")
    [order] = await desk.until_orders("completed", 1)
    assert (order["kind"], order["placement"]) == ("affix", place)


async def test_of_a_refused_order_no_money_is_returned_twice_or_that_was_not_paid(desk: Desk) -> None:
    order = await rejected(desk)
    answer = await desk.stack.ops.post(f"/v1/orders/{order['id']}/refund", json={"reason": "dibayar kembali"})
    assert answer.status_code == 200, answer.text
    page = await desk.counter()
    await page.click("tr[data-order] .ticket")
    await expect(page.locator("dialog.order .notice")).to_contain_text("tercatat sudah dikembalikan")
    brought = await page.evaluate(
        """async (order) => {
            const source = document.querySelector('script[type=module]').src.replace('console.js', 'states.js');
            const { refusedWords } = await import(source);
            return refusedWords({ ...order, serial_number: "ABC" });
        }""",
        order,
    )
    assert "tidak ada yang dibayar" in brought


async def test_no_state_is_told_to_a_citizen_in_a_machines_words(desk: Desk) -> None:
    page = await desk.counter()
    told = await page.evaluate(
        """async (states) => {
            const source = document.querySelector('script[type=module]').src.replace('console.js', 'printing.js');
            const { honestWords } = await import(source);
            const order = { position: null, holding: null, error: { code: "x", message: "E42 upstream" } };
            return states.map((state) => honestWords({ ...order, state }));
        }""",
        list(State),
    )
    assert all(headline and more is not None and "E42" not in headline + more for headline, more in told)
    said = dict(zip(State, told, strict=True))
    assert said[State.REJECTED][0] == "Tidak dapat diproses"
    assert said[State.ATTENTION][0] == "Sedang diperiksa petugas"


async def test_after_a_paper_the_receipt_is_in_sight_and_the_next_paper_can_be_chosen(desk: Desk) -> None:
    page = await desk.counter()
    await page.keyboard.press("F4")
    for number in ("1", "2"):
        # The same file, as after it was mended.
        await page.set_input_files("#pdf", paper(pdf_bytes()))
        assert await page.input_value("#pdf") == ""
        await expect(page.locator(".drop")).to_contain_text("1 halaman")
        await fill(page, f"SK-{number}")
        await page.keyboard.press("F9")
        await expect(page.locator(".receipt .figure")).to_have_text(number)
        await expect(page.locator("#pdf")).to_be_focused()
        for seen in (".receipt .slip", ".drop", ".sheet"):
            await expect(page.locator(seen)).to_be_in_viewport(ratio=1)
    assert {o["kind"] for o in await desk.orders()} == {"affix"}
