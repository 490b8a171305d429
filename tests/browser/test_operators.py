"""The dashboard: what it shows of an outage, and that every hand on the product gives a reason."""

from __future__ import annotations

import asyncio
import re

import pytest
from playwright.async_api import Route, expect

from browser.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_an_outage_is_seen_and_a_forced_breaker_has_a_reason(desk: Desk) -> None:
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".breaker")
    provider = page.locator("[data-breaker=provider]")
    await expect(provider.locator(".state")).to_have_text("Berjalan")
    await provider.get_by_role("button", name="Paksa").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Paksa").click()
    await expect(dialog.locator("[data-field=reason].wrong")).to_contain_text("Harus diisi")
    await dialog.locator("#reason").fill("pemeliharaan server pusat")
    await page.keyboard.press("Enter")
    await expect(provider.locator(".state")).to_have_text("Terputus")
    await expect(provider.locator(".forced")).to_contain_text("pemeliharaan server pusat")
    await desk.submit()
    await expect(page.locator(".situation")).to_contain_text("1 pesanan menunggu")
    await expect(page.locator("[data-figure=open] dd").first).to_have_text("1")
    await expect(page.locator(".band i[data-state=open]")).not_to_have_count(0)
    await expect(page.locator("tbody th", has_text=desk.office)).to_be_visible()
    await expect(page.locator("[data-figure=miss] dd").first).not_to_have_text("0")
    await expect(page.locator("[data-figure=miss]")).to_contain_text("belum dapat dihitung")
    await provider.get_by_role("button", name="Cabut").click()
    await dialog.locator("#reason").fill("server pusat sudah pulih")
    await page.keyboard.press("Enter")
    await expect(provider.locator(".state")).to_have_text("Berjalan")
    await desk.until_orders("completed", 1)
    history = (await desk.stack.ops.get("/v1/ops/breaker/history")).json()["breakers"]["provider"]
    kept = [(change["kind"], change["reason"]) for change in history]
    assert ("override", "pemeliharaan server pusat") in kept
    assert ("override_lifted", "server pusat sudah pulih") in kept


async def test_a_breaker_that_is_forced_to_run_is_not_said_to_run_well(desk: Desk) -> None:
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".breaker")
    situation = page.locator(".situation")
    await expect(situation).to_contain_text("Semua berjalan")
    await desk.stack.sim.put("/_sim/outage", json={"on": True, "mode": "down"})
    forced = {"state": "closed", "reason": "r" * 128, "expires_in_s": 600}
    await desk.stack.ops.put("/v1/ops/breaker/provider/override", json=forced)
    await expect(situation).to_contain_text("Server pusat dipaksa berjalan sampai")
    await expect(situation).not_to_contain_text("Semua berjalan")
    await desk.stack.sim.delete("/_sim/outage")
    # However long its reason is, the way back is not covered.
    await page.locator("[data-breaker=provider]").get_by_role("button", name="Cabut").click()
    await page.locator("dialog #reason").fill("server pusat tidak menjawab")
    await page.keyboard.press("Enter")
    await expect(situation).to_contain_text("Semua berjalan")


async def test_where_no_worker_is_alive_all_is_not_said_to_run(desk: Desk) -> None:
    workers = 0

    async def without(route: Route) -> None:
        backlog = await (await route.fetch()).json()
        await route.fulfill(json=backlog | {"workers": workers, "open": 5, "completed_per_minute": 60.0})

    await desk.context.route("**/v1/ops/backlog", without)
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".breaker")
    situation = page.locator(".situation")
    await expect(situation).to_contain_text("Tidak ada worker yang hidup")
    await expect(situation).not_to_contain_text("Semua berjalan")
    for figure in ("empty", "miss"):
        await expect(page.locator(f"[data-figure={figure}]")).to_contain_text("belum dapat dihitung")
    workers = 1
    await expect(situation).to_have_text("Semua berjalan: tidak ada yang ditahan.")
    await expect(page.locator("[data-figure=empty]")).to_contain_text("5 detik")


