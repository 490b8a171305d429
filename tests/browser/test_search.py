"""The list's search: what it promises, what it finds among the loaded orders, and the search of all orders."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.async_api import Route, expect

from browser.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def test_what_is_not_loaded_is_searched_for_among_all_orders(desk: Desk) -> None:
    desk.expected = "404"
    for number in ("SK-1", "SK-2"):
        document = {"type_code": "4b", "number": number, "date": "2024-09-04", "filename": "a.pdf"}
        await desk.submit(document=document)
    orders = await desk.orders()
    asked: list[dict[str, Any]] = []

    async def answer(route: Route) -> None:
        asked.append(json.loads(route.request.post_data or ""))
        if len(asked) == 1:
            await route.fulfill(status=404, json={"type": "/problems/not-found"})
        else:
            await route.fulfill(
                json={"orders": orders[len(asked) - 2 :][:1], "next_cursor": None if len(asked) > 2 else "c"}
            )

    await desk.context.route("**/v1/search", answer)
    page = await desk.counter()
    rows = page.locator("tr[data-order]")
    await expect(rows).to_have_count(2)
    search = page.locator("#search")
    # Names come masked to a counter: a search for one would find nothing.
    await expect(search).to_have_attribute("placeholder", "Nomor, dokumen, referensi, SN")
    await search.fill("SK-2")
    await expect(rows).to_have_count(1)
    await expect(page.locator("#search-all")).to_be_hidden()
    await search.fill("SK-77")
    await expect(page.locator(".empty")).to_have_text("Tidak ada di antara 2 pesanan yang dimuat.")
    await page.click("#search-all")
    await expect(page.locator(".tail")).to_contain_text("belum tersedia")
    await search.press("Enter")
    await expect(rows).to_have_count(1)
    await page.get_by_role("button", name="Tampilkan yang lebih lama").click()
    await expect(rows).to_have_count(2)
    await expect(page.locator(".list header")).to_contain_text("2 ditemukan di semua pesanan")
    assert asked[1:] == [{"text": "SK-77", "cursor": cursor, "limit": 50} for cursor in (None, "c")]
    await search.fill("")
    await expect(page.locator(".list header")).to_contain_text("2 pesanan")


async def test_a_long_number_leaves_the_state_and_the_buttons_in_sight(desk: Desk) -> None:
    document = {"type_code": "4b", "number": "N" * 64, "date": "2024-09-04", "filename": "a.pdf"}
    await desk.submit(document=document)
    page = await desk.counter()
    for part in (".state", "[data-action=print]"):
        await expect(page.locator(f"tr[data-order] {part}")).to_be_in_viewport(ratio=1)


async def test_nothing_is_said_to_be_nowhere_before_all_orders_were_looked_at(desk: Desk) -> None:
    await desk.submit()
    [order] = await desk.orders()
    cursors: list[str | None] = []

    async def answer(route: Route) -> None:
        # Of many orders a call looks at a part: a page without one has a cursor all the same.
        cursors.append(json.loads(route.request.post_data or "")["cursor"])
        found = [order] if len(cursors) == 3 else []
        await route.fulfill(json={"orders": found, "next_cursor": str(len(cursors))})

    await desk.context.route("**/v1/search", answer)
    page = await desk.counter()
    await expect(page.locator("tr[data-order]")).to_have_count(1)
    search, summary = page.locator("#search"), page.locator(".list header [role=status]")
    await search.fill("4711")
    await search.press("Enter")
    await expect(summary).to_have_text("1 ditemukan di semua pesanan+")
    assert cursors == [None, "1", "2"]
    # However far it looks, it ends: what was not looked at is said.
    await search.fill("4712")
    await search.press("Enter")
    await expect(page.locator(".empty")).to_contain_text("yang lebih lama belum dicari")
    assert len(cursors) == 3 + 10


async def test_what_is_found_and_opened_moves_on_though_the_list_does_not_hold_it(desk: Desk) -> None:
    await desk.outage(True)
    waits = await desk.submit()

    async def nothing(route: Route) -> None:
        await route.fulfill(json={"orders": [], "next_cursor": None})

    await desk.context.route("**/v1/orders?*", nothing)
    page = await desk.counter()
    await page.fill("#search", "SK-9")
    await page.press("#search", "Enter")
    row = page.locator(f"tr[data-order='{waits['id']}']")
    await expect(row.locator(".state")).to_have_text("Ditahan, aman")
    await row.locator(".ticket").click()
    await desk.outage(False)
    await expect(page.locator("dialog.order .state")).to_have_text("Selesai")
    await expect(row.locator(".state")).to_have_text("Selesai")
    # It goes on where the search does not find it any more.
    await expect(page.locator("dialog.order .picture")).to_be_visible()


async def test_a_found_order_that_is_gone_holds_up_no_list(desk: Desk) -> None:
    await desk.outage(True)
    gone = await desk.submit()

    async def without(route: Route) -> None:
        answer = await (await route.fetch()).json()
        orders = [order for order in answer["orders"] if order["id"] != gone["id"]]
        await route.fulfill(json=answer | {"orders": orders})

    await desk.context.route("**/v1/orders?*", without)
    page = await desk.counter()
    await page.fill("#search", "SK-9")
    await page.press("#search", "Enter")
    await expect(page.locator(f"tr[data-order='{gone['id']}']")).to_be_visible()
    desk.expected = "404"
    problem = {"type": "https://antrean.example/not-found", "status": 404}
    path = f"**/v1/orders/{gone['id']}"
    await desk.context.route(path, lambda route: route.fulfill(status=404, json=problem))
    async with page.expect_response(path):
        pass
    later = await desk.submit()
    await page.fill("#search", "")
    await expect(page.locator(f"tr[data-order='{later['id']}']")).to_be_visible()
    await desk.outage(False)


async def test_an_office_whose_orders_lie_far_back_in_the_archive_has_an_empty_list_and_a_line(
    desk: Desk,
) -> None:
    asked: list[str] = []

    async def far(route: Route) -> None:
        asked.append(route.request.url)
        await route.fulfill(json={"orders": [], "next_cursor": "5000"})

    await desk.context.route("**/v1/orders?limit=*", far)
    page = await desk.counter()
    await expect(page.locator(".list .empty")).to_be_visible()
    await expect(page.locator(".list .aged")).to_be_empty()
    assert not [url for url in asked if "cursor" in url]
