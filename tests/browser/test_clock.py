"""What day and time it is at the counter: a wrong clock, a list that does not move, the morning after an outage."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Route, expect

from browser.desk import Desk, fill

pytestmark = pytest.mark.asyncio(loop_scope="package")


@pytest.mark.parametrize(("days", "said"), [(3, "3 hari lebih cepat"), (-400, "400 hari lebih lambat")])
async def test_with_a_wrong_clock_one_signs_in_sees_todays_orders_and_reads_what_is_wrong(
    desk: Desk, days: int, said: str
) -> None:
    await desk.context.clock.set_system_time(datetime.now(UTC) + timedelta(days=days))
    page = await desk.open("/", "#key")
    await page.fill("#key", desk.key)
    await page.keyboard.press("Enter")
    await expect(page.locator("#taxpayer-identity_number")).to_be_focused()
    await expect(page.locator(".clock")).to_contain_text(said)
    today = datetime.now(ZoneInfo("Asia/Jakarta"))
    assert await page.input_value("#document-date") in {
        f"{day:%d/%m/%Y}" for day in (today, today - timedelta(minutes=1))
    }
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    # Without a day beside it: it is of today.
    await expect(page.locator("tr[data-order] time")).to_have_text(re.compile(r"^\d\d[.:]\d\d$"))
    await desk.context.clock.set_system_time(datetime.now(UTC))
    await expect(page.locator(".clock")).to_be_empty()


async def test_an_answer_that_slept_over_night_with_the_computer_does_not_set_the_clock(desk: Desk) -> None:
    desk.expected = "ERR_FAILED"
    page = await desk.counter()

    async def slow(route: Route) -> None:
        answer = await route.fetch()
        listed = await answer.json()
        morning = datetime.now(UTC) + timedelta(days=1)
        listed["orders"][0]["created_at"] = morning.isoformat()  # Of that day, to be seen.
        await desk.context.clock.set_system_time(morning)
        await route.fulfill(response=answer, json=listed)

    await desk.context.route("**/v1/**", lambda route: route.abort())
    await desk.submit()
    await desk.context.route("**/v1/orders?*", slow, times=1)
    await page.evaluate("dispatchEvent(new Event('online'))")
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    await expect(page.locator(".clock")).to_be_empty()


async def test_a_list_that_the_server_does_not_renew_says_of_when_it_is(desk: Desk) -> None:
    desk.expected = "503"
    page = await desk.counter()
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    await desk.context.route("**/v1/orders?*", lambda route: route.fulfill(status=503, body="{}"))
    await expect(page.locator(".aged")).to_contain_text(re.compile(r"Keadaan per \d\d[.:]\d\d"))
    await expect(page.locator("#line")).to_be_empty()
    other = await desk.open("/", ".aged:not(:empty)")
    await expect(other.locator(".aged")).to_contain_text("belum memberi daftar")
    await expect(other.locator(".empty")).to_be_hidden()
    await desk.context.unroute("**/v1/orders?*")
    for tab in (page, other):
        await tab.evaluate("dispatchEvent(new Event('online'))")
        await expect(tab.locator(".aged")).to_be_empty()
        await expect(tab.locator("tr[data-order]")).to_have_count(1)


async def test_the_morning_after_an_outage_all_that_is_not_done_can_be_seen_and_ends_in_sight(
    desk: Desk,
) -> None:
    await desk.outage(True)
    bodies = [desk.purchase(f"SK-{n}") | {"idempotency_key": f"{desk.office}-{n}"} for n in range(120)]
    for part in (bodies[:100], bodies[100:]):
        answer = await desk.stack.http.post(
            "/v1/batches", json={"orders": part}, headers={"Authorization": f"Bearer {desk.key}"}
        )
        assert {row["status"] for row in answer.json()["results"]} == {202}

    async def of_yesterday(route: Route) -> None:
        page = await (await route.fetch()).json()
        for order in page["orders"]:
            made = datetime.fromisoformat(order["created_at"]) - timedelta(days=1)
            order["created_at"] = made.isoformat()
        await route.fulfill(json=page)

    await desk.context.route("**/v1/orders?*", of_yesterday)
    page = await desk.counter()
    summary = page.locator(".list header [role=status]")
    await expect(summary).to_have_text("120+ pesanan · 120 belum selesai")
    await page.get_by_role("button", name="Tampilkan yang lebih lama").click()
    await expect(summary).to_have_text("120 pesanan · 120 belum selesai")
    await desk.outage(False)
    await expect(summary).to_have_text("120 pesanan · 0 belum selesai", timeout=60_000)


async def test_what_is_not_done_is_seen_however_much_was_done_since(desk: Desk) -> None:
    await desk.outage(True)
    waits = await desk.submit()
    rows = [desk.purchase(f"SK-{n}") | {"idempotency_key": f"later-{n}"} for n in range(100)]
    authorization = {"Authorization": f"Bearer {desk.key}"}
    answer = await desk.stack.http.post("/v1/batches", json={"orders": rows}, headers=authorization)
    for row in answer.json()["results"]:
        await desk.stack.http.post(f"/v1/orders/{row['order']['id']}/cancel", headers=authorization)
    page = await desk.counter()
    await expect(page.locator(f"tr[data-order='{waits['id']}']")).to_be_visible()
    await expect(page.locator(".list header [role=status]")).to_have_text("101+ pesanan · 1 belum selesai")
    await desk.outage(False)


async def test_a_page_left_open_over_night_dates_the_next_paper_with_the_new_day(desk: Desk) -> None:
    desk.expected = "ERR_INTERNET_DISCONNECTED"
    page = await desk.counter()
    date, name = page.locator("#document-date"), page.locator("#taxpayer-name")
    # No answer comes that would tell the page what day it is elsewhere.
    await desk.context.set_offline(True)
    for days, begun, written in ((1, "", ""), (2, "Siti", ""), (3, "", "4/9/2024")):
        before = await date.input_value()
        await name.fill(begun)
        if written:
            await date.fill(written)
        day = datetime.now(UTC) + timedelta(days=days)
        await desk.context.clock.set_system_time(day)
        await page.locator("#document-number").focus()
        await name.focus()
        today = f"{day.astimezone(ZoneInfo('Asia/Jakarta')):%d/%m/%Y}"
        await expect(date).to_have_value(written or (before if begun else today))


@pytest.mark.parametrize("zone", ["Asia/Jakarta", "Asia/Makassar", "Asia/Jayapura"])
async def test_a_deadline_is_of_the_day_that_was_typed_wherever_it_is_read(desk: Desk, zone: str) -> None:
    await desk.outage(True)
    day = datetime.now(UTC).date() + timedelta(days=9)
    at = {"deadline": f"{day}T23:59:00+07:00"}, {"deadline": f"{day}T15:00:00+07:00"}
    numbers = [(await desk.submit(**deadline))["ticket"]["number"] for deadline in at]
    said = [rf", {day.day} [A-Z][a-z]+ {day.year}$", rf", {day.day} [A-Z][a-z]+ {day.year}, 15\.00 WIB$"]
    desk.context = await desk.browser.new_context(locale="id-ID", timezone_id=zone)
    page = await desk.counter()
    for number, words in zip(numbers, said, strict=True):
        await page.get_by_role("button", name=f"Buka pesanan nomor {number}", exact=True).click()
        await expect(page.locator("dialog.order dd").last).to_have_text(re.compile(words))
        await page.keyboard.press("Escape")
    await desk.context.close()
    await desk.outage(False)


async def test_who_asks_for_older_orders_sees_some_and_those_not_loaded_are_not_said_to_be_done(
    desk: Desk,
) -> None:
    await desk.submit()
    [order] = await desk.orders()
    open_ones = [order | {"id": f"{n}", "state": "queued"} for n in range(2000)]

    async def listed(route: Route) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(route.request.url).query).items()}
        begin = int(asked.get("cursor", 0))
        end = begin + int(asked["limit"])
        await route.fulfill(
            json={"orders": open_ones[begin:end], "next_cursor": str(end) if end < 2000 else None}
        )

    await desk.context.route("**/v1/orders?*", listed)
    page = await desk.counter()
    rows = page.locator("tr[data-order]")
    await expect(rows).to_have_count(1000)
    summary = page.locator(".list header p")
    await expect(summary).to_have_text("1.000+ pesanan · 1.000+ belum selesai")
    for count, words in (
        (1500, "1.500+ pesanan · 1.500+ belum selesai"),
        (2000, "2.000 pesanan · 2.000 belum selesai"),
    ):
        await page.get_by_role("button", name="Tampilkan yang lebih lama").click()
        await expect(rows).to_have_count(count)
        await expect(summary).to_have_text(words)


async def test_a_page_left_open_over_night_says_of_which_day_its_times_are(desk: Desk) -> None:
    desk.expected = "ERR_FAILED"
    await desk.outage(True)
    page = await desk.counter()
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    row, receipt = page.locator("tr[data-order] time"), page.locator(".receipt")
    await expect(row).to_have_text(re.compile(r"^\d\d\.\d\d$"))
    await expect(page.locator(".situation")).to_contain_text(re.compile(r"sejak \d\d\.\d\d"))
    await expect(receipt).to_contain_text(re.compile(r"sejak \d\d\.\d\d"))
    [order] = await desk.orders()
    ticket = await desk.open(order["ticket"]["url"], "#share:not([hidden])")
    tomorrow = datetime.now(UTC) + timedelta(days=1)

    async def of_tomorrow(route: Route) -> None:
        answer = await route.fetch()
        await route.fulfill(
            response=answer, headers=answer.headers | {"date": format_datetime(tomorrow, usegmt=True)}
        )

    await desk.context.route("**/v1/**", of_tomorrow)
    await desk.context.clock.set_system_time(tomorrow)
    await page.evaluate("dispatchEvent(new Event('online'))")
    # Over the turn of the year, the year is said with it.
    day = r"[A-Z][a-z]+, \d+ [A-Z][a-z]+( \d{4})?, \d\d\.\d\d"
    await expect(row).to_have_text(re.compile(r"^\d+ [A-Z][a-z]+( \d{4})?, \d\d\.\d\d$"))
    await expect(page.locator(".situation")).to_contain_text(re.compile(f"sejak {day}"))
    await expect(receipt).to_contain_text(re.compile(f"sejak {day}"))
    await page.locator("tr[data-order] .ticket").click()
    await expect(page.locator("dialog.order .history time").first).to_have_text(re.compile(r"^\d+ [A-Z]"))
    await desk.context.route("**/v1/**", lambda route: route.abort())
    await desk.context.clock.set_system_time(tomorrow + timedelta(days=1))
    for tab, words in ((page, ".aged"), (ticket, "#foot")):
        await tab.evaluate("dispatchEvent(new Event('online'))")
        await expect(tab.locator(words)).to_contain_text(re.compile(day))
    await desk.outage(False)