async def test_all_that_wait_for_a_person_are_counted_also_those_that_are_not_listed(desk: Desk) -> None:
    order = await desk.submit() | {"state": "attention", "decisions": ["auto"]}

    async def many(route: Route) -> None:
        backlog = await (await route.fetch()).json()
        await route.fulfill(json=backlog | {"by_state": {"attention": 812}})

    await desk.context.route("**/v1/ops/attention", lambda route: route.fulfill(json={"orders": [order]}))
    await desk.context.route("**/v1/ops/backlog", many)
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".case")
    await expect(page.locator("#attention-title")).to_contain_text("812 pesanan")


async def test_who_gives_up_what_may_be_stamped_already_is_told_so(desk: Desk) -> None:
    order = await desk.submit() | {"state": "attention", "decisions": ["auto", "cancel"]}
    orders = [order | {"stamped_perhaps": perhaps, "id": str(perhaps)} for perhaps in (True, False)]
    await desk.context.route("**/v1/ops/attention", lambda route: route.fulfill(json={"orders": orders}))
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".case")
    for words, case in (("mungkin sudah memuat", "True"), ("Tidak ada yang dibayar", "False")):
        await page.locator(f"[data-case='{case}']").get_by_role("button", name="Akhiri pesanan").click()
        await expect(page.get_by_role("dialog")).to_contain_text(words)
        await page.keyboard.press("Escape")


async def test_figures_that_are_no_longer_asked_for_are_said_to_be_old(desk: Desk) -> None:
    await desk.sign_in("ops")
    page = await desk.context.new_page()
    await page.clock.install()
    await page.goto(f"{desk.base}/ops")
    await page.wait_for_selector(".breaker")
    line = page.locator("#line")
    await expect(line).to_be_empty()
    asked = asyncio.Event()
    # Taken, and never answered.
    await page.route("**/v1/ops/backlog", lambda _: asked.set())
    await page.clock.run_for(2500)
    await asked.wait()
    await page.clock.run_for(6500)
    await expect(line).to_have_text(re.compile(r"Sambungan terputus · Terakhir diketahui \d\d\.\d\d\.\d\d"))
    await expect(page.locator("main.stale")).to_be_visible()
    await page.unroute("**/v1/ops/backlog")
    desk.expected = "503"
    await page.route("**/v1/ops/backlog", lambda route: route.fulfill(status=503))
    await page.clock.run_for(2500)
    await expect(line).to_have_text(re.compile(r"Gateway menjawab dengan galat 503 · Terakhir diketahui "))
    await page.unroute("**/v1/ops/backlog")
    await page.clock.run_for(9000)
    await expect(line).to_be_empty()
    await expect(page.locator("main.stale")).to_have_count(0)


async def test_two_hundred_offices_are_found_or_shown_in_a_box(desk: Desk) -> None:
    await desk.sign_in("ops")
    page = await desk.context.new_page()

    async def many(route: Route) -> None:
        answer = await route.fetch()
        backlog = await answer.json()
        waiting = {f"KTR-{number:03}": number + 1 for number in range(200)}
        await route.fulfill(response=answer, json=backlog | {"by_office": waiting})

    await page.route("**/v1/ops/backlog", many)
    await page.goto(f"{desk.base}/ops")
    rows, box = page.locator(".offices tbody tr"), page.locator(".offices")
    await expect(rows).to_have_count(12)
    await expect(rows.first).to_contain_text("KTR-199")
    await page.click("#office-all")
    await expect(rows).to_have_count(200)
    assert await box.evaluate("box => box.scrollHeight > box.clientHeight && box.clientHeight < 700")
    await page.fill("#office-filter", "ktr-007")
    await expect(rows).to_have_count(1)
    await page.fill("#office-filter", "nowhere")
    await expect(rows).to_have_text("Tidak ada kantor yang cocok.")


