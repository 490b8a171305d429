"""The counter console: by keyboard alone, with dates as people write them, and with a stamp placed on a page."""

from __future__ import annotations

import asyncio
import io
import re

import pikepdf
import pytest
from playwright.async_api import Route, expect

from browser.desk import NAME, NIK, Desk, fill, kept, paper
from stack import pdf_bytes

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_pages_load_without_a_key_a_call_or_an_error(desk: Desk) -> None:
    order = await desk.submit()
    for path, ready in (("/", "#key"), ("/ops", "#key"), (order["ticket"]["url"], "#share")):
        page = await desk.open(path, ready)
        assert desk.api_calls() == []
        await page.close()


async def test_a_key_signs_in_and_out_and_a_wrong_one_does_not(desk: Desk) -> None:
    desk.expected = "401"
    page = await desk.open("/", "#key")
    await page.keyboard.type("not a key")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("tidak dikenal")
    calls = len(desk.api_calls())
    await page.fill("#key", "kunci\N{EN DASH}salah")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("tidak dikenal")
    assert len(desk.api_calls()) == calls
    await page.fill("#key", f"{desk.key[:9]} {desk.key[9:]}")
    await page.keyboard.press("Enter")
    await expect(page.locator("#who")).to_contain_text(desk.office)
    cookies = await desk.context.cookies()
    assert [(c["name"], c["httpOnly"], c["sameSite"]) for c in cookies] == [("antrean", True, "Strict")]
    await page.goto(f"{desk.base}/ops")
    await expect(page.locator("main")).to_contain_text("untuk operasi")
    await page.click("#sign-out")
    await page.wait_for_selector("#key")
    assert await desk.context.cookies() == []


async def test_an_outage_is_told_before_an_order_meets_it(desk: Desk) -> None:
    await desk.outage(True)
    page = await desk.counter()
    await expect(page.locator(".notice.held")).to_contain_text("dihentikan sementara oleh petugas")
    assert await desk.orders() == []
    await desk.outage(False)
    await expect(page.locator(".notice.held")).to_have_count(0, timeout=15_000)


async def test_a_clerk_needs_no_mouse_and_dates_are_as_people_write_them(desk: Desk) -> None:
    page = await desk.counter()
    typed = ("4/9/2024", "4 September 2024", "04092024")
    for number, date in enumerate(typed, 1):
        await page.keyboard.type("1271 0101 0190 0001")
        await page.keyboard.press("Enter")
        await page.keyboard.type(NAME)
        await page.keyboard.press("Enter")
        await page.keyboard.type(f"SK-{number}/2024")
        await page.keyboard.press("Tab")
        await page.keyboard.type(date)
        await expect(page.locator("#document-date-hint")).to_have_text("Rabu, 4 September 2024")
        await page.keyboard.press("Enter")
        await expect(page.locator(".receipt .figure")).to_have_text(str(number))
        await expect(page.locator("#taxpayer-identity_number")).to_be_focused()
    orders = await desk.until_orders("completed", 3)
    assert {o["document"]["date"] for o in orders} == {"2024-09-04"}
    assert {o["document"]["number"] for o in orders} == {f"SK-{n}/2024" for n in (1, 2, 3)}
    # The list has moved by itself.
    await expect(page.locator("tr[data-order] .state.good")).to_have_count(3)
    assert await kept(page, "outbox") == []
    assert await kept(page, "drafts") == []


async def test_a_fault_is_shown_at_its_field_before_and_after_sending(desk: Desk) -> None:
    desk.expected = "422"
    page = await desk.counter()
    await fill(page, "SK-1", nik="1271014501900000")
    await page.keyboard.press("F9")
    wrong = page.locator("[data-field='taxpayer.identity_number'].wrong")
    await expect(wrong.locator(".error")).to_have_text("Empat angka terakhir NIK tidak boleh 0000")
    await expect(page.locator("#taxpayer-identity_number")).to_be_focused()
    await fill(page, "SK-1")
    await page.click(".more summary")
    await page.fill("#deadline", "31/12/2099")
    await page.keyboard.press("F9")
    # Only the gateway knows this rule.
    await expect(page.locator("[data-field='deadline'].wrong .error")).to_contain_text("lima tahun")
    assert await desk.orders() == []
    assert await kept(page, "outbox") == []
    await page.fill("#deadline", "")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")


