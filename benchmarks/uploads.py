"""How long accepting an order takes while documents of a megabyte are uploaded, beside the same without them."""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections.abc import Awaitable, Callable

import aiohttp
import pikepdf

from benchmarks.measure import Row, latency
from benchmarks.rig import KEY

DOCUMENT_BYTES = 1_000_000
#: Uploads at a time, one after the other each.
UPLOADERS = 4

#: Latencies in seconds of orders that arrive at an origin, so many a second, for so many seconds.
AtRate = Callable[[str, float, float], Awaitable[list[float]]]


def a_document() -> bytes:
    """A PDF of about DOCUMENT_BYTES that does not compress."""
    pdf = pikepdf.new()
    pdf.add_blank_page(page_size=(595, 842))
    pdf.Root.Padding = pdf.make_stream(os.urandom(DOCUMENT_BYTES))
    made = io.BytesIO()
    pdf.save(made)
    return made.getvalue()


async def beside_uploads(origin: str, per_s: float, seconds: float, at_rate: AtRate) -> list[Row]:
    """Two rows: orders at a fixed rate alone, and the same with UPLOADERS beside them."""
    alone = await at_rate(origin, per_s, seconds)
    document = await asyncio.to_thread(a_document)
    uploaded: list[float] = []
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/pdf"}
    async with aiohttp.ClientSession(origin, headers=headers) as client:

        async def upload() -> None:
            while True:
                started = time.perf_counter()
                async with client.post("/v1/documents", data=document) as answer:
                    if answer.status != 201:
                        raise RuntimeError(f"{answer.status}: {await answer.text()}")
                uploaded.append(time.perf_counter() - started)

        uploaders = [asyncio.create_task(upload()) for _ in range(UPLOADERS)]
        started = time.perf_counter()
        try:
            beside = await at_rate(origin, per_s, seconds)
            uploads_per_s = len(uploaded) / (time.perf_counter() - started)
        finally:
            for task in uploaders:
                task.cancel()
            ended = await asyncio.gather(*uploaders, return_exceptions=True)
    for each in ended:
        if isinstance(each, Exception):
            raise each
    return [
        Row(f"- wait at {per_s:.0f} orders/s, p50 / p99 / p99.9 ms", latency(alone)),
        Row(
            f"- the same with {uploads_per_s:.0f} uploads/s of {DOCUMENT_BYTES / 1e6:.0f} MB",
            latency(beside),
            f"without them: {latency(alone)}",
        ),
    ]
