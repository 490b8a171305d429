"""What auditors can rely on over HTTP: the ledger as pages and as a file, whole or in part."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.archive import Archive
from antrean.orders.books import ID_MARGIN_MS, WIB
from antrean.orders.documents import DocumentStore
from antrean.orders.lease import alone
from antrean.orders.ledger import Ledger
from antrean.orders.ledger_archive import SEGMENT_ENTRIES, LedgerArchive, LedgerArchiver
from gateway_support import OFFICE, Gateway, day_from_now, running_gateway


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


async def test_the_ledger_is_read_page_by_page_and_as_a_file_with_the_same_rows(gateway: Gateway) -> None:
    for _ in range(5):
        await gateway.complete_purchase((await gateway.order())["id"])
    rows: list[dict[str, Any]] = []
    path: str | None = "/v1/ops/ledger?limit=3"
    while path:
        page = await gateway.as_ops("GET", path)
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
        day["day"] for day in (await gateway.as_ops("GET", "/v1/ops/ledger"))["days"]
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
    entries = (await gateway.as_ops("GET", "/v1/ops/ledger"))["rows"]
    today = max(datetime.fromisoformat(e["at"]).astimezone(WIB).date() for e in entries)
    days = {name: today + timedelta(days=n) for name, n in (("yesterday", -1), ("today", 0), ("tomorrow", 1))}
    path = f"/v1/ops/ledger.csv?{query.format(**days)}"
    text = await (await gateway.call("GET", path, role="ops")).text()
    assert len(list(csv.DictReader(io.StringIO(text)))) == lines


async def test_the_book_for_excel_in_indonesia_has_the_same_cells_between_semicolons(
    gateway: Gateway,
) -> None:
    await gateway.complete_purchase((await gateway.order())["id"])

    async def book(separator: str) -> bytes:
        path = f"/v1/ops/ledger.csv?separator={separator}"
        return await (await gateway.call("GET", path, role="ops")).read()

    with_commas = list(csv.reader(io.StringIO((await book("comma")).decode())))
    with_semicolons = list(
        csv.reader(io.StringIO((await book("semicolon")).decode("utf-8-sig")), delimiter=";")
    )
    assert with_semicolons == with_commas
    assert len(with_commas) == 3


async def test_no_entry_is_dated_later_than_its_id(gateway: Gateway) -> None:
    """Or a file that begins with its day could lack it."""
    for _ in range(3):
        await gateway.complete_purchase((await gateway.order())["id"])
    entries = await Ledger(gateway.parts.store).entries(None, 100)
    assert len(entries) == 6
    for entry in entries:
        assert entry.at_ms - int(entry.id.partition("-")[0]) < 1000 < ID_MARGIN_MS


@pytest.mark.parametrize(
    ("query", "field", "rule"),
    [
        ("office=a+b", "office", "office-form"),
        ("from=2026-13-01", "from", "date-form"),
        ("separator=tab", "separator", "separator"),
        ("from=2026-02-02&to=2026-02-01", "to", "date-order"),
    ],
)
async def test_a_part_of_the_book_that_can_not_be_is_refused(
    gateway: Gateway, query: str, field: str, rule: str
) -> None:
    answer = await gateway.call("GET", f"/v1/ops/ledger.csv?{query}", role="ops")
    assert answer.status == 422
    assert [(e["field"], e["rule"]) for e in (await answer.json())["errors"]] == [(field, rule)]


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
    first_id = (await gateway.order())["id"]
    segment = f"archive/orders/{datetime.now(UTC):%Y-%m-%d}/{first_id}-{first_id}-1-1-0.jsonl.gz"
    await store.scripts.redis.delete(keys.ORDER + first_id)
    await objects.put(segment, b"")
    answer = await gateway.call("GET", f"/v1/orders/{first_id}", role="ops")
    assert answer.status == 500
    assert "part of the archive is damaged" in (await answer.json())["detail"]


async def test_days_are_told_up_to_the_one_that_is_asked_for(gateway: Gateway) -> None:
    await gateway.order()
    for ahead, offices in ((1, [OFFICE]), (-2, []), (20, [OFFICE]), (40, [])):
        path = f"/v1/ops/ledger?until={day_from_now(ahead)}"
        days = (await gateway.as_ops("GET", path))["days"]
        assert [d["office"] for d in days] == offices, path
    for wrong in ("2026-13-01", "yesterday", "20260101"):
        assert (await gateway.call("GET", f"/v1/ops/ledger?until={wrong}", role="ops")).status == 422


@pytest.mark.parametrize(
    ("path", "named", "known"),
    [
        ("ledger?office=MDN-01", "office", "cursor, limit, until"),
        ("ledger?limit=1&since=2026-01-01", "since", "cursor, limit, until"),
        ("ledger?Limit=1", "Limit", "cursor, limit, until"),
        ("ledger?1271010101900001=x", "(unnamed)", "cursor, limit, until"),
        ("ledger.csv?until=2026-01-01", "until", "office, from, to, separator"),
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
