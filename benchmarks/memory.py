"""Bytes of Valkey per held order and the cost of one more, as the backlog grows; and how long it takes to load."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time

from antrean.config.embedded_valkey import EmbeddedValkey
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.config.store import build_store
from antrean.orders.model import Document, NewOrder, Taxpayer
from antrean.orders.store import OrderStore
from antrean.orders.vault import Vault, VaultKey
from benchmarks.measure import Row
from benchmarks.rig import Rig, rig

SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
OFFICES = 200
PROBES = 300


def _order(number: int) -> NewOrder:
    return NewOrder(
        office=f"KPC-{number % OFFICES:03d}",
        idempotency_key=f"{number:032d}",
        fingerprint=f"{number:032d}",
        kind="purchase",
        document=Document("4b", f"SK-{number}", "2024-09-04", "surat-keterangan.pdf"),
        taxpayer=Taxpayer("KTP", "1271010101900001", "Siti Aminah"),
    )


async def _fill(store: OrderStore, numbers: itertools.count[int], until: int) -> None:
    async def lane() -> None:
        for number in numbers:
            await store.submit(_order(number))
            if number >= until - lanes:
                return

    lanes = 512
    await asyncio.gather(*(lane() for _ in range(lanes)))


async def _probe(store: OrderStore, numbers: itertools.count[int]) -> float:
    """Median microseconds of accepting one order, one at a time."""
    taken = []
    for number in itertools.islice(numbers, PROBES):
        started = time.perf_counter()
        await store.submit(_order(number))
        taken.append(time.perf_counter() - started)
    return 1e6 * statistics.median(taken)


async def memory(quick: bool) -> list[Row]:
    """Rows of memory, of the cost of one more order, and of a restart."""
    rows: list[Row] = []
    sizes = QUICK_SIZES if quick else SIZES
    async with rig(BACKLOG_MAX="2000000", OFFICE_BACKLOG_MAX="1000000") as r:
        redis = connect(r.settings.effective_redis_url, r.settings)
        vault = Vault([VaultKey("bench", bytes(32))], bytes(32))
        store = build_store(r.settings, redis, vault=vault)
        empty = int((await redis.info("memory"))["used_memory"])
        numbers = itertools.count()
        for size in sizes:
            started = time.perf_counter()
            before = (await store.situation()).open
            await _fill(store, numbers, size)
            rate = (size - before) / (time.perf_counter() - started)
            info = await redis.info("memory")
            held = (await store.situation()).open
            bytes_each = (int(info["used_memory"]) - empty) / held
            rows.append(
                Row(
                    f"{size:,} orders held",
                    f"{bytes_each:.0f} bytes each",
                    f"one more: {await _probe(store, numbers):.0f} µs; filled at {rate:.0f}/s",
                )
            )
        rows.append(await _reload(r, held))
        await redis.aclose()
    return rows


async def _reload(r: Rig, held: int) -> Row:
    """Stop the server, start it on its file, and wait until it answers."""
    server = r.processes[0]
    size_mb = sum(f.stat().st_size for f in (r.settings.data_dir / "valkey").rglob("*.aof")) / 1e6
    server.terminate()
    await asyncio.to_thread(server.wait, 60)
    embedded = EmbeddedValkey.of(r.settings)
    embedded.prepare()
    started = time.perf_counter()
    r.processes[0] = r.start(embedded.argv)
    r.processes.pop()
    await embedded.wait_ready(Settings(_env_file=None))
    return Row(
        f"restart with {held:,} held", f"{time.perf_counter() - started:.1f} s", f"{size_mb:.0f} MB of file"
    )