async def test_of_several_faults_the_first_on_the_page_has_the_focus(desk: Desk) -> None:
    page = await desk.counter()
    await page.keyboard.type("12")
    await page.keyboard.press("F9")
    await expect(page.locator(".field.wrong")).to_have_count(3)
    await expect(page.locator("#taxpayer-identity_number")).to_be_focused()
    await page.fill("#taxpayer-identity_number", NIK)
    await page.keyboard.press("F9")
    await expect(page.locator("#taxpayer-name")).to_be_focused()
    # What is folded away is opened, even where it is not the first.
    await page.evaluate("document.querySelector('.more').open = true")
    await page.fill("#deadline", "31/2/2024")
    await page.evaluate("document.querySelector('.more').open = false")
    await page.keyboard.press("F9")
    await expect(page.locator("[data-field='deadline'].wrong .error")).to_be_visible()
    await expect(page.locator("#taxpayer-name")).to_be_focused()


async def test_where_no_pdf_is_chosen_its_chooser_says_so_and_has_the_focus(desk: Desk) -> None:
    page = await desk.counter()
    await page.keyboard.press("F4")
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator("#pdf")).to_be_focused()
    await expect(page.locator("#pdf")).to_have_accessible_description("Pilih dahulu PDF yang akan dibubuhi.")
    await expect(page.locator(".drop.wrong")).to_be_visible()
    await page.set_input_files("#pdf", paper(pdf_bytes()))
    await expect(page.locator(".drop.wrong")).to_have_count(0)
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")


async def test_the_pages_rules_are_the_gateways(desk: Desk) -> None:
    from antrean.gateway.identity import fault

    samples = [
        *((kind, number) for kind in ("KTP", "NPWP", "PASSPORT") for number in ("", "A1234567", "1" * 15)),
        *(("KTP", f"{p:02}01014101900001") for p in range(100)),
        *(("KTP", f"127101{d:02}{m:02}900001") for d in range(0, 75, 1) for m in (0, 1, 2, 4, 12, 13)),
        ("KTP", "1271010101900000"),
        ("KTP", "1200010101900001"),
        ("KTP", "1271000101900001"),
    ]
    page = await desk.open("/", "#key")
    found = await page.evaluate(
        """async (samples) => {
            const source = document.querySelector('script[type=module]').src.replace('console.js', 'rules.js');
            const rules = await import(source);
            return samples.map(([kind, number]) => rules.identityFault(kind, number));
        }""",
        samples,
    )
    ours = [fault(kind, number) for kind, number in samples]
    assert found == [None if f is None else f[0] for f in ours]


async def test_what_nobody_sees_falls_away_and_every_dash_is_the_keyboards(desk: Desk) -> None:
    page = await desk.open("/", "#key")
    tidied = await page.evaluate(
        """async (text) => {
            const source = document.querySelector('script[type=module]').src.replace('console.js', 'rules.js');
            const rules = await import(source);
            return [rules.tidyIdentity(text), rules.tidy(text), rules.tidyName(text)];
        }""",
        "\u202a\ufeff12\u200b71\u00ad \u201101\u20120\u20141\u2212a\u202c",
    )
    assert tidied == ["127101" + "01A", "1271 \u201101\u20120\u20141\u2212a", "1271 -01-0-1-a"]


async def test_a_key_that_is_held_down_sends_nothing(desk: Desk) -> None:
    page = await desk.counter()
    await fill(page, "SK-1")
    await page.fill("#taxpayer-name", "")
    await page.focus("#document-number")
    for _ in range(3):
        await page.keyboard.down("Enter")
    await page.keyboard.up("Enter")
    await expect(page.locator("#taxpayer-name")).to_be_focused()
    assert await page.locator(".field.wrong").count() == 0
    await page.fill("#taxpayer-name", NAME)
    held = "(repeat) => dispatchEvent(new KeyboardEvent('keydown', { key: 'F9', repeat }))"
    await page.evaluate(held, True)
    await expect(page.locator("#document-number")).to_have_value("SK-1")
    await page.evaluate(held, False)
    await expect(page.locator("#document-number")).to_have_value("")
    await expect(page.locator(".receipt .figure")).to_have_text("1")


