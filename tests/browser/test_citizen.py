"""The ticket page: what it says in good and bad times, by itself, to anybody, for little."""

from __future__ import annotations

import asyncio
import re
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from playwright.async_api import Page, expect

from antrean.gateway.ticket_words import filled
from antrean.gateway.web_files import FILES
from antrean.orders.holding import ADAPTER, BALANCE, PAUSED, QUOTA, UPSTREAM
from antrean.orders.states import State
from antrean.orders.view import rfc3339
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
    # Its breaker is forced, which is told apart from a server that is down.
    said = re.compile(r"Pembelian e-meterai dihentikan sementara oleh petugas sejak \d\d\.\d\d")
    await expect(headline).to_have_text(said)
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


async def test_after_a_refund_nobody_is_told_that_nothing_was_bought_or_sent_to_the_counter_for_it(
    desk: Desk,
) -> None:
    async def refunded(order_id: str) -> None:
        answer = await desk.stack.ops.post(f"/v1/orders/{order_id}/refund", json={"reason": "uang kembali"})
        assert answer.status_code == 200, answer.text

    await desk.stack.fault("sn_unusable", "stamp")
    await desk.submit_affix()
    [order] = await desk.until_orders("attention", 1)
    assert order["serial_number"] is not None
    await refunded(order["id"])
    page = await desk.open(order["ticket"]["url"])
    await expect(page.locator("#headline")).to_have_text("Dibatalkan")
    await expect(page.locator("#more")).to_contain_text("bila uang Anda belum dikembalikan")
    await expect(page.locator("#more")).not_to_contain_text("tidak ada meterai")
    await desk.stack.fault("reject", "generate")
    await desk.submit()
    [order] = await desk.until_orders("rejected", 1)
    await refunded(order["id"])
    await page.goto(desk.base + order["ticket"]["url"])
    await expect(page.locator("#more")).to_contain_text("ke loket, kecuali uang Anda sudah dikembalikan")


async def test_what_was_erased_is_not_said_to_be_ready(desk: Desk) -> None:
    await desk.submit()
    [order] = await desk.until_orders("completed", 1)
    page = await desk.open(order["ticket"]["url"])
    await expect(page.locator("#more")).to_contain_text("sudah siap")
    answer = await desk.stack.ops.post(f"/v1/orders/{order['id']}/erase", json={"reason": "diminta"})
    assert answer.status_code == 200, answer.text

    async def told() -> bool:
        # Readers share a look at a ticket for a moment.
        return bool((await desk.stack.ops.get(f"/v1/tickets/{order['ticket']['token']}")).json()["erased"])

    await desk.stack.until(told)
    await page.reload()
    await expect(page.locator("#headline")).to_have_text("Selesai")
    await expect(page.locator("#more")).to_contain_text("sudah dihapus")
    await expect(page.locator("#more")).not_to_contain_text("sudah siap")
    counter = await desk.counter()
    await counter.click("tr[data-order] .ticket")
    shown = counter.locator("dialog.order")
    await expect(shown).to_contain_text("Data dan berkas pesanan ini sudah dihapus")
    await expect(shown).not_to_contain_text("erased")


def ticket_of(state: str, **changes: Any) -> dict[str, Any]:
    """A ticket as the gateway shows it."""
    empty = {"ahead": None, "position": None, "eta": None, "holding": None}
    at = "2026-01-02T03:04:05.000Z"
    return {"number": 12345, "state": state, "created_at": at, "updated_at": at} | empty | changes


def holding_of(reason: str, since: str, forced: bool = False) -> dict[str, Any]:
    """What holds it back, without the text that its page does not read."""
    return {"reason": reason, "since": since, "forced": forced}


NOW_MS = int(time.time() * 1000)
SOON = {"earliest": rfc3339(NOW_MS + 60_000), "latest": rfc3339(NOW_MS + 3_600_000)}
TICKETS = [
    *(ticket_of(state) for state in State),
    ticket_of("completed", erased=True),
    ticket_of("queued", ahead=0),
    ticket_of("queued", ahead=1234, eta=SOON),
    ticket_of("queued", ahead=8, holding=holding_of(UPSTREAM, "2024-09-04T03:20:00Z")),
    *(
        ticket_of(state, ahead=ahead, holding=holding_of(reason, rfc3339(NOW_MS - 86_400_000), forced))
        for forced in (False, True)
        for reason in ((UPSTREAM, ADAPTER) if forced else (PAUSED, BALANCE, QUOTA, UPSTREAM, ADAPTER))
        for state, ahead in (("queued", 0), ("queued", 7), ("unknown", None))
    ),
]


