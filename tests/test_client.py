"""A caller who uses the client buys nothing twice, loses nothing, and is told what went wrong."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from pathlib import Path
from typing import Any, get_type_hints

import httpx
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from antrean.cli import main
from antrean.client import Client, GaveUp, NewOrder, Patience, Refused, models, stream
from antrean.config.settings import Settings
from antrean.gateway import routes_orders
from contract import DOCUMENT
from gateway_support import OFFICE, PNG, Gateway, affix, purchase, running_gateway
from pdf_samples import pdf

QUICK = Patience(total_s=5, pause_s=0.01, pause_max_s=0.05)


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


class Flaky(httpx.AsyncBaseTransport):
    """The real wire, on which the answers to the first requests are lost."""

    def __init__(self, lost: int) -> None:
        self._wire = httpx.AsyncHTTPTransport()
        self.lost = lost
        self.keys: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.keys.append(request.headers.get("Idempotency-Key", ""))
        response = await self._wire.handle_async_request(request)
        if self.lost:
            self.lost -= 1
            await response.aclose()
            raise httpx.ReadError("the answer is lost", request=request)
        return response

    async def aclose(self) -> None:
        await self._wire.aclose()


def client_of(gateway: Gateway, role: str = "terminal", **more: Any) -> Client:
    return Client(str(gateway.client.make_url("/")), gateway.keys[role, OFFICE], patience=QUICK, **more)


def scripted(*answers: httpx.Response | Exception) -> tuple[Client, list[httpx.Request]]:
    """A client that gets these answers, and what it has asked."""
    asked: list[httpx.Request] = []
    left = iter(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        given = next(left)
        if isinstance(given, Exception):
            raise given
        return given

    return Client("http://x", "k", patience=QUICK, transport=httpx.MockTransport(answer)), asked


def typed(body: dict[str, Any]) -> NewOrder:
    return body  # type: ignore[return-value]


async def test_an_order_whose_answers_are_lost_is_accepted_once(gateway: Gateway) -> None:
    wire = Flaky(lost=3)
    async with client_of(gateway, transport=wire) as antrean:
        order = await antrean.submit(typed(purchase()))
        assert len(wire.keys) == 4
        assert len(set(wire.keys)) == 1
        assert [o["id"] async for o in antrean.orders()] == [order["id"]]


async def test_not_now_is_asked_again_when_the_gateway_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    antrean, asked = scripted(
        httpx.Response(503, headers={"Retry-After": "2"}),
        httpx.Response(429, headers={"Retry-After": "1"}),
        httpx.Response(500),
        httpx.ConnectError("refused"),
        httpx.Response(202, json={"id": "x"}),
    )
    async with antrean:
        assert (await antrean.submit(typed(purchase())))["id"] == "x"
    assert pauses[:2] == [2, 1]
    assert all(pause <= QUICK.pause_max_s for pause in pauses[2:])
    assert len({request.headers["Idempotency-Key"] for request in asked}) == 1
    assert len({request.content for request in asked}) == 1


async def test_patience_ends() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    patience = Patience(total_s=0.05, pause_s=0.01)
    async with Client("http://x", "k", patience=patience, transport=httpx.MockTransport(away)) as antrean:
        with pytest.raises(GaveUp, match="ConnectError"):
            await antrean.order("x")


async def test_a_refusal_is_told_at_once_with_its_fields(gateway: Gateway) -> None:
    async with client_of(gateway) as antrean:
        with pytest.raises(Refused) as raised:
            await antrean.submit(typed(purchase(kind="gift")))
        assert (raised.value.status, raised.value.name) == (422, "validation")
        assert [fault["field"] for fault in raised.value.problem["errors"]] == ["kind"]
        with pytest.raises(Refused) as raised:
            await antrean.order("../ops/backlog")
        assert raised.value.name == "not-found"


async def test_an_answer_that_is_no_problem_is_refused_all_the_same() -> None:
    antrean, _ = scripted(httpx.Response(404, text="<html>a proxy</html>"))
    async with antrean:
        with pytest.raises(Refused) as raised:
            await antrean.order("x")
    assert (raised.value.status, raised.value.name) == (404, "about:blank")


async def test_a_decision_whose_answer_is_lost_is_not_sent_again() -> None:
    antrean, asked = scripted(httpx.Response(503), httpx.ReadError("lost"), httpx.Response(200, json={}))
    async with antrean:
        with pytest.raises(httpx.ReadError):
            await antrean.post("/v1/orders/x/replay", {"decision": "auto"})
    assert len(asked) == 2


async def test_waiting_ends_with_the_order(gateway: Gateway) -> None:
    async with client_of(gateway) as antrean:
        order = await antrean.submit(typed(purchase()))
        waiting = asyncio.create_task(antrean.wait(order["id"]))
        while not gateway.parts.hub.watches:
            await asyncio.sleep(0.005)
        await gateway.complete_purchase(order["id"])
        done = await asyncio.wait_for(waiting, 5)
        assert done["state"] == "completed"
        assert await antrean.picture(order["id"]) == PNG
        with pytest.raises(GaveUp, match="completed"):
            await antrean.wait(order["id"], until=frozenset({"cancelled"}), timeout_s=0.05)


async def test_a_stream_that_breaks_is_taken_up_where_it_was(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes_orders, "STREAM_RETRY_MS", 10)
    cuts = 0

    async def cut_after_one(lines: AsyncIterator[str]) -> AsyncIterator[Any]:
        nonlocal cuts
        async for event in whole(lines):
            yield event
            cuts += 1
            raise httpx.ReadError("cut")

    whole: Callable[..., AsyncIterator[Any]] = stream.events
    async with client_of(gateway) as antrean:
        order = await antrean.submit(typed(purchase()))
        monkeypatch.setattr(stream, "events", cut_after_one)
        seen: list[str] = []
        async for shown in antrean.follow(order["id"]):
            seen.append(shown["state"])
            if len(seen) == 1:
                await gateway.complete_purchase(order["id"])
        assert seen == ["queued", "buying", "bought", "completed"]
        assert cuts == 3
        again = [o["state"] async for o in antrean.follow(order["id"], last_event_id="4")]
        assert again == []


async def test_rows_that_are_to_come_later_are_sent_again_alone() -> None:
    later = {"status": 503, "problem": {"type": "/problems/unavailable"}}
    taken = {"status": 202, "order": {"id": "x"}, "replayed": False}
    bad = {"status": 422, "problem": {"type": "/problems/validation"}}
    antrean, asked = scripted(
        httpx.Response(207, json={"results": [taken, later, bad]}),
        httpx.Response(207, json={"results": [taken]}),
    )
    async with antrean:
        rows = await antrean.submit_batch([(f"key-{n}", typed(purchase())) for n in range(3)])
    assert [row["status"] for row in rows] == [202, 202, 422]
    assert b"key-1" in asked[1].content
    assert b"key-0" not in asked[1].content


async def test_a_batch_is_accepted_row_by_row(gateway: Gateway) -> None:
    async with client_of(gateway) as antrean:
        rows = await antrean.submit_batch([(f"key-{n}", typed(purchase())) for n in range(100)])
        assert {row["status"] for row in rows} == {202}
        assert len([o async for o in antrean.orders(state="queued", page_size=7)]) == 100
        with pytest.raises(ValueError, match="100"):
            await antrean.submit_batch([("k", typed(purchase()))] * 101)


async def test_a_pdf_is_uploaded_stamped_and_fetched(gateway: Gateway) -> None:
    async with client_of(gateway) as antrean:
        uploaded = await antrean.upload(pdf())
        order = await antrean.submit(typed(affix(uploaded["id"])))
        with pytest.raises(Refused) as raised:
            await antrean.stamped_document(order["id"])
        assert raised.value.name == "not-available-yet"
        await gateway.complete_affix(order["id"])
        assert (await antrean.stamped_document(order["id"])).startswith(b"%PDF")
        assert (await antrean.ticket(order["ticket"]["token"]))["state"] == "completed"


async def test_an_order_is_withdrawn(gateway: Gateway) -> None:
    async with client_of(gateway) as antrean:
        order = await antrean.submit(typed(purchase()))
        assert (await antrean.cancel(order["id"]))["state"] == "cancelled"


async def test_ops_read_and_decide(gateway: Gateway) -> None:
    order = await gateway.order()
    await gateway.attention(order["id"], bought=True)
    async with client_of(gateway, "ops") as antrean:
        assert (await antrean.put("/v1/ops/pause", {"reason": "inventory"}))["paused"]
        assert not (await antrean.delete("/v1/ops/pause"))["paused"]
        waiting = await antrean.get("/v1/ops/attention")
        assert [o["id"] for o in waiting["orders"]] == [order["id"]]
        replayed = await antrean.post(f"/v1/orders/{order['id']}/replay", {"decision": "auto"})
        assert replayed["state"] == "bought"


def _fields(schemas: Iterable[str]) -> set[str]:
    return {name for schema in schemas for name in DOCUMENT["components"]["schemas"][schema]["properties"]}


@pytest.mark.parametrize(
    ("model", "schemas"),
    [
        (models.Order, ["Order"]),
        (models.Ticket, ["Ticket"]),
        (models.Upload, ["Upload"]),
        (models.Problem, ["Problem"]),
        (models.FieldFault, ["FieldFault"]),
        (models.Batch, ["Batch"]),
        (models.BatchRow, ["RowAccepted", "RowRefused"]),
        (models.Purchase, ["PurchaseIn"]),
        (models.Affix, ["AffixIn"]),
        (models.Placement, ["PlacementIn"]),
        (models.Document, ["DocumentIn"]),
        (models.Taxpayer, ["TaxpayerIn"]),
        (models.History, ["History"]),
        (models.Holding, ["Holding"]),
        (models.TimeRange, ["TimeRange"]),
        (models.TicketLink, ["TicketLink"]),
        (models.OrderError, ["Error"]),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_the_clients_models_have_the_fields_of_the_document(model: type, schemas: list[str]) -> None:
    assert set(get_type_hints(model)) == _fields(schemas)


def test_the_client_needs_nothing_else_of_ours() -> None:
    code = "import antrean.client, sys; print([m for m in sys.modules if m.startswith('antrean.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = eval(done.stdout)
    assert {name.split(".")[1] for name in loaded} == {"client"}


async def test_a_file_of_orders_is_sent_and_a_second_time_orders_nothing(
    gateway: Gateway, tmp_path: Path
) -> None:
    rows = [purchase(idempotency_key=f"row-{n}", reference=f"r{n}") for n in range(3)]
    rows[1]["kind"] = "gift"
    file = tmp_path / "orders.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    url = str(gateway.client.make_url("/"))
    arguments = ["send", str(file), "--url", url]
    env = os.environ | {"ANTREAN_SEND_KEY": gateway.keys["terminal", OFFICE]}

    async def run() -> tuple[int | None, str]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "antrean", *arguments, env=env, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await process.communicate()
        return process.returncode, output.decode()

    code, output = await run()
    assert code == 1
    assert [line.split()[0] for line in output.splitlines()] == ["row-0", "row-1", "row-2"]
    assert "422 kind: must be purchase or affix" in output
    assert await run() == (code, output)
    page = await (await gateway.call("GET", "/v1/orders")).json()
    assert [order["reference"] for order in page["orders"]] == ["r2", "r0"]


def test_a_file_that_can_not_be_sent_is_refused_before_anything_is(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    file.write_text(json.dumps(purchase()))
    done = CliRunner().invoke(main, ["send", str(file), "--key", "k", "--url", "http://127.0.0.1:1"])
    assert done.exit_code == 1
    assert "Line 1" in done.output


def test_lines_end_at_line_feeds_alone_and_a_file_of_other_bytes_is_refused_in_a_line(tmp_path: Path) -> None:
    file = tmp_path / "orders.jsonl"
    for content, said in (
        (
            json.dumps({"idempotency_key": "k", "reference": "a\u2028b"}, ensure_ascii=False).encode(),
            "http://",
        ),
        (b'{"idempotency_key": "k", "reference": "\xff"}', "Line 1 is no JSON object in UTF-8"),
    ):
        file.write_bytes(content)
        done = CliRunner().invoke(main, ["send", str(file), "--key", "k", "--url", "counter:8080"])
        assert (done.exit_code, said in done.output) == (1, True), done.output


@pytest.mark.parametrize("url", ["counter:8080", "ftp://counter", "http://", "http://counter:port", "/v1"])
def test_what_is_no_address_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|http"):
        Client(url, "k")


async def test_whoever_waits_is_told_what_for() -> None:
    told: list[tuple[str, str]] = []
    patience = Patience(total_s=0.2, pause_s=0.05, waiting=lambda what, last: told.append((what, last)))
    async with Client("http://127.0.0.1:1", "k", patience=patience) as client:
        with pytest.raises(GaveUp):
            await client.order("x")
    assert told
    assert set(told) == {("GET /v1/orders/x", "ConnectError")}