async def test_dates_are_read_as_people_write_them_and_a_day_that_is_none_is_named(desk: Desk) -> None:
    page = await desk.open("/", "#key")
    read = """async (texts) => {
        const source = document.querySelector('script[type=module]').src.replace('console.js', 'rules.js');
        const { parseDate, orderFaults } = await import(source);
        const taxpayer = { identity_type: "KTP", identity_number: "1271010101900001", name: "A" };
        const paper = { number: "1", filename: "1.pdf", type_code: "4b" };
        const fault = (date) => orderFaults({ document: paper, taxpayer }, { date, deadline: date });
        return texts.map((text) => parseDate(text) ?? Object.values(fault(text)));
    }"""
    same = ("4 Sept. 2024", "Rabu, 4 September 2024", "Rab 4-9-2024", "2024/9/4", "4-sep-24", "04.09.2024")
    assert await page.evaluate(read, same) == ["2024-09-04"] * len(same)
    others = ["17 agt. 2024", "1 Nop 2024", "2 Peb. 2024", "Jum'at, 3 mei 2024"]
    assert await page.evaluate(read, others) == ["2024-08-17", "2024-11-01", "2024-02-02", "2024-05-03"]
    assert await page.evaluate(read, ["31/2/2024", "2024-13-01", "kemarin", "4 foo 2024"]) == [
        ["date-real"] * 2,
        ["date-real"] * 2,
        ["date-form"] * 2,
        ["date-form"] * 2,
    ]


async def test_a_stamp_on_a_turned_page_is_where_the_words_say(desk: Desk) -> None:
    pdf = pikepdf.open(io.BytesIO(pdf_bytes()))
    pdf.pages[0].Rotate = 90
    turned = io.BytesIO()
    pdf.save(turned)
    page = await desk.counter()
    await page.set_input_files("#pdf", paper(turned.getvalue()))
    await expect(page.locator(".sheet")).to_have_attribute("data-page", "1")
    words = page.locator(".placing output")
    # 24 pt from the edges of a sheet that is seen 842 pt wide and 595 pt high.
    for corner, left, bottom in (("Kiri bawah", 8, 8), ("Kanan bawah", 257, 8), ("Kiri atas", 8, 170)):
        await page.get_by_role("button", name=corner).click()
        await expect(words).to_have_text(f"Kotak 32 mm, {left} mm dari kiri, {bottom} mm dari bawah")


async def test_a_stamp_is_placed_by_keys_and_the_stamped_paper_comes_back(desk: Desk) -> None:
    page = await desk.counter()
    await page.keyboard.press("F4")
    await page.set_input_files("#pdf", paper(pdf_bytes(3)))
    await expect(page.locator(".sheet")).to_have_attribute("data-page", "1")
    await page.locator(".stamp").focus()
    await page.keyboard.press("PageDown")
    await expect(page.locator(".sheet")).to_have_attribute("data-page", "2")
    for key in ("ArrowLeft", "Shift+ArrowUp", "ArrowDown", "+"):
        await page.keyboard.press(key)
    await fill(page, "SK-7")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    [order] = await desk.until_orders("completed", 1)
    assert order["placement"] == {"page": 2, "x": 398, "y": 78, "width": 94, "height": 94}
    link = page.locator("a[data-action=document]")
    await expect(link).to_have_attribute("download", "surat-bermeterai.pdf")
    answer = await desk.context.request.get(desk.base + str(await link.get_attribute("href")))
    assert len(pikepdf.open(io.BytesIO(await answer.body())).pages) == 3


async def test_a_stamp_is_dragged_and_stays_on_the_page(desk: Desk) -> None:
    page = await desk.counter()
    await page.keyboard.press("F4")
    await page.set_input_files("#pdf", paper(pdf_bytes()))
    await expect(page.locator(".sheet")).to_have_attribute("data-page", "1")
    await page.locator(".stamp").scroll_into_view_if_needed()
    box = await page.locator(".stamp").bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + 20, box["y"] + 20)
    await page.mouse.down()
    await page.mouse.move(box["x"] + 3000, box["y"] + 20, steps=3)
    await page.mouse.up()
    await fill(page, "SK-8")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    [order] = await desk.orders()
    assert order["placement"] == {"page": 1, "x": 505, "y": 60, "width": 90, "height": 90}


