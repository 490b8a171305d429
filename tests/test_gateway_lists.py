"""Orders are found again: pages of a list, filters, and a search that gives nobody away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from gateway_support import OTHER, Gateway, affix, purchase, running_gateway


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def test_pages_of_a_list_hold_every_order_once_newest_first(gateway: Gateway) -> None:
    made = [(await gateway.order())["id"] for _ in range(7)]
    await gateway.order(office=OTHER)
    seen: list[str] = []
    path: str | None = "/v1/orders?limit=3"
    while path:
        page = await (await gateway.call("GET", path)).json()
        assert len(page["orders"]) <= 3
        seen += [o["id"] for o in page["orders"]]
        path = page["next_cursor"] and f"/v1/orders?limit=3&cursor={page['next_cursor']}"
    assert seen == made[::-1]
    everything = await (await gateway.call("GET", "/v1/orders", role="ops")).json()
    assert len(everything["orders"]) == 8
    elsewhere = await (await gateway.call("GET", f"/v1/orders?office={OTHER}", role="ops")).json()
    assert len(elsewhere["orders"]) == 1


async def test_a_list_finds_by_state_and_by_reference(gateway: Gateway) -> None:
    for number in range(5):
        await gateway.order(body=purchase(reference=f"ref-{number % 2}"))
    last = await gateway.order()
    await gateway.call("POST", f"/v1/orders/{last['id']}/cancel")
    for query, count in (
        ("state=cancelled", 1),
        ("state=open", 5),
        ("reference=ref-0", 3),
        ("state=queued&reference=ref-1", 2),
        ("state=open&reference=ref-1", 2),
    ):
        page = await (await gateway.call("GET", f"/v1/orders?{query}")).json()
        assert (len(page["orders"]), page["next_cursor"]) == (count, None)
    for query in ("state=none", "limit=0", "limit=501", "limit=x", "cursor=-1", "cursor=1e3"):
        assert (await gateway.call("GET", f"/v1/orders?{query}")).status == 422


@pytest.mark.parametrize("query", ["state=queued&state=unknown", "limit=1&limit=2", "limit=&limit=2"])
async def test_a_parameter_that_is_given_twice_is_refused_since_either_may_be_meant(
    gateway: Gateway, query: str
) -> None:
    answer = await gateway.call("GET", f"/v1/orders?{query}")
    assert answer.status == 422
    [error] = (await answer.json())["errors"]
    assert (error["field"], error["rule"]) == (query.partition("=")[0], "repeated-parameter")


async def test_a_number_left_blank_is_not_given(gateway: Gateway) -> None:
    order = await gateway.order()
    answer = await gateway.call("GET", "/v1/orders?state=&office=&reference=&cursor=&limit=")
    assert [o["id"] for o in (await answer.json())["orders"]] == [order["id"]]
    assert (await gateway.call("GET", f"/v1/orders/{order['id']}?wait=")).status == 200


async def test_a_list_says_what_would_hold_back_the_next_purchase_before_there_is_one(
    gateway: Gateway,
) -> None:
    async def holding() -> Any:
        page = await (await gateway.call("GET", "/v1/orders")).json()
        assert page["orders"] == []
        return page["holding"] and page["holding"]["reason"]

    async def becomes(reason: str) -> None:
        async with asyncio.timeout(5):
            while await holding() != reason:
                await asyncio.sleep(0.01)

    assert await holding() is None
    gateway.provider.state = "open"
    await becomes("upstream_unavailable")
    await gateway.call("PUT", "/v1/ops/pause", role="ops", json={"reason": "inventory"})
    await becomes("paused")


@pytest.mark.parametrize(
    "text",
    [
        "ticket", "token", "https://antrean.example/t/token", "SK-77", "sk-77", "ref-9", "389uy343", "Siti Aminah",
        " siti  AMINAH ", "1271010101900001", "1271 0101 0190 0001",
    ],
)  # fmt: skip
async def test_an_order_is_found_again_by_what_a_citizen_or_a_paper_says(gateway: Gateway, text: str) -> None:
    document = purchase()["document"] | {"number": "SK-77"}
    upload = await (await gateway.upload()).json()
    body = affix(upload["id"], document=document, reference="REF-9", serial_number="389UY343AP0GE9A40000A9")
    order = await gateway.order(body=body)
    stranger = {"identity_type": "KTP", "identity_number": "3171014505900002", "name": "Budi"}
    await gateway.order(body=purchase(taxpayer=stranger))
    text = text.replace("ticket", str(order["ticket"]["number"])).replace("token", order["ticket"]["token"])
    answer = await gateway.call("POST", "/v1/search", json={"text": text})
    assert [o["id"] for o in (await answer.json())["orders"]] == [order["id"]]
    elsewhere = await gateway.call("POST", "/v1/search", json={"text": text}, office=OTHER)
    assert await elsewhere.json() == {"orders": [], "next_cursor": None, "holding": None}


async def test_a_search_takes_a_whole_number_in_either_spelling(gateway: Gateway) -> None:
    orders = [await gateway.order() for _ in range(2)]
    answer = await gateway.call("POST", "/v1/search", json={"text": "SK-1", "limit": 1.0})
    assert [o["id"] for o in (await answer.json())["orders"]] == [orders[1]["id"]]
    broken = await gateway.call("POST", "/v1/search", json={"text": "SK-1", "limit": 1.5})
    assert broken.status == 422


@pytest.mark.parametrize("text", ["Siti", "Aminah", "12710101", "S*** A***"])
async def test_nobody_learns_a_name_or_a_number_by_trying_a_part_of_it(gateway: Gateway, text: str) -> None:
    await gateway.order()
    answer = await gateway.call("POST", "/v1/search", json={"text": text})
    assert (await answer.json())["orders"] == []