async def test_without_a_script_the_page_says_what_it_says_with_one(desk: Desk) -> None:
    plain = await desk.browser.new_context(java_script_enabled=False)
    body = b""
    for context in (plain, desk.context):
        await context.route("**/t/made-up", lambda route: route.fulfill(body=body, content_type="text/html"))
    without, scripted = await plain.new_page(), await desk.context.new_page()
    for shown in TICKETS:
        body = filled(FILES["ticket.html"].body, shown)
        await without.goto(f"{desk.base}/t/made-up")
        await scripted.goto(f"{desk.base}/t/made-up")
        # By then its script has said all it has to say.
        await scripted.wait_for_selector("#share:not([hidden])")
        for part in ("#number", "#headline", "#more", "#eta"):
            said = await without.inner_text(part)
            assert said.replace(" WIB", "") == await scripted.inner_text(part), (shown, part)
        assert await without.get_attribute(".slip", "class") == await scripted.get_attribute(".slip", "class")
    await plain.close()


async def test_a_time_of_another_year_is_said_with_its_year(desk: Desk) -> None:
    shown = ticket_of("completed", created_at="2024-09-04T03:20:00.000Z")
    body = filled(FILES["ticket.html"].body, shown)
    assert "Diterima Rabu, 4 September 2024, 10.20 WIB" in body.decode()
    await desk.context.route("**/t/made-up", lambda route: route.fulfill(body=body, content_type="text/html"))
    page = await desk.open("/t/made-up", "#share:not([hidden])")
    await expect(page.locator("#foot")).to_have_text("Diterima Rabu, 4 September 2024, 10.20")
    words = "link[rel=modulepreload][href$='words.js']"
    short = f"""async (at) => (await import(document.querySelector("{words}").href)).shortMoment(at)"""
    assert await page.evaluate(short, shown["created_at"]) == "4 Sep 2024, 10.20"
    today = datetime.now(timezone(timedelta(hours=7)))
    before = today - timedelta(days=2 if today.timetuple().tm_yday > 3 else -2)
    assert str(today.year) not in await page.evaluate(short, rfc3339(int(before.timestamp() * 1000)))


@pytest.mark.parametrize("language", ["id", "en"])
async def test_letters_of_twice_the_size_fit_a_small_phone(desk: Desk, language: str) -> None:
    body = b""
    await desk.prefer(language)
    await desk.context.route("**/t/made-up", lambda route: route.fulfill(body=body, content_type="text/html"))
    page = await desk.context.new_page()
    await page.set_viewport_size({"width": 360, "height": 640})
    for shown in TICKETS:
        body = filled(FILES["ticket.html"].body, shown)
        await page.goto(f"{desk.base}/t/made-up")
        await page.wait_for_selector("#share:not([hidden])")
        await page.evaluate("document.documentElement.style.fontSize = '32px'")
        for element in ("html", ".news"):
            wide = "e => e.scrollWidth - e.clientWidth"
            assert await page.locator(element).evaluate(wide) <= 0, (shown, element)


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
    await expect(page.locator("#foot")).to_contain_text("Sambungan terputus")
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


async def test_a_phone_that_loses_its_line_says_at_once_that_what_it_shows_is_old(desk: Desk) -> None:
    desk.expected = "ERR_INTERNET_DISCONNECTED"
    await desk.outage(True)
    order = await desk.submit()
    page = await desk.open(order["ticket"]["url"], "#share:not([hidden])")
    await desk.context.set_offline(True)
    await expect(page.locator(".slip.stale")).to_be_visible()
    await expect(page.locator("#foot")).to_have_text(
        re.compile(r"Sambungan terputus.* terakhir diketahui \d\d\.\d\d\.\d\d\.")
    )
    await desk.context.set_offline(False)
    await expect(page.locator("#foot")).to_contain_text("Diperbarui")
    await expect(page.locator(".slip.stale")).to_have_count(0)
    await desk.outage(False)


async def test_an_unknown_ticket_is_a_page_that_says_so(desk: Desk) -> None:
    desk.expected = "404"
    page = await desk.context.new_page()
    answer = await page.goto(f"{desk.base}/t/{'0' * 20}")
    assert answer is not None
    assert answer.status == 404
    await expect(page.locator("h1")).to_have_text("Tiket ini tidak dikenal")
    assert desk.api_calls() == []


@pytest.mark.parametrize(("path", "script"), [("ticket", "ticket.js"), ("/", "words.js"), ("/ops", "ops.js")])
async def test_a_page_whose_script_does_not_run_says_what_to_do(desk: Desk, path: str, script: str) -> None:
    desk.expected = "Failed to load"
    path = (await desk.submit())["ticket"]["url"] if path == "ticket" else path
    whole = await desk.open(path, "[data-switch=theme]")
    await expect(whole.locator(".late")).to_have_count(0)
    # As an old browser, or a line that falls away between the page and its script.
    await desk.context.route(f"**/static/*/{script}", lambda route: route.abort())
    page = await desk.open(path)
    await expect(page.locator(".late")).to_contain_text(re.compile("muat ulang", re.IGNORECASE))
    await expect(page.locator(".late")).to_be_visible()
