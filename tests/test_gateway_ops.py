"""What ops and auditors can rely on over HTTP: decisions, deadlines, the books, and nobody else doing any of it."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError
from redis.asyncio import Redis
from structlog.testing import capture_logs

from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.archive import Archive
from antrean.orders.books import WIB
from antrean.orders.documents import DocumentStore
from antrean.orders.lease import alone
from antrean.orders.ledger_archive import SEGMENT_ENTRIES, LedgerArchive, LedgerArchiver
from gateway_support import OFFICE, OTHER, Gateway, affix, purchase, running_gateway


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def _json(gateway: Gateway, method: str, path: str, **more: Any) -> dict[str, Any]:
    answer = await gateway.call(method, path, role="ops", **more)
    assert answer.status == 200, await answer.text()
    found: dict[str, Any] = await answer.json()
    return found


async def _shown(gateway: Gateway, order_id: str) -> dict[str, Any]:
    return await _json(gateway, "GET", f"/v1/orders/{order_id}")


async def test_the_backlog_is_the_one_of_this_moment(gateway: Gateway) -> None:
    for number in range(1, 4):
        await gateway.complete_purchase((await gateway.order())["id"])
        backlog = await _json(gateway, "GET", "/v1/ops/backlog")
        assert (backlog["by_state"]["completed"], backlog["by_state"]["queued"]) == (number, 0)


async def test_an_office_is_in_the_backlog_while_any_order_of_it_is_open(gateway: Gateway) -> None:
    async def by_office() -> Any:
        backlog = await _json(gateway, "GET", "/v1/ops/backlog")
        assert sum(backlog["by_office"].values()) == backlog["open"]
        return backlog["by_office"]

    upload = await (await gateway.upload()).json()
    stamp = await gateway.order(body=affix(upload["id"], serial_number="389UY343AP0GE9A40000A9"))
    first, second = await gateway.order(), await gateway.order()
    elsewhere = await gateway.order(office=OTHER)
    assert await by_office() == {OFFICE: 3, OTHER: 1}
    await gateway.call("POST", f"/v1/orders/{elsewhere['id']}/cancel", office=OTHER)
    await gateway.complete_purchase(first["id"])
    await gateway.attention(second["id"])
    assert await by_office() == {OFFICE: 2}
    await gateway.call("POST", f"/v1/orders/{second['id']}/refund", role="ops", json={"reason": "paid out"})
    assert await by_office() == {OFFICE: 1}
    await gateway.call("POST", f"/v1/orders/{stamp['id']}/cancel")
    assert await by_office() == {}


async def test_orders_that_came_with_their_serial_number_are_held_by_the_adapter(gateway: Gateway) -> None:
    upload = await (await gateway.upload()).json()
    await gateway.order(body=affix(upload["id"], serial_number="389UY343AP0GE9A40000A9"))
    await gateway.order()
    gateway.adapter.state = "open"
    backlog = await _json(gateway, "GET", "/v1/ops/backlog")
    assert [(h["reason"], h["orders"]) for h in backlog["holds"]] == [("adapter_unavailable", 1)]


@pytest.mark.parametrize("hold", ["provider", "paused", "quota_exhausted", "balance_unexplained"])
async def test_what_is_held_and_due_soon_is_said_to_miss_whatever_the_pace_was(
    gateway: Gateway, hold: str
) -> None:
    await gateway.complete_purchase((await gateway.order())["id"])
    due_at = (datetime.now(UTC) + timedelta(minutes=20)).isoformat()
    due = await gateway.order(body=purchase(deadline=due_at))
    assert (await _json(gateway, "GET", "/v1/ops/backlog"))["will_miss_orders"] == 0
    if hold == "provider":
        gateway.provider.state = "open"
    else:
        await gateway.parts.store.hold(hold, "", "a test")
    end_s = time.monotonic() + 5
    while not (late := (await _json(gateway, "GET", "/v1/ops/backlog"))["will_miss"]):
        assert time.monotonic() < end_s
    assert [(miss["order_id"], miss["expected_at"]) for miss in late] == [(due["id"], None)]


LIFTS = ("/v1/ops/pause", "/v1/ops/holds/balance_unexplained", "/v1/ops/breaker/provider/override")


async def test_who_lifts_a_hold_may_say_why_and_it_goes_on_record(gateway: Gateway) -> None:
    def was_told(reason: str) -> list[str]:
        return [line["event"] for line in lines if line.get("reason") == reason and line["actor"]]

    for reason in ("", "it is over"):
        body = {"reason": reason} if reason else None
        await gateway.call("PUT", "/v1/ops/pause", role="ops", json={"reason": "a test"})
        await gateway.parts.store.hold("balance_unexplained", "", "balance watch")
        with capture_logs() as lines:
            for path in LIFTS:
                await _json(gateway, "DELETE", path, json=body)
        assert was_told(reason) == ["draining resumed", "balance explained by a person"]
        assert gateway.provider.lifted_for == reason


@pytest.mark.parametrize("path", LIFTS)
async def test_a_reason_that_is_none_lifts_nothing(gateway: Gateway, path: str) -> None:
    await gateway.call("PUT", "/v1/ops/pause", role="ops", json={"reason": "a test"})
    bodies: list[Any] = [{"reason": ""}, {"reason": 1}, {"why": "typed wrong"}, []]
    for body in bodies:
        answer = await gateway.call("DELETE", path, role="ops", json=body)
        assert (answer.status, answer.content_type) == (422, "application/problem+json")
    holds = (await _json(gateway, "GET", "/v1/ops/backlog"))["holds"]
    assert [hold["reason"] for hold in holds] == ["paused"]


async def test_an_order_that_waits_for_a_person_says_why_and_what_may_be_decided(gateway: Gateway) -> None:
    bought, lost = await gateway.order(), await gateway.order()
    await gateway.attention(bought["id"], bought=True)
    await gateway.attention(lost["id"])
    waiting = await _json(gateway, "GET", "/v1/ops/attention")
    assert [(o["id"], o["state"], o["error"]["code"]) for o in waiting["orders"]] == [
        (bought["id"], "attention", "made_up"),
        (lost["id"], "attention", "made_up"),
    ]
    assert [o["decisions"] for o in waiting["orders"]] == [
        ["auto", "new_serial", "refund"],
        ["ask", "not_bought", "refund"],
    ]


@pytest.mark.parametrize(
    ("bought", "decision", "state"),
    [(True, "auto", "bought"), (False, "not_bought", "queued"), (False, "ask", "unknown")],
)
async def test_a_replayed_order_goes_on_where_the_decision_puts_it_with_who_and_why(
    gateway: Gateway, bought: bool, decision: str, state: str
) -> None:
    order = await gateway.order()
    await gateway.attention(order["id"], bought=bought)
    path = f"/v1/orders/{order['id']}/replay"
    put_back = await _json(gateway, "POST", path, json={"decision": decision, "reason": "I have called"})
    assert put_back["state"] == state
    note = put_back["history"][-1]["note"]
    assert note.startswith("ops:")
    assert "I have called" in note
    again = await gateway.call("POST", path, role="ops")
    assert (again.status, (await again.json())["type"]) == (409, "/problems/not-replayable")


@pytest.mark.parametrize("decision", ["auto", "ask", "not_bought", "new_serial"])
@pytest.mark.parametrize("has", ["nothing", "own", "given"])
async def test_a_decision_is_taken_where_it_is_one_for_the_order(
    gateway: Gateway, has: str, decision: str
) -> None:
    given: dict[str, Any] = {}
    if has == "given":
        upload = await (await gateway.upload()).json()
        given["body"] = affix(upload["id"], serial_number="389UY343AP0GE9A40000A9")
    order = await gateway.order(**given)
    await gateway.attention(order["id"], bought=has == "own")
    gone = await gateway.order()
    await gateway.call("POST", f"/v1/orders/{gone['id']}/cancel")
    await gateway.parts.store.found(gone["id"], "POOLSERIAL01", "for the pool", walk=True)
    waiting = await _json(gateway, "GET", "/v1/ops/attention")
    fits = decision == "auto" or decision in waiting["orders"][0]["decisions"]
    answer = await gateway.call(
        "POST", f"/v1/orders/{order['id']}/replay", role="ops", json={"decision": decision}
    )
    assert answer.status == (200 if fits else 409)
    assert (await _shown(gateway, order["id"]))["state"] == (
        "attention" if not fits else (await answer.json())["state"]
    )


async def test_a_new_serial_needs_one_in_the_pool(gateway: Gateway) -> None:
    order = await gateway.order()
    await gateway.attention(order["id"], bought=True)
    answer = await gateway.call(
        "POST", f"/v1/orders/{order['id']}/replay", role="ops", json={"decision": "new_serial"}
    )
    assert (answer.status, (await answer.json())["type"]) == (409, "/problems/pool-empty")


async def test_money_is_given_back_once_and_the_books_stay_whole(gateway: Gateway) -> None:
    order, other = await gateway.order(), await gateway.order()
    await gateway.attention(order["id"])
    await gateway.complete_purchase(other["id"])
    path = f"/v1/orders/{order['id']}/refund"
    assert (await _json(gateway, "POST", path, json={"reason": "paid out"}))["state"] == "cancelled"
    again = await gateway.call("POST", path, role="ops", json={"reason": "paid out"})
    assert (again.status, (await again.json())["type"]) == (409, "/problems/not-refundable")
    books = await _json(gateway, "GET", "/v1/ops/ledger")
    assert books["totals_idr"] == {
        "paid": 20_000, "stamped": 0, "bought_unused": 10_000, "refunded": 10_000, "held": 0,
    }  # fmt: skip
    assert books["difference_idr"] == 0
    assert books["days"][0]["totals_idr"] == books["totals_idr"]


@pytest.mark.parametrize("role", ["terminal", "supervisor"])
@pytest.mark.parametrize("verb", ["replay", "refund"])
async def test_a_counter_decides_nothing_not_even_for_its_own_order(
    gateway: Gateway, role: str, verb: str
) -> None:
    order = await gateway.order()
    await gateway.attention(order["id"])
    path = f"/v1/orders/{order['id']}/{verb}"
    assert (await gateway.call("POST", path, role=role, json={"reason": "x"})).status == 403
    assert (await gateway.call("POST", path, role=role, office=OTHER, json={"reason": "x"})).status == 404
    assert (await _shown(gateway, order["id"]))["state"] == "attention"


async def test_the_ledger_is_read_page_by_page_and_as_a_file_with_the_same_rows(gateway: Gateway) -> None:
    for _ in range(5):
        await gateway.complete_purchase((await gateway.order())["id"])
    rows: list[dict[str, Any]] = []
    path: str | None = "/v1/ops/ledger?limit=3"
    while path:
        page = await _json(gateway, "GET", path)
        assert len(page["rows"]) <= 3
        assert bool(page["days"]) == (not rows)
        rows += page["rows"]
        path = page["next_cursor"] and f"/v1/ops/ledger?limit=3&cursor={page['next_cursor']}"
    assert len(rows) == len({row["id"] for row in rows}) == 10
    assert {(row["from"], row["to"], row["amount_idr"]) for row in rows} == {
        ("citizen", "held", 10_000),
        ("held", "bought_unused", 10_000),
    }
    answer = await gateway.call("GET", "/v1/ops/ledger.csv", role="ops")
    assert answer.headers["Content-Disposition"].startswith("attachment")
    lines = list(csv.DictReader(io.StringIO(await answer.text())))
    assert [line["id"] for line in lines] == [row["id"] for row in rows]
    assert all(line["amount_idr"] == "10000" for line in lines)
    assert {line["day"] for line in lines} <= {
        day["day"] for day in (await _json(gateway, "GET", "/v1/ops/ledger"))["days"]
    }
    for query in ("cursor=x", "cursor=1-", f"cursor={2**64}-0", "limit=0", "limit=1001", "limit=1.5"):
        assert (await gateway.call("GET", f"/v1/ops/ledger?{query}", role="ops")).status == 422


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        (f"office={OFFICE}", 2),
        ("office=MDN-99", 0),
        ("from={today}&to={today}", 2),
        ("from={today}", 2),
        ("to={yesterday}", 0),
        ("from={tomorrow}&office=", 0),
        (f"office={OFFICE}&from={{yesterday}}&to={{tomorrow}}", 2),
    ],
)
async def test_a_part_of_the_book_is_one_offices_or_of_some_days(
    gateway: Gateway, query: str, lines: int
) -> None:
    await gateway.complete_purchase((await gateway.order())["id"])
    entries = (await _json(gateway, "GET", "/v1/ops/ledger"))["rows"]
    today = max(datetime.fromisoformat(e["at"]).astimezone(WIB).date() for e in entries)
    days = {name: today + timedelta(days=n) for name, n in (("yesterday", -1), ("today", 0), ("tomorrow", 1))}
    path = f"/v1/ops/ledger.csv?{query.format(**days)}"
    text = await (await gateway.call("GET", path, role="ops")).text()
    assert len(list(csv.DictReader(io.StringIO(text)))) == lines


@pytest.mark.parametrize(
    ("query", "field"),
    [("office=a+b", "office"), ("from=2026-13-01", "from"), ("from=2026-02-02&to=2026-02-01", "to")],
)
async def test_a_part_of_the_book_that_can_not_be_is_refused(
    gateway: Gateway, query: str, field: str
) -> None:
    answer = await gateway.call("GET", f"/v1/ops/ledger.csv?{query}", role="ops")
    assert answer.status == 422
    assert [e["field"] for e in (await answer.json())["errors"]] == [field]


async def test_books_with_a_hole_are_an_error_and_never_a_file_that_looks_whole(
    gateway: Gateway, tmp_path: Path
) -> None:
    store = gateway.parts.store
    objects = DocumentStore.from_url(tmp_path.as_uri())
    store.archive = Archive(objects, lambda: alone(store.scripts, "archive"))
    fields: dict[Any, Any] = {
        "order": "",
        "office": "MDN-01",
        "from": "",
        "to": "held",
        "idr": "10000",
        "sn": "",
        "reason": "",
    }
    pipe = store.scripts.redis.pipeline(transaction=False)
    for _ in range(2 * SEGMENT_ENTRIES):
        pipe.xadd(keys.LEDGER, {**fields, "at": "1"})
    await pipe.execute()
    archiver = LedgerArchiver(store, LedgerArchive(objects), 0)
    while await archiver.run_once():
        pass
    lines = (await (await gateway.call("GET", "/v1/ops/ledger.csv", role="ops")).text()).splitlines()
    assert len(lines) == 1 + 2 * SEGMENT_ENTRIES

    first, second = sorted(await objects.paths("archive/ledger"))
    await objects.delete(second)
    with pytest.raises(ClientPayloadError):
        await gateway.call("GET", "/v1/ops/ledger.csv", role="ops")
    await objects.delete(first)
    for path in ("/v1/ops/ledger.csv", "/v1/ops/ledger"):
        answer = await gateway.call("GET", path, role="ops")
        assert answer.status == 500
        assert "ledger" in (await answer.json())["detail"]


async def test_days_are_told_up_to_the_one_that_is_asked_for(gateway: Gateway) -> None:
    await gateway.order()
    for until, offices in ((_day(1), [OFFICE]), (_day(-2), []), (_day(20), [OFFICE]), (_day(40), [])):
        days = (await _json(gateway, "GET", f"/v1/ops/ledger?until={until}"))["days"]
        assert [d["office"] for d in days] == offices, until
    for wrong in ("2026-13-01", "yesterday", "20260101"):
        assert (await gateway.call("GET", f"/v1/ops/ledger?until={wrong}", role="ops")).status == 422


def _day(days: int) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).date().isoformat()


async def test_deadlines_of_a_day_are_moved_for_all_or_one_office(gateway: Gateway) -> None:
    due = f"{_day(3)}T12:00:00+07:00"
    mine = await gateway.order(body=purchase(deadline=due))
    theirs = await gateway.order(body=purchase(deadline=due), office=OTHER)
    later = await gateway.order(body=purchase(deadline=f"{_day(4)}T00:00:00+07:00"))
    done = await gateway.order(body=purchase(deadline=due))
    await gateway.complete_purchase(done["id"])

    body = {"from": _day(3), "to": _day(7), "office": OFFICE, "reason": "the upstream was down"}
    moved = await _json(gateway, "POST", "/v1/ops/deadlines", json=body)
    assert moved["moved"] == 1
    assert (await _json(gateway, "POST", "/v1/ops/deadlines", json=body | {"office": None}))["moved"] == 1

    end = f"{_day(7)}T16:59:00.000Z"
    assert moved["to"] == end
    assert (await _shown(gateway, mine["id"]))["deadline"] == end
    assert "the upstream was down" in (await _shown(gateway, mine["id"]))["history"][-1]["note"]
    assert (await _shown(gateway, theirs["id"]))["deadline"] == end
    assert (await _shown(gateway, later["id"]))["deadline"] == later["deadline"]
    assert (await _shown(gateway, done["id"]))["deadline"] == done["deadline"]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"from": 0}, "from"),
        ({"to": "tomorrow"}, "to"),
        ({"to": "2024-09-10T00:00:00"}, "to"),
        ({"to": "2024-W36-2"}, "to"),
        ({"to": "9999-12-31"}, "to"),
        ({"from": "0001-01-01"}, "from"),
        ({"office": "a b"}, "office"),
        ({"until": "2024-09-10"}, "until"),
    ],
)
async def test_a_new_deadline_that_is_no_time_of_ours_is_refused(
    gateway: Gateway, change: dict[str, Any], field: str
) -> None:
    body = {"from": _day(3), "to": _day(7)} | change
    answer = await gateway.call("POST", "/v1/ops/deadlines", role="ops", json=body)
    assert answer.status == 422
    assert [e["field"] for e in (await answer.json())["errors"]] == [field]


async def test_a_purchase_can_be_stamped_by_its_id_and_only_once_it_is_there(gateway: Gateway) -> None:
    bought = await gateway.order()
    document = await (await gateway.upload()).json()
    body = affix(document["id"], purchase_order_id=bought["id"])
    early = await gateway.submit(body)
    assert (early.status, (await early.json())["type"]) == (409, "/problems/purchase-not-completed")
    await gateway.complete_purchase(bought["id"])
    stamp = await gateway.order(body=body)
    assert stamp["serial_number"] == (await _shown(gateway, bought["id"]))["serial_number"]
    twice = await gateway.submit(body)
    assert (twice.status, (await twice.json())["type"]) == (409, "/problems/serial-in-use")
    elsewhere = await (await gateway.upload(office=OTHER)).json()
    theirs = await gateway.submit(affix(elsewhere["id"], purchase_order_id=bought["id"]), office=OTHER)
    assert (theirs.status, (await theirs.json())["type"]) == (422, "/problems/purchase-not-found")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/v1/orders/{id}/refund", {}),
        ("POST", "/v1/orders/{id}/replay", {}),
        ("POST", "/v1/orders/{id}/cancel", {}),
        ("POST", "/v1/orders/{id}/erase", {}),
        ("PUT", "/v1/ops/breaker/provider/override", {"state": "open", "expires_in_s": 60}),
        ("DELETE", "/v1/ops/breaker/provider/override", {}),
        ("PUT", "/v1/ops/pause", {}),
        ("DELETE", "/v1/ops/pause", {}),
        ("DELETE", "/v1/ops/holds/balance_unexplained", {}),
        ("POST", "/v1/ops/deadlines", {"from": _day(1), "to": _day(2)}),
    ],
)
async def test_a_reason_that_would_keep_an_identity_number_for_good_is_refused(
    gateway: Gateway, method: str, path: str, body: dict[str, Any]
) -> None:
    order = await gateway.order()
    path = path.replace("{id}", order["id"])
    number = "1271 0101 0190 0001"
    answer = await gateway.call(method, path, role="ops", json=body | {"reason": f"paid to {number}"})
    assert answer.status == 422
    assert (await answer.json())["errors"] == [
        {
            "field": "reason",
            "rule": "no-identity-number",
            "message": "must not hold an identity number: reasons are kept for good",
        }
    ]
    assert number not in await answer.text()
    # Without the number nothing is said of the reason.
    answer = await gateway.call(method, path, role="ops", json=body | {"reason": "paid to order 12345"})
    assert answer.status != 422, await answer.text()


@pytest.mark.parametrize(
    ("path", "named", "known"),
    [
        ("ledger?office=MDN-01", "office", "cursor, limit, until"),
        ("ledger?limit=1&since=2026-01-01", "since", "cursor, limit, until"),
        ("ledger?Limit=1", "Limit", "cursor, limit, until"),
        ("ledger?1271010101900001=x", "(unnamed)", "cursor, limit, until"),
        ("ledger.csv?until=2026-01-01", "until", "office, from, to"),
    ],
)
async def test_a_filter_that_the_ledger_does_not_know_is_refused_and_not_passed_over(
    gateway: Gateway, path: str, named: str, known: str
) -> None:
    answer = await gateway.call("GET", f"/v1/ops/{path}", role="ops")
    assert answer.status == 422
    [error] = (await answer.json())["errors"]
    assert error == {
        "field": named,
        "rule": "unknown-parameter",
        "message": f"is not a query parameter here; known: {known}",
    }
    plain = path.partition("?")[0]
    assert (await gateway.call("GET", f"/v1/ops/{plain}", role="ops")).status == 200
