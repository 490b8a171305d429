"""An office's list that did not change is told as that, from one small look; each change of it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway import list_tag, routes_orders
from antrean.gateway.problems import Problem
from antrean.gateway.shared_lists import KEPT_MAX, SharedLists
from antrean.orders.erasure import Eraser
from gateway_support import OFFICE, OTHER, Gateway, purchase, running_gateway

LIST = "/v1/orders?limit=20"
DUE = "2027-01-01T00:00:00Z"
DUE_MS = int(datetime.fromisoformat(DUE).timestamp() * 1000)


@pytest.fixture(name="gateway")
async def _gateway(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Gateway]:
    for name in ("MOVING_S", "STILL_S"):
        monkeypatch.setattr(list_tag, name, 10**9)
    async with running_gateway(redis, settings) as gateway:
        yield gateway


class Page:
    """Asks for its list as a counter's page does, with what it has seen."""

    def __init__(self, gateway: Gateway, **who: Any) -> None:
        self._gateway = gateway
        self._who = who
        self.tag = ""

    async def sees_change(self) -> bool:
        answer = await self._gateway.call("GET", LIST, headers={"If-None-Match": self.tag}, **self._who)
        assert answer.status in (200, 304)
        assert answer.status == 200 or not await answer.read()
        self.tag = answer.headers["ETag"]
        return bool(answer.status == 200)


async def test_each_change_of_the_offices_orders_is_told_once_and_none_of_another_office(
    gateway: Gateway,
) -> None:
    page, elsewhere = Page(gateway), Page(gateway, office=OTHER)
    first, second = await gateway.order(), await gateway.order()

    async def erased() -> None:
        await Eraser(gateway.parts.store, gateway.parts.documents).erase(second["id"], "asked for")

    changes: list[Callable[[], Awaitable[object]]] = [
        lambda: gateway.order(body=purchase(deadline=DUE)),
        lambda: gateway.complete_purchase(first["id"]),
        lambda: gateway.parts.store.postpone(DUE_MS, DUE_MS + 1, DUE_MS + 60_000, OFFICE, "moved"),
        lambda: gateway.call("POST", f"/v1/orders/{second['id']}/cancel"),
        erased,
    ]
    assert await page.sees_change()
    assert await elsewhere.sees_change()
    for number, change in enumerate(changes):
        assert not await page.sees_change()
        await change()
        assert await page.sees_change(), number
    assert not await elsewhere.sees_change()


async def test_what_begins_or_ceases_to_hold_orders_back_is_told(gateway: Gateway) -> None:
    page = Page(gateway)
    await gateway.order()
    assert await page.sees_change()
    for method, body in (("PUT", {"reason": "stok opname"}), ("DELETE", {"reason": "selesai"})):
        assert not await page.sees_change()
        assert (await gateway.call(method, "/v1/ops/pause", role="ops", json=body)).status == 200
        assert await page.sees_change(), method


async def test_a_tag_ends_by_itself_sooner_where_orders_move(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1.8e9
    monkeypatch.setattr(list_tag, "MOVING_S", 10)
    monkeypatch.setattr(list_tag, "STILL_S", 60)
    monkeypatch.setattr(routes_orders, "time", SimpleNamespace(time=lambda: now_s))

    async def lasts() -> int:
        """Seconds between two ends."""
        nonlocal now_s
        page, ends = Page(gateway), list[float]()
        await page.sees_change()
        while len(ends) < 2:
            now_s += 1
            if await page.sees_change():
                ends.append(now_s)
        return int(ends[1] - ends[0])

    assert await lasts() == 60
    await gateway.order()
    assert await lasts() == 10
    gateway.adapter.state = "open"
    await gateway.call(
        "GET", "/v1/ops/backlog", role="ops"
    )  # a fresh look, so that it is seen now and not in between
    assert await lasts() == 10
    await gateway.call("PUT", "/v1/ops/pause", role="ops", json={"reason": "stok opname"})
    assert await lasts() == 60


async def test_an_unchanged_list_reads_no_order(gateway: Gateway, redis: Redis) -> None:
    page = Page(gateway)
    for _ in range(20):
        await gateway.order()
    assert await page.sees_change()
    await redis.config_resetstat()
    for _ in range(10):
        assert not await page.sees_change()
    commands: dict[str, Any] = await redis.info("commandstats")
    assert "cmdstat_hgetall" not in commands or commands["cmdstat_hgetall"]["calls"] < 10
    assert commands["cmdstat_hmget"]["calls"] >= 10


async def test_pages_of_one_office_that_see_a_change_share_its_list_and_others_read_their_own(
    gateway: Gateway, redis: Redis
) -> None:
    pages = [Page(gateway) for _ in range(4)]
    for _ in range(5):
        order = await gateway.order()
    for page in pages:
        await page.sees_change()
    await gateway.call("POST", f"/v1/orders/{order['id']}/cancel")

    async def orders_read(*asking: Page) -> int:
        await redis.config_resetstat()
        assert all(await asyncio.gather(*(page.sees_change() for page in asking)))
        commands: dict[str, Any] = await redis.info("commandstats")
        return int(commands.get("cmdstat_hgetall", {"calls": 0})["calls"])

    assert 5 <= await orders_read(*pages[:3]) < 10
    assert await orders_read(pages[3]) < 5
    # A place may change without a change of the office's: who sends no tag is told of it at once.
    assert await orders_read(Page(gateway)) >= 5
    assert await orders_read(Page(gateway, role="supervisor")) >= 5


async def test_an_error_is_shared_and_not_kept() -> None:
    lists = SharedLists()
    release = asyncio.Event()

    async def failing() -> bytes:
        await release.wait()
        raise Problem("unavailable", "away")

    async def good() -> bytes:
        return b"[]"

    first, second = (asyncio.create_task(lists.of("tag", failing())) for _ in range(2))
    await asyncio.sleep(0)
    release.set()
    assert [type(e) for e in await asyncio.gather(first, second, return_exceptions=True)] == [Problem] * 2
    assert await lists.of("tag", good()) == b"[]"
    for number in range(KEPT_MAX):
        assert await lists.of(str(number), good()) == b"[]"
    assert len(lists._kept) == KEPT_MAX


@pytest.mark.parametrize("who", [{"office": OTHER}, {"role": "supervisor"}])
async def test_a_tag_is_for_one_office_one_role_one_language_and_one_page(
    gateway: Gateway, who: dict[str, str]
) -> None:
    page, other = Page(gateway), Page(gateway, **who)
    for office in (OFFICE, OTHER):
        await gateway.order(office=office)
    await page.sees_change()
    other.tag = page.tag
    assert await other.sees_change()
    for path, headers in (("/v1/orders?limit=21", {}), (LIST, {"Accept-Language": "en"})):
        answer = await gateway.call("GET", path, headers=headers | {"If-None-Match": page.tag})
        assert answer.status == 200, path
    everything = await gateway.call("GET", LIST, role="ops")
    assert "ETag" not in everything.headers