async def test_the_money_of_a_refused_order_is_owed_until_a_refund_is_on_record(desk: Desk) -> None:
    await desk.stack.fault("reject", "generate", message="NIK tidak sesuai")
    await desk.submit()
    [order] = await desk.until_orders("rejected", 1)
    await desk.stack.no_faults()
    await desk.sign_in("ops")
    page = await desk.open("/ops", "#rejected:not([hidden])")
    await expect(page.locator("#rejected summary")).to_contain_text("masih harus dikembalikan")
    await expect(page.get_by_role("row", name="Dibayar, belum dibelikan")).to_be_visible()
    await page.click("#rejected summary")
    row = page.locator(f"[data-rejected='{order['id']}']")
    await expect(row).to_contain_text(desk.office)
    await row.get_by_role("button").click()
    await page.get_by_role("dialog").locator("#reason").fill("dibayar kembali di loket")
    await page.keyboard.press("Enter")
    await expect(row).to_have_count(0)
    await expect(
        page.locator("#rejected summary, #rejected li button").and_(page.locator(":focus"))
    ).to_have_count(1)
    [order] = await desk.orders()
    assert "dibayar kembali di loket" in order["history"][-1]["note"]


@pytest.mark.parametrize(
    ("pace", "top", "share"), [(2.3, "3", 2 / 3), (1234, "2.000", 1 / 1000), (0, "2", 1)]
)
async def test_what_stands_beside_a_charts_top_is_the_top(
    desk: Desk, pace: float, top: str, share: float
) -> None:
    async def trend(route: Route) -> None:
        times = (f"2024-09-04T10:0{minute}:00Z" for minute in range(5))
        samples = [{"at": at, "open": 1, "completed_per_minute": pace, "limit": 2} for at in times]
        await route.fulfill(json={"samples": samples})

    await desk.sign_in("ops")
    page = await desk.context.new_page()
    await page.route("**/v1/ops/trend", trend)
    await page.goto(f"{desk.base}/ops")
    chart = page.locator(".chart").last
    await expect(chart.locator(".high")).to_have_text(top)
    points = str(await chart.locator(".line.s1").get_attribute("points"))
    [height] = {float(point.split(",")[1]) for point in points.split(" ")}
    # Of 150 the upper 8 are above the line.
    assert height == pytest.approx(150 - share * 142, abs=0.1)


async def test_draining_is_paused_and_resumed_by_the_button(desk: Desk) -> None:
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".breaker")
    await page.click("#pause")
    await page.get_by_role("dialog").locator("#reason").fill("stok opname")
    await page.keyboard.press("Enter")
    await expect(page.locator(".situation")).to_contain_text("stok opname")
    await expect(page.locator("#pause")).to_have_text("Lanjutkan")
    await page.click("#pause")
    await page.get_by_role("dialog").locator("#reason").fill("selesai")
    await page.keyboard.press("Enter")
    await expect(page.locator("#pause")).to_have_text("Hentikan sementara")
    await expect(page.locator(".situation")).to_contain_text("Semua berjalan")


async def test_deadlines_are_moved_with_dates_as_people_write_them(desk: Desk) -> None:
    await desk.outage(True)
    await desk.submit(deadline="2026-12-06T23:59:00+07:00")
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".breaker")
    await page.click("#deadlines")
    dialog = page.get_by_role("dialog")
    await dialog.locator("#from").fill("6/12/2026")
    await dialog.locator("#to").fill("10 Desember 2026")
    await dialog.locator("#office").fill(desk.office)
    await dialog.locator("#reason").fill("diundur oleh panitia")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("Tenggat 1 pesanan digeser")).to_be_visible()
    [order] = await desk.orders()
    assert order["deadline"] == "2026-12-10T16:59:00.000Z"
    await desk.outage(False)


