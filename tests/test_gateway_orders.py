"""What a counter can rely on when it submits, reads, waits, lists and cancels."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.keys import Role
from antrean.orders import eta, keys
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


async def test_a_wait_returns_at_the_next_change_and_not_before(gateway: Gateway) -> None:
    order = await gateway.order()
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/orders/{order['id']}?wait=30"))
    while not gateway.parts.hub.watches:
        await asyncio.sleep(0.005)
    done, _ = await asyncio.wait({waiting}, timeout=0.1)
    assert not done
    await gateway.buy(order["id"])
    shown = await (await asyncio.wait_for(waiting, 5)).json()
    assert shown["version"] > order["version"]
    assert not gateway.parts.hub.watches


async def test_a_wait_is_over_at_once_for_what_has_changed_since_the_etag(gateway: Gateway) -> None:
    order = await gateway.order()
    first = await gateway.call("GET", f"/v1/orders/{order['id']}")
    etag = first.headers["ETag"]
    unchanged = await gateway.call("GET", f"/v1/orders/{order['id']}", headers={"If-None-Match": etag})
    assert unchanged.status == 304
    path = f"/v1/orders/{order['id']}"
    for tag in (etag.removeprefix("W/"), f'"other", {etag}', "*"):
        assert (await gateway.call("GET", path, headers={"If-None-Match": tag})).status == 304, tag
    for tag in ('"other"', "", f"{etag}x"):
        assert (await gateway.call("GET", path, headers={"If-None-Match": tag})).status == 200, tag
    lines = [("If-None-Match", '"other"'), ("If-None-Match", etag)]
    started_s = time.monotonic()
    assert (await gateway.call("GET", f"{path}?wait=0.5", headers=lines)).status == 304
    assert time.monotonic() - started_s >= 0.5
    await gateway.buy(order["id"])
    changed = await asyncio.wait_for(
        gateway.call("GET", f"/v1/orders/{order['id']}?wait=30", headers={"If-None-Match": etag}), 5
    )
    assert (await changed.json())["state"] == "bought"


async def test_a_wait_ends_with_what_the_order_is_then_also_where_no_change_was_heard(
    gateway: Gateway, redis: Redis
) -> None:
    order = await gateway.order()
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/orders/{order['id']}?wait=0.5"))
    done, _ = await asyncio.wait({waiting}, timeout=0.2)
    assert not done
    await redis.hset(keys.ORDER + order["id"], "ref", "changed")  # and nobody is told
    assert (await (await waiting).json())["reference"] == "changed"


async def test_a_wait_without_a_change_ends_in_its_time(gateway: Gateway) -> None:
    order = await gateway.order()
    shown = await gateway.call("GET", f"/v1/orders/{order['id']}?wait=0.05")
    assert (await shown.json())["state"] == "queued"
    too_long = await gateway.call("GET", f"/v1/orders/{order['id']}?wait=61")
    assert too_long.status == 422


async def test_a_finished_order_does_not_let_anybody_wait(gateway: Gateway) -> None:
    order = await gateway.order()
    await gateway.complete_purchase(order["id"])
    shown = await asyncio.wait_for(gateway.call("GET", f"/v1/orders/{order['id']}?wait=60"), 5)
    body = await shown.json()
    assert (body["state"], body["position"], body["eta"]) == ("completed", None, None)


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


async def test_the_stream_tells_each_change_and_resumes_with_what_was_missed(gateway: Gateway) -> None:
    order = await gateway.order()
    path = f"/v1/orders/{order['id']}/events"
    stream = await gateway.call("GET", path)
    assert stream.content_type == "text/event-stream"
    first = await _events(stream, 1)
    assert first == [(1, "queued")]
    stream.close()
    await gateway.complete_purchase(order["id"])
    resumed = await gateway.call("GET", path, headers={"Last-Event-ID": "1"})
    assert await _events(resumed, 99) == [(2, "buying"), (3, "bought"), (4, "completed")]
    over = await gateway.call("GET", path, headers={"Last-Event-ID": "4"})
    assert over.status == 204


@pytest.mark.parametrize("sign", [False, True])
async def test_a_stream_ends_with_the_key_or_the_session_that_it_was_opened_with(
    gateway: Gateway, sign: bool
) -> None:
    order = await gateway.order()
    key = await gateway.parts.keys.create(Role.SUPERVISOR, OFFICE)
    headers = {"Authorization": f"Bearer {key}"}
    if sign:
        session = await gateway.client.post("/v1/session", headers=headers)
        [morsel] = session.cookies.values()
        headers = {"Cookie": f"{morsel.key}={morsel.value}"}
    stream = await gateway.client.get(f"/v1/orders/{order['id']}/events", headers=headers)
    assert await _events(stream, 1) == [(1, "queued")]
    key_id = await gateway.parts.keys.id_of(key)
    assert key_id is not None
    await gateway.parts.keys.revoke(key_id)
    await gateway.parts.store.cancel(order["id"])
    assert await _events(stream, 99) == []


@pytest.mark.parametrize("changes", [True, False])
async def test_a_wait_ends_with_the_key_that_it_was_begun_with(gateway: Gateway, changes: bool) -> None:
    order = await gateway.order()
    key = await gateway.parts.keys.create(Role.SUPERVISOR, OFFICE)
    headers = {"Authorization": f"Bearer {key}"}
    path = f"/v1/orders/{order['id']}?wait={30 if changes else 1}"
    waiting = asyncio.create_task(gateway.client.get(path, headers=headers))
    while not gateway.parts.hub.watches:
        await asyncio.sleep(0.005)
    key_id = await gateway.parts.keys.id_of(key)
    assert key_id is not None
    await gateway.parts.keys.revoke(key_id)
    if changes:
        await gateway.parts.store.cancel(order["id"])
    assert (await asyncio.wait_for(waiting, 5)).status == 401


async def _events(stream: Any, most: int) -> list[tuple[int, str]]:
    found: list[tuple[int, str]] = []
    number = 0
    while len(found) < most and (line := await asyncio.wait_for(stream.content.readline(), 5)):
        if line.startswith(b"id: "):
            number = int(line[4:])
        elif line.startswith(b"data: "):
            found.append((number, orjson.loads(line[6:])["state"]))
    return found


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


async def test_a_wait_returns_when_a_hold_comes(gateway: Gateway) -> None:
    order = await gateway.order()
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/orders/{order['id']}?wait=30"))
    while not gateway.parts.hub.watches:
        await asyncio.sleep(0.005)
    paused = await gateway.call("PUT", "/v1/ops/pause", role="ops", json={"reason": "inventory"})
    assert (await paused.json())["paused"] is True
    shown = await (await asyncio.wait_for(waiting, 5)).json()
    assert shown["holding"]["reason"] == "paused"
    resumed = await gateway.call("DELETE", "/v1/ops/pause", role="ops")
    assert await resumed.json() == {"paused": False}


async def test_a_wait_for_an_order_whose_time_was_told_returns_when_the_last_worker_dies(
    gateway: Gateway, redis: Redis
) -> None:
    for _ in range(eta.LEAST):
        await gateway.complete_purchase((await gateway.order())["id"])
    order = await gateway.order()
    while (await (await gateway.call("GET", f"/v1/orders/{order['id']}")).json())["eta"] is None:
        await asyncio.sleep(0.05)
    # Somebody has waited in vain, so how things stand is known.
    assert (await (await gateway.call("GET", f"/v1/orders/{order['id']}?wait=2")).json())["eta"] is not None
    waiting = asyncio.create_task(gateway.call("GET", f"/v1/orders/{order['id']}?wait=30"))
    while not gateway.parts.hub.watches:
        await asyncio.sleep(0.005)
    await redis.zincrby(keys.WORKERS, -keys.WORKER_SILENT_MS, "w")
    assert (await (await asyncio.wait_for(waiting, 5)).json())["eta"] is None


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
