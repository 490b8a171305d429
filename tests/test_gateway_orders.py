"""What a counter can rely on when it submits, reads, waits, lists and cancels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from gateway_support import NAME, NIK, OFFICE, OTHER, PNG, Gateway, affix, purchase, running_gateway
from pdf_samples import pdf


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


ORDER_FIELDS = {
    "id", "kind", "state", "office", "ticket", "position", "eta", "holding", "serial_number", "qr_url",
    "document_url", "error", "deadline", "reference", "attempts", "created_at", "updated_at", "history",
}  # fmt: skip


async def test_an_accepted_order_is_answered_with_its_place_and_can_be_read_again(gateway: Gateway) -> None:
    answer = await gateway.submit()
    order = await answer.json()
    assert answer.status == 202
    assert answer.headers["Location"] == f"/v1/orders/{order['id']}"
    assert set(order) >= ORDER_FIELDS
    assert (order["state"], order["office"], order["position"]) == ("queued", OFFICE, 1)
    again = await (await gateway.call("GET", answer.headers["Location"])).json()
    assert again["id"] == order["id"]
    assert [line["state"] for line in again["history"]] == ["queued"]


async def test_positions_count_from_1_and_end_when_the_order_is_taken_up(gateway: Gateway) -> None:
    orders = [await gateway.order() for _ in range(3)]
    assert [o["position"] for o in orders] == [1, 2, 3]
    await gateway.claimed(orders[0]["id"])
    shown = [await (await gateway.call("GET", f"/v1/orders/{o['id']}")).json() for o in orders]
    assert [o["position"] for o in shown] == [None, 1, 2]


async def test_the_same_key_and_body_answer_the_same_order_however_the_body_is_written(
    gateway: Gateway,
) -> None:
    first = await gateway.order(key="k1")
    body = {k: v for k, v in reversed(purchase().items()) if v is not None}
    again = await gateway.submit(body, key="k1")
    assert again.status == 202
    assert again.headers["Idempotent-Replayed"] == "true"
    assert (await again.json())["id"] == first["id"]


async def test_the_same_key_with_another_body_is_refused_and_other_offices_have_keys_of_their_own(
    gateway: Gateway,
) -> None:
    first = await gateway.order(key="k1")
    refused = await gateway.submit(purchase(reference="other"), key="k1")
    assert (refused.status, (await refused.json())["type"]) == (422, "/problems/idempotency-key-reused")
    elsewhere = await gateway.order(key="k1", office=OTHER)
    assert elsewhere["id"] != first["id"]


@pytest.mark.parametrize("keys", [(), ("",), ("é",), ("x" * 129,), ("one", "two"), ("one", "one")])
async def test_a_submission_without_one_fit_idempotency_key_is_refused(
    gateway: Gateway, keys: tuple[str, ...]
) -> None:
    headers = [("Idempotency-Key", key) for key in keys]
    answer = await gateway.call("POST", "/v1/orders", json=purchase(), headers=headers)
    assert (answer.status, (await answer.json())["type"]) == (400, "/problems/idempotency-key")


@pytest.mark.parametrize(
    ("sent", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"a": "\xff"}', "application/json", 400),
        (b"", "application/json", 400),
        (b"{}", "text/plain", 415),
        (b" " * 70_000, "application/json", 413),
        (b"[]", "application/json", 422),
        (b"null", "application/json", 422),
    ],
)
async def test_a_body_that_can_not_be_read_is_refused_with_what_is_wrong(
    gateway: Gateway, sent: bytes, content_type: str, status: int
) -> None:
    headers = {"Idempotency-Key": "k", "Content-Type": content_type}
    answer = await gateway.call("POST", "/v1/orders", data=sent, headers=headers)
    assert answer.status == status
    assert answer.content_type == "application/problem+json"
    assert (await answer.json())["status"] == status


async def test_a_completed_purchase_has_its_serial_number_and_picture(gateway: Gateway) -> None:
    order = await gateway.order()
    assert (await gateway.call("GET", f"/v1/orders/{order['id']}/qr")).status == 404
    await gateway.complete_purchase(order["id"])
    shown = await (await gateway.call("GET", f"/v1/orders/{order['id']}")).json()
    assert shown["serial_number"]
    assert shown["document_url"] is None
    picture = await gateway.call("GET", shown["qr_url"])
    assert (picture.content_type, await picture.read()) == ("image/png", PNG)


async def test_a_completed_affix_has_its_stamped_pdf(gateway: Gateway) -> None:
    document = await (await gateway.upload()).json()
    order = await gateway.order(body=affix(document["id"]))
    assert (await gateway.call("GET", f"/v1/orders/{order['id']}/document")).status == 404
    await gateway.complete_affix(order["id"])
    shown = await (await gateway.call("GET", f"/v1/orders/{order['id']}")).json()
    stamped = await gateway.call("GET", shown["document_url"])
    assert stamped.content_type == "application/pdf"
    assert (await stamped.read()).startswith(b"%PDF")


async def test_cancelling_works_while_nothing_was_bought_and_not_after(gateway: Gateway) -> None:
    order = await gateway.order()
    cancelled = await gateway.call("POST", f"/v1/orders/{order['id']}/cancel")
    assert (cancelled.status, (await cancelled.json())["state"]) == (200, "cancelled")
    assert (await gateway.call("POST", f"/v1/orders/{order['id']}/cancel")).status == 200
    bought = await gateway.order()
    await gateway.buy(bought["id"])
    refused = await gateway.call("POST", f"/v1/orders/{bought['id']}/cancel")
    assert (refused.status, (await refused.json())["type"]) == (409, "/problems/not-cancellable")


async def test_one_bad_row_of_a_batch_spoils_no_other(gateway: Gateway) -> None:
    bad = purchase(kind="gift")
    rows: list[Any] = [purchase(idempotency_key="b1"), bad | {"idempotency_key": "b2"}, purchase(), 7]
    rows.append(purchase(idempotency_key="b1"))
    answer = await gateway.call("POST", "/v1/batches", json={"orders": rows})
    results = (await answer.json())["results"]
    assert answer.status == 207
    assert [r["status"] for r in results] == [202, 422, 400, 400, 202]
    assert results[0]["order"]["id"] == results[4]["order"]["id"]
    assert results[1]["problem"]["errors"][0]["field"] == "kind"
    refused: list[tuple[Any, str]] = [
        ({"orders": []}, "must hold at least 1"),
        ({"orders": [purchase()] * 101}, "must hold at most 100"),
        ({"orders": [purchase()], "x": 1}, "is not a field here"),
        ([], "must be an object"),
    ]
    for body, words in refused:
        answer = await gateway.call("POST", "/v1/batches", json=body)
        assert answer.status == 422
        assert [e["message"] for e in (await answer.json())["errors"]] == [words]


async def test_an_outage_holds_and_says_so_in_the_readers_language(gateway: Gateway) -> None:
    gateway.provider.state = "open"
    order = await gateway.order()
    assert (order["state"], order["holding"]["reason"], order["eta"]) == (
        "queued",
        "upstream_unavailable",
        None,
    )
    assert "Pesanan" in order["holding"]["text"]
    english = await gateway.call(
        "GET", f"/v1/orders/{order['id']}", headers={"Accept-Language": "en-GB,id;q=0.5"}
    )
    assert "order is kept" in (await english.json())["holding"]["text"]
    backlog = await (await gateway.call("GET", "/v1/ops/backlog", role="ops")).json()
    assert (backlog["held"], backlog["by_lane"]["buy"], backlog["by_state"]["queued"]) == (1, 1, 1)
    assert backlog["by_office"] == {OFFICE: 1}
    assert backlog["oldest_age_s"] >= 0


async def test_a_breaker_can_be_forced_and_let_go_with_who_and_why(gateway: Gateway) -> None:
    path = "/v1/ops/breaker/provider/override"
    body = {"state": "open", "reason": "maintenance", "expires_in_s": 60}
    forced = await (await gateway.call("PUT", path, role="ops", json=body)).json()
    assert (forced["state"], forced["override"]["reason"]) == ("open", "maintenance")
    assert forced["override"]["actor"].startswith("ops:")
    assert (await gateway.order())["holding"]["reason"] == "upstream_unavailable"
    lifted = await (await gateway.call("DELETE", path, role="ops")).json()
    assert (lifted["state"], lifted["override"]) == ("closed", None)
    both = await (await gateway.call("GET", "/v1/ops/breaker", role="ops")).json()
    assert set(both["breakers"]) == {"provider", "adapter"}
    assert (await gateway.call("PUT", path, role="ops", json=body | {"state": "half_open"})).status == 422
    assert (await gateway.call("DELETE", "/v1/ops/breaker/none/override", role="ops")).status == 404


async def test_a_ticket_shows_where_one_stands_and_nothing_of_the_person(gateway: Gateway) -> None:
    await gateway.order()
    order = await gateway.order()
    answer = await gateway.call("GET", f"/v1/tickets/{order['ticket']['token']}", role=None)
    text = await answer.text()
    shown = orjson.loads(text)
    assert (shown["number"], shown["state"], shown["ahead"]) == (order["ticket"]["number"], "queued", 1)
    assert not any(secret in text for secret in (NIK, NAME, order["id"], "SK-1"))
    assert (await gateway.call("GET", f"/v1/tickets/{'0' * 20}", role=None)).status == 404


async def test_identity_numbers_are_masked_except_to_supervisors(gateway: Gateway) -> None:
    order = await gateway.order()
    for role, expected in (
        ("terminal", "1271********0001"),
        ("ops", "1271********0001"),
        ("supervisor", NIK),
    ):
        shown = await (await gateway.call("GET", f"/v1/orders/{order['id']}", role=role)).json()
        assert shown["taxpayer"]["identity_number"] == expected


async def test_nothing_is_accepted_while_it_could_not_be_kept(gateway: Gateway) -> None:
    gateway.not_ready.append("it evicts")
    async with asyncio.timeout(5):  # what was seen of it is a second old at most
        while (answer := await gateway.submit()).status == 202:
            await asyncio.sleep(0.1)
    assert (answer.status, (await answer.json())["type"]) == (503, "/problems/not-ready")
    assert int(answer.headers["Retry-After"]) > 0
    ready = await gateway.call("GET", "/readyz", role=None)
    assert (ready.status, (await ready.json())["reasons"]) == (503, ["it evicts"])
    assert (await gateway.call("GET", "/healthz", role=None)).status == 200


async def test_with_the_document_store_away_purchases_go_on(gateway: Gateway) -> None:
    document = await (await gateway.upload(pdf(1))).json()
    gateway.no_documents.append("it is full")
    async with asyncio.timeout(5):  # what was seen of it is a second old at most
        while (await gateway.upload(pdf(1))).status != 503:
            await asyncio.sleep(0.1)
    refused = await gateway.submit(affix(document["id"]))
    assert (refused.status, (await refused.json())["type"]) == (503, "/problems/not-ready")
    assert (await gateway.submit()).status == 202
    ready = await gateway.call("GET", "/readyz", role=None)
    assert (ready.status, (await ready.json())["reasons"]) == (503, ["it is full"])


async def test_an_affix_is_checked_against_its_own_document(gateway: Gateway) -> None:
    document = await (await gateway.upload(pdf(2, (300, 300)))).json()
    assert document["pages"] == 2
    at = {"page": 1, "x": 10, "y": 10, "width": 90, "height": 90}
    for change, field in (
        ({"page": 3}, "page"),
        ({"x": 250}, "x"),
        ({"y": -1}, "y"),
        ({"width": 5}, "width"),
    ):
        answer = await gateway.submit(affix(document["id"], placement=at | change))
        problem = await answer.json()
        assert (answer.status, [e["field"] for e in problem["errors"]]) == (422, [f"placement.{field}"])
    assert (await gateway.submit(affix(document["id"], placement=at))).status == 202
    elsewhere = await gateway.submit(affix(document["id"], placement=at), office=OTHER)
    assert (await elsewhere.json())["type"] == "/problems/document-not-found"


async def test_an_uploaded_document_may_come_as_a_form(gateway: Gateway) -> None:
    from aiohttp import FormData

    form = FormData()
    form.add_field("file", pdf(), filename="a.pdf", content_type="application/pdf")
    answer = await gateway.call("POST", "/v1/documents", data=form)
    assert (answer.status, (await answer.json())["pages"]) == (201, 1)
    empty = FormData({"other": "x"}, default_to_multipart=True)
    assert (await gateway.call("POST", "/v1/documents", data=empty)).status == 422
    two = FormData()
    for name in ("a.pdf", "b.pdf"):
        two.add_field("file", pdf(), filename=name, content_type="application/pdf")
    answer = await gateway.call("POST", "/v1/documents", data=two)
    assert (answer.status, "once" in (await answer.json())["detail"]) == (422, True)