async def test_a_pdf_with_a_password_is_refused_in_plain_words(desk: Desk) -> None:
    desk.expected = "422"
    pdf = pikepdf.open(io.BytesIO(pdf_bytes()))
    locked = io.BytesIO()
    pdf.save(locked, encryption=pikepdf.Encryption(owner="o", user="u"))
    page = await desk.counter()
    await page.set_input_files("#pdf", paper(locked.getvalue(), "rahasia.pdf"))
    await expect(page.locator(".drop.wrong")).to_contain_text("rahasia.pdf: PDF ini dilindungi kata sandi")
    await expect(page.locator("#document-filename")).to_have_value("")


@pytest.mark.parametrize(("roll", "width_mm"), [("receipt", 80), ("sheet", 210)])
async def test_a_ticket_is_printed_with_number_way_and_honest_time(
    desk: Desk, roll: str, width_mm: int
) -> None:
    await desk.outage(True)
    page = await desk.counter()
    await page.evaluate(
        "(roll) => { localStorage.setItem('antrean.paper', roll); window.print = () => { window.printed = true; }; }",
        roll,
    )
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator(".receipt .figure")).to_have_text("1")
    await page.keyboard.press("F8")
    await desk.stack.until(lambda: page.evaluate("window.printed === true"))
    ticket = page.locator(".print")
    await expect(ticket.locator(".print-number")).to_have_text("1")
    await expect(ticket).to_contain_text(re.compile(r"e-meterai .*sejak \d\d\.\d\d"))
    await expect(ticket).to_contain_text("Tidak perlu menunggu di loket")
    await expect(ticket).to_contain_text(f"{desk.base}/t/")
    assert await ticket.locator("img").evaluate("(img) => img.naturalWidth > 0")
    assert NIK not in await ticket.inner_text()
    printed = pikepdf.open(io.BytesIO(await page.pdf(prefer_css_page_size=True)))
    assert len(printed.pages) == 1
    assert float(printed.pages[0].mediabox[2]) == pytest.approx(width_mm / 25.4 * 72, abs=1)
    await desk.outage(False)


async def test_a_list_that_did_not_change_is_not_sent_again(desk: Desk) -> None:
    await desk.submit()
    page = await desk.counter()
    statuses: list[int] = []
    page.on("response", lambda r: statuses.append(r.status) if "/v1/orders?limit" in r.url else None)
    rows = page.locator("[data-order]")
    await expect(rows).to_have_count(1)

    async def unchanged() -> bool:
        await page.evaluate("dispatchEvent(new Event('online'))")
        return 304 in statuses

    await desk.stack.until(unchanged)
    await expect(rows).to_have_count(1)
    await desk.submit()
    await page.evaluate("dispatchEvent(new Event('online'))")
    await expect(rows).to_have_count(2)


async def test_a_list_that_is_answered_slowly_is_asked_for_less_often(desk: Desk) -> None:
    waits = {**await desk.submit(), "state": "queued"}
    answer_s = 0.5

    async def answered(route: Route) -> None:
        await asyncio.sleep(answer_s)
        await route.fulfill(json={"orders": [waits], "next_cursor": None})

    await desk.context.route("**/v1/orders?limit=*", answered)
    await desk.context.add_init_script(
        "const set = setTimeout; window.pauses = [];"
        "window.setTimeout = (done, ms, ...rest) => { pauses.push(ms); return set(done, ms, ...rest); };"
    )
    page = await desk.counter()

    async def pauses() -> list[float]:
        found: list[float] = await page.evaluate("pauses")
        return found

    async def seldom() -> bool:
        return any(10 * answer_s * 1000 <= ms <= 10_000 for ms in await pauses())

    async def often() -> bool:
        return 2500 in await pauses()

    await desk.stack.until(seldom)
    assert not await often()
    answer_s = 0
    await page.evaluate("dispatchEvent(new Event('online'))")
    await desk.stack.until(often)