async def test_what_needs_a_person_is_on_top_with_evidence_and_decisions(desk: Desk) -> None:
    await desk.stack.fault("sn_unusable", "stamp")
    page = await desk.counter()
    await desk.submit_affix()
    [order] = await desk.until_orders("attention", 1)
    await expect(page.locator("tr[data-order] .state")).to_have_text("Diperiksa petugas")
    await desk.stack.no_faults()
    # It would go on asking, and the profile's session is another's then.
    await page.close()
    await desk.sign_in("ops")
    ops = await desk.open("/ops", ".case")
    case = ops.locator(f"[data-case='{order['id']}']")
    await expect(case).to_contain_text(desk.office)
    await expect(case).to_contain_text(order["serial_number"])
    await case.get_by_role("button", name="Kembalikan ke antrean").click()
    await ops.get_by_role("dialog").locator("#reason").fill("layanan sudah diperbaiki")
    await ops.keyboard.press("Enter")
    await expect(case).to_have_count(0)
    await desk.until_orders("completed", 1)


async def test_a_case_that_joins_folds_nothing_and_the_keyboard_goes_on_with_the_next(desk: Desk) -> None:
    cases = [await desk.submit() | {"state": "attention", "decisions": ["auto"]} for _ in range(3)]
    shown = cases[:1]

    async def listed(route: Route) -> None:
        await route.fulfill(json={"orders": shown})

    async def decided(route: Route) -> None:
        del shown[0]
        await route.fulfill(json={})

    await desk.context.route("**/v1/ops/attention", listed)
    await desk.context.route("**/v1/orders/*/replay", decided)
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".case")
    first = page.locator(".case").first
    await first.locator("summary").focus()
    await page.keyboard.press("Enter")
    shown += cases[1:]
    await expect(page.locator(".case")).to_have_count(3)
    await expect(first.locator("details")).to_have_attribute("open", "")
    await expect(first.locator("summary")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.keyboard.type("layanan sudah diperbaiki")
    await page.keyboard.press("Enter")
    await expect(page.locator(".case")).to_have_count(2)
    await expect(page.locator(f"[data-case='{cases[1]['id']}'] button")).to_be_focused()


async def test_a_double_click_on_older_refusals_lists_each_once(desk: Desk) -> None:
    refused = [await desk.submit() | {"state": "rejected", "error": None} for _ in range(3)]
    asked: list[Route] = []

    async def taken(route: Route) -> None:
        asked.append(route)

    async def counted(route: Route) -> None:
        backlog = await (await route.fetch()).json()
        await route.fulfill(json=backlog | {"by_state": {"rejected": 3}})

    await desk.context.route("**/v1/ops/backlog", counted)
    await desk.context.route(
        "**/v1/orders?state=rejected*",
        lambda route: route.fulfill(json={"orders": refused[:2], "next_cursor": "1"}),
    )
    await desk.context.route("**/v1/orders?state=rejected*cursor*", taken)
    await desk.sign_in("ops")
    page = await desk.open("/ops", "#rejected:not([hidden])")
    await page.click("#rejected summary")
    rows, older = page.locator("[data-rejected]"), page.locator("#rejected > button")
    await expect(rows).to_have_count(2)
    await older.dblclick()

    async def twice() -> bool:
        return len(asked) == 2

    await desk.stack.until(twice)
    for route in asked:
        await route.fulfill(json={"orders": refused[2:], "next_cursor": None})
    await expect(older).to_be_hidden()
    await expect(rows).to_have_count(3)


@pytest.mark.parametrize("by", ["keyboard", "mouse"])
async def test_what_is_on_its_way_can_not_be_closed_as_if_it_were_not_done(desk: Desk, by: str) -> None:
    desk.expected = "503"
    asked: list[Route] = []

    async def taken(route: Route) -> None:
        asked.append(route)

    await desk.context.route("**/v1/ops/pause", taken)
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".breaker")
    await page.click("#pause")
    dialog = page.get_by_role("dialog")
    await dialog.locator("#reason").fill("stok opname")
    if by == "mouse":
        await dialog.locator("button[type=submit]").click()
    else:
        await page.keyboard.press("Enter")
    for _ in range(2):
        await page.keyboard.press("Escape")
    await expect(dialog.get_by_role("button", name="Batal")).to_be_disabled()
    [route] = asked
    await route.fulfill(status=503, json={"type": "/problems/store-unavailable"})
    await expect(dialog.get_by_role("alert")).not_to_be_empty()
    await page.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
