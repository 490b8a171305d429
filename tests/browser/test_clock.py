"""A computer whose clock is wrong, and a list that does not move: the page says so, and goes by the server."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import expect

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


async def test_a_list_that_the_server_does_not_renew_says_of_when_it_is(desk: Desk) -> None:
    desk.expected = "503"
    page = await desk.counter()
    await fill(page, "SK-1")
    await page.keyboard.press("F9")
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    await desk.context.route("**/v1/orders?*", lambda route: route.fulfill(status=503, body="{}"))
    await expect(page.locator(".aged")).to_contain_text(re.compile(r"Keadaan pukul \d\d[.:]\d\d"))
    await expect(page.locator("#line")).to_be_empty()
    other = await desk.open("/", ".aged:not(:empty)")
    await expect(other.locator(".aged")).to_contain_text("belum memberi daftar")
    await expect(other.locator(".empty")).to_be_hidden()
    await desk.context.unroute("**/v1/orders?*")
    for tab in (page, other):
        await tab.evaluate("dispatchEvent(new Event('online'))")
        await expect(tab.locator(".aged")).to_be_empty()
        await expect(tab.locator("tr[data-order]")).to_have_count(1)
