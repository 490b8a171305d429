"""Bodies and PDFs made to hurt: each is answered, none harms the gateway, and what is refused leaves nothing behind.

ANTREAN_TEST_FUZZ_CASES sets how many of each kind are tried (`make fuzz`: thousands).
"""

from __future__ import annotations

import asyncio
import collections
import gzip
import io
import itertools
import json
import os
import random
import re
import zlib
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pikepdf
import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.orders.pdf_worker import refuse_damage
from contract import assert_fits
from gateway_process import GatewayProcess, running_gateway_process
from gateway_support import NAME, NIK, affix, purchase
from pdf_corpus import KINDS, corpus, sound

CASES = int(os.environ.get("ANTREAN_TEST_FUZZ_CASES", "250"))
SEED = int(os.environ.get("ANTREAN_TEST_FUZZ_SEED", "20240904"))
#: At one time.
CLIENTS = 16
#: The gateway's own peak: it starts with some 90 MiB and holds a PDF of 10 MiB for each client.
PEAK_BYTES_MAX = 400 * 1024**2
#: More at the end than at the start, all processes together.
GROWTH_BYTES_MAX = 250 * 1024**2


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[GatewayProcess]:
    async with running_gateway_process(redis, settings) as gateway:
        yield gateway


def _peak_bytes(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def _all(cases: Iterable[Any], work: Any) -> None:
    """Runs `work` on every case, CLIENTS at a time, each case made when it is its turn."""
    waiting = iter(cases)

    async def one() -> None:
        for case in waiting:
            await work(*case)

    await asyncio.gather(*(one() for _ in range(CLIENTS)))


ODD: list[Any] = [
    None, True, 0, -1, 1.5, 1e308, 2**63, -(2**200), "", " ", "\x00", "\u202e", "\ud83d\ude00" * 40, "A" * 300,
    "A" * 5000, NIK, "%s%n{0}${x}", "'; DROP TABLE orders; --", "=cmd|' /C calc'!A0", "../../etc/passwd", [], {},
    [[]], {"a": None}, [NIK] * 50, {NIK: NIK}, "2024-02-30", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00", "https://127.0.0.1", "https://[::ffff:7f00:1]/", "0" * 26, "4b" * 4,
]  # fmt: skip


#: Deep, long, and of one kind.
MONSTERS = [b"[" * 60_000, b'{"a":' * 12_000, b"[" * 100_000, b"1" * 60_000, b'"' + b"\\u0000" * 9000 + b'"']


def _changed(rng: random.Random, body: Any) -> Any:
    """The body with one value somewhere replaced, taken away, added or doubled."""
    if isinstance(body, dict) and body and rng.random() < 0.85:
        name = rng.choice(list(body))
        what = rng.randrange(6)
        if what == 0:
            return {k: v for k, v in body.items() if k != name}
        if what == 1:
            return body | {rng.choice(["extra", NIK, "", "__class__", "a" * 500]): rng.choice(ODD)}
        return body | {name: _changed(rng, body[name])}
    if isinstance(body, list) and body and rng.random() < 0.7:
        return [*body, _changed(rng, rng.choice(body))]
    return rng.choice(ODD)


def _bodies(count: int) -> Iterable[tuple[str, bytes, dict[str, str]]]:
    """Path, body and headers."""
    rng = random.Random(SEED)
    for number in range(count):
        good: Any = rng.choice(
            [purchase(), affix("0" * 26), {"orders": [purchase(idempotency_key=f"r{number}")]}]
        )
        body = good
        for _ in range(rng.choice([0, 1, 1, 1, 2, 4])):
            body = _changed(rng, body)
        # Not orjson: an integer beyond 64 bits is text that somebody may send.
        raw = json.dumps(body).encode()
        headers = {"Content-Type": "application/json", "Idempotency-Key": f"k{number}"}
        what = rng.randrange(14)
        if what == 0:
            raw = raw[: rng.randrange(len(raw) + 1)]
        elif what == 1:
            noisy = bytearray(raw or b"{}")
            for _ in range(rng.randint(1, 6)):
                noisy[rng.randrange(len(noisy))] = rng.randrange(256)
            raw = bytes(noisy)
        elif what == 2:
            raw = rng.choice(MONSTERS)
        elif what == 3:
            raw, headers["Content-Encoding"] = rng.choice(
                [
                    (gzip.compress(raw), "gzip"),
                    (gzip.compress(b" " * 20_000_000, 9), "gzip"),
                    (zlib.compress(b"[" * 20_000_000, 9), "deflate"),
                    (raw, "gzip"),
                    (raw, "br"),
                    (raw, "none-of-these"),
                ]
            )
        elif what == 4:
            headers["Content-Type"] = rng.choice(
                [
                    "text/plain",
                    "application/json; charset=utf-16",
                    "multipart/form-data",
                    "a" * 200,
                    "application/json;" * 9,
                ]
            )
        elif what == 5:
            headers["Idempotency-Key"] = rng.choice(["", "x" * 200, NIK, "a\tb"])
        yield rng.choice(["/v1/orders", "/v1/orders", "/v1/batches"]), raw, headers


async def test_no_body_does_harm_and_none_is_repeated(gateway: GatewayProcess) -> None:
    seen: collections.Counter[int] = collections.Counter()
    accepted: set[str] = set()
    before = gateway.rss_bytes()

    async def send(path: str, raw: bytes, headers: dict[str, str]) -> None:
        async with gateway.client.post(path, data=raw, headers=headers) as answer:
            text = await answer.read()
        seen[answer.status] += 1
        assert answer.status < 500, (raw[:500], headers, text)
        assert_fits("POST", path, answer.status, answer.content_type, text)
        shown = orjson.loads(text)
        rows = (
            shown["results"] if answer.status == 207 else [{"order": shown}] if answer.status == 202 else []
        )
        accepted.update(row["order"]["id"] for row in rows if "order" in row)
        problems = [row["problem"] for row in rows if "problem" in row] if rows else [shown]
        said = "" if answer.status == 202 else orjson.dumps(problems).decode()
        assert NIK not in said, raw
        assert NAME not in said, raw

    await _all(_bodies(CASES), send)
    gateway.assert_unharmed()
    assert _peak_bytes(gateway.process.pid) < PEAK_BYTES_MAX
    assert gateway.rss_bytes() < before + GROWTH_BYTES_MAX
    assert {202, 207, 400, 413, 415, 422} <= set(seen), seen
    assert sum(seen.values()) == CASES
    assert await _listed(gateway.client) == accepted
    print(f"{CASES} bodies: {dict(sorted(seen.items()))}, peak {_peak_bytes(gateway.process.pid) >> 20} MiB")


async def _listed(client: aiohttp.ClientSession) -> set[str]:
    found: set[str] = set()
    cursor = ""
    while True:
        async with client.get("/v1/orders", params={"limit": "500", "cursor": cursor}) as answer:
            page = await answer.json()
        found |= {order["id"] for order in page["orders"]}
        if page["next_cursor"] is None:
            return found
        cursor = page["next_cursor"]


async def test_no_pdf_does_harm_and_what_is_taken_is_sound(gateway: GatewayProcess) -> None:
    seen: collections.Counter[str] = collections.Counter()
    before = gateway.rss_bytes()
    numbers = itertools.count()

    async def send(kind: Any, pdf: bytes) -> None:
        number = next(numbers)
        form: Any = io.BytesIO(pdf)
        headers = {"Content-Type": "application/pdf"}
        if number % 10 == 0:
            form = aiohttp.FormData()
            form.add_field("file", io.BytesIO(pdf), filename="a.pdf", content_type="application/pdf")
            headers = {}
        async with gateway.client.post("/v1/documents", data=form, headers=headers) as answer:
            text = await answer.read()
        assert_fits("POST", "/v1/documents", answer.status, answer.content_type, text)
        said = orjson.loads(text)
        problem = said.get("type", "taken").removeprefix("/problems/")
        seen[problem] += 1
        assert answer.status in (201, 422), (kind.__name__, number, text)
        wanted = KINDS[kind]
        assert wanted is None or problem in wanted, (kind.__name__, number, problem)
        if answer.status == 201:
            _assert_sound(pdf, said["pages"])

    await _all(corpus(CASES, SEED), send)
    as_pdf = {"Content-Type": "application/pdf"}
    for pdf in sound():
        async with gateway.client.post("/v1/documents", data=pdf, headers=as_pdf) as answer:
            assert answer.status == 201, await answer.text()
    gateway.assert_unharmed()
    assert _peak_bytes(gateway.process.pid) < PEAK_BYTES_MAX
    assert gateway.rss_bytes() < before + GROWTH_BYTES_MAX
    assert len(seen) >= 7, seen
    print(
        f"{sum(seen.values())} PDFs: {dict(seen.most_common())}, peak {_peak_bytes(gateway.process.pid) >> 20} MiB"
    )


def _assert_sound(pdf: bytes, pages: int) -> None:
    with pikepdf.open(io.BytesIO(pdf), attempt_recovery=False) as opened:
        assert not opened.is_encrypted
        assert 1 <= len(opened.pages) == pages <= 1000
        for warning in opened.get_warnings():
            refuse_damage(str(warning), pdf)
        assert not opened.attachments
        assert b"/S /JavaScript" not in opened.Root.unparse()
