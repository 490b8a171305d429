"""What ops and auditors can rely on over HTTP: decisions, deadlines, the books, and nobody else doing any of it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from redis.asyncio import Redis
from structlog.testing import capture_logs

from antrean.config.settings import Settings
from antrean.orders import eta, keys
from gateway_support import OFFICE, OTHER, Gateway, affix, day_from_now, purchase, running_gateway


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def _shown(gateway: Gateway, order_id: str) -> dict[str, Any]:
    return await gateway.as_ops("GET", f"/v1/orders/{order_id}")


async def test_the_backlog_is_the_one_of_this_moment(gateway: Gateway) -> None:
    for number in range(1, 4):
        await gateway.complete_purchase((await gateway.order())["id"])
        backlog = await gateway.as_ops("GET", "/v1/ops/backlog")
        assert (backlog["by_state"]["completed"], backlog["by_state"]["queued"]) == (number, 0)


async def test_the_backlog_tells_calls_that_are_under_way_from_orders_in_hand(gateway: Gateway) -> None:
    for _ in range(5):
        await gateway.claimed((await gateway.order())["id"])
    backlog = await gateway.as_ops("GET", "/v1/ops/backlog")
    assert (backlog["in_flight"], backlog["concurrency_limit"], backlog["claimed"]) == (3, 4, 5)


async def test_an_office_is_in_the_backlog_while_any_order_of_it_is_open(gateway: Gateway) -> None:
    async def by_office() -> Any:
        backlog = await gateway.as_ops("GET", "/v1/ops/backlog")
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
    backlog = await gateway.as_ops("GET", "/v1/ops/backlog")
    assert [(h["reason"], h["orders"]) for h in backlog["holds"]] == [("adapter_unavailable", 1)]


async def test_whoever_waits_is_told_that_a_person_keeps_calls_from_the_server(gateway: Gateway) -> None:
    order = await gateway.order()
    body = {"state": "open", "reason": "maintenance", "expires_in_s": 600}
    await gateway.call("PUT", "/v1/ops/breaker/provider/override", role="ops", json=body)
    [hold] = (await gateway.as_ops("GET", "/v1/ops/backlog"))["holds"]
    ticket = await (await gateway.client.get(f"/v1/tickets/{order['ticket']['token']}")).json()
    for told in (hold, ticket["holding"], (await _shown(gateway, order["id"]))["holding"]):
        assert (told["reason"], told["forced"]) == ("upstream_unavailable", True)
        assert "dihentikan sementara oleh petugas" in told["text"]
    page = await gateway.client.get(f"/t/{order['ticket']['token']}")
    assert "dihentikan sementara oleh petugas sejak" in await page.text()


@pytest.mark.parametrize("hold", ["provider", "paused", "quota_exhausted", "balance_unexplained"])
async def test_what_is_held_and_due_soon_is_said_to_miss_whatever_the_pace_was(
    gateway: Gateway, hold: str
) -> None:
    await gateway.parts.store.beat("w")
    await gateway.complete_purchase((await gateway.order())["id"])
    due_at = (datetime.now(UTC) + timedelta(minutes=20)).isoformat()
    due = await gateway.order(body=purchase(deadline=due_at))
    assert (await gateway.as_ops("GET", "/v1/ops/backlog"))["will_miss_orders"] == 0
    if hold == "provider":
        gateway.provider.state = "open"
    else:
        await gateway.parts.store.hold(hold, "", "a test")
    end_s = time.monotonic() + 5
    while not (late := (await gateway.as_ops("GET", "/v1/ops/backlog"))["will_miss"]):
        assert time.monotonic() < end_s
    assert [(miss["order_id"], miss["expected_at"]) for miss in late] == [(due["id"], None)]


async def test_while_no_worker_is_alive_no_time_is_told_and_nothing_is_said_to_be_in_time(
    gateway: Gateway, redis: Redis
) -> None:
    for _ in range(eta.LEAST):
        await gateway.complete_purchase((await gateway.order())["id"])
    due_at = (datetime.now(UTC) + timedelta(minutes=20)).isoformat()
    due = await gateway.order(body=purchase(deadline=due_at))

    async def told() -> tuple[Any, ...]:
        order = await _shown(gateway, due["id"])
        ticket = await gateway.as_ops("GET", f"/v1/tickets/{due['ticket']['token']}")
        backlog = await gateway.as_ops("GET", "/v1/ops/backlog")
        times = (order["eta"] is not None, ticket["eta"] is not None)
        return *times, backlog["workers"], backlog["will_miss_orders"]

    await until(told, (True, True, 1, 0))
    # Its last sign of life is longer ago than a worker may be silent.
    await redis.zincrby(keys.WORKERS, -keys.WORKER_SILENT_MS, "w")
    await until(told, (False, False, 0, 1))
    await gateway.parts.store.beat("w")
    await until(told, (True, True, 1, 0))


async def until(look: Callable[[], Awaitable[tuple[Any, ...]]], wanted: tuple[Any, ...]) -> None:
    """Look until it is as wanted: what the gateway knows of the pace may be a second old."""
    end_s = time.monotonic() + 5
    while (found := await look()) != wanted:
        assert time.monotonic() < end_s, found


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
                await gateway.as_ops("DELETE", path, json=body)
        assert was_told(reason) == ["draining resumed", "balance explained by a person"]
        assert gateway.provider.lifted_for == reason


@pytest.mark.parametrize("path", LIFTS)
async def test_a_reason_that_is_none_lifts_nothing(gateway: Gateway, path: str) -> None:
    await gateway.call("PUT", "/v1/ops/pause", role="ops", json={"reason": "a test"})
    bodies: list[Any] = [{"reason": ""}, {"reason": 1}, {"why": "typed wrong"}, []]
    for body in bodies:
        answer = await gateway.call("DELETE", path, role="ops", json=body)
        assert (answer.status, answer.content_type) == (422, "application/problem+json")
    holds = (await gateway.as_ops("GET", "/v1/ops/backlog"))["holds"]
    assert [hold["reason"] for hold in holds] == ["paused"]


async def test_an_order_that_waits_for_a_person_says_why_and_what_may_be_decided(gateway: Gateway) -> None:
    bought, lost = await gateway.order(), await gateway.order()
    await gateway.attention(bought["id"], bought=True)
    await gateway.attention(lost["id"])
    waiting = await gateway.as_ops("GET", "/v1/ops/attention")
    assert [(o["id"], o["state"], o["error"]["code"]) for o in waiting["orders"]] == [
        (bought["id"], "attention", "made_up"),
        (lost["id"], "attention", "made_up"),
    ]
    assert [o["decisions"] for o in waiting["orders"]] == [
        ["auto", "new_serial", "refund"],
        ["ask", "not_bought", "refund"],
    ]
    assert [o["stamped_perhaps"] for o in waiting["orders"]] == [False, False]
    await gateway.parts.redis.hset(keys.ORDER + bought["id"], "perhaps", "1")
    waiting = await gateway.as_ops("GET", "/v1/ops/attention")
    assert [o["stamped_perhaps"] for o in waiting["orders"]] == [True, False]


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
    put_back = await gateway.as_ops("POST", path, json={"decision": decision, "reason": "I have called"})
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
    waiting = await gateway.as_ops("GET", "/v1/ops/attention")
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
    assert (await gateway.as_ops("POST", path, json={"reason": "paid out"}))["state"] == "cancelled"
    again = await gateway.call("POST", path, role="ops", json={"reason": "paid out"})
    assert (again.status, (await again.json())["type"]) == (409, "/problems/not-refundable")
    books = await gateway.as_ops("GET", "/v1/ops/ledger")
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


async def test_deadlines_of_a_day_are_moved_for_all_or_one_office(gateway: Gateway) -> None:
    due = f"{day_from_now(3)}T12:00:00+07:00"
    mine = await gateway.order(body=purchase(deadline=due))
    theirs = await gateway.order(body=purchase(deadline=due), office=OTHER)
    later = await gateway.order(body=purchase(deadline=f"{day_from_now(4)}T00:00:00+07:00"))
    done = await gateway.order(body=purchase(deadline=due))
    await gateway.complete_purchase(done["id"])

    body = {
        "from": day_from_now(3),
        "to": day_from_now(7),
        "office": OFFICE,
        "reason": "the upstream was down",
    }
    moved = await gateway.as_ops("POST", "/v1/ops/deadlines", json=body)
    assert moved["moved"] == 1
    assert (await gateway.as_ops("POST", "/v1/ops/deadlines", json=body | {"office": None}))["moved"] == 1

    end = f"{day_from_now(7)}T16:59:00.000Z"
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
    body = {"from": day_from_now(3), "to": day_from_now(7)} | change
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
        ("POST", "/v1/ops/deadlines", {"from": day_from_now(1), "to": day_from_now(2)}),
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
