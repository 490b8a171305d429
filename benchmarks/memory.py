"""Bytes of Valkey per held order, and the time of one submission, position and claim, as the backlog grows to a
million; what a restart then takes, and whether gateway and worker stay as small as they were."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psutil
from redis.asyncio import Redis

from antrean.config.embedded_valkey import EmbeddedValkey
from antrean.config.personal_keys import open_vault
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.config.store import build_store
from antrean.orders import ids
from antrean.orders.codes import Code
from antrean.orders.commit import GroupCommit
from antrean.orders.model import Document, NewOrder, StoreUnavailable, Taxpayer
from antrean.orders.scripts import Arg
from antrean.orders.store import OrderStore
from antrean.orders.submitting import Limits, key_digest
from antrean.orders.vault import Vault
from benchmarks.measure import Answer, Row
from benchmarks.picture import curves
from benchmarks.rig import Rig, rig

T = TypeVar("T")

SIZES = (10_000, 100_000, 1_000_000)
QUICK_SIZES = (1_000, 10_000)
#: Bytes that a held order may need, with room to spare: where less is free, that size is left out, and it is said.
ROOM_BYTES_EACH = 2_500
SAMPLE = ids.new_names(0, lambda count: b"0" * count)
OFFICES = 200
PROBES = 300
#: Submissions in one write while filling, and such writes under way.
BATCH, BATCHES = 200, 3


@dataclass(frozen=True, slots=True)
class Costs:
    """Median time of one of each, one at a time, in microseconds."""

    submit_us: float
    position_us: float
    claim_us: float


def _order(number: int) -> NewOrder:
    return NewOrder(
        office=f"KPC-{number % OFFICES:03d}",
        idempotency_key=f"{number:032d}",
        fingerprint=f"{number:032d}",
        kind="purchase",
        document=Document("4b", f"SK-{number}", "2024-09-04", "surat-keterangan.pdf"),
        taxpayer=Taxpayer("KTP", "1271010101900001", "Siti Aminah"),
    )


class _Recorder(GroupCommit):
    """Keeps what the store would have sent."""

    args: Sequence[Arg] = ()

    async def run(self, args: Sequence[Arg]) -> list[Any]:
        """Sends nothing. Raises StoreUnavailable."""
        self.args = args
        raise StoreUnavailable("only looked at")


class _Filler:
    """Accepts orders through the store's own script, in large batches: a million one by one would take an hour.

    What the store sends for one order is kept, and its names are changed for each of the others.
    """

    def __init__(self, store: OrderStore, vault: Vault) -> None:
        self._scripts = store.scripts
        self._recorder = _Recorder(store.scripts, "submit")
        limits = Limits(10_000_000, 10_000_000)
        self._sample = OrderStore(store.scripts, self._recorder, limits, lambda: SAMPLE, vault)

    async def fill(self, numbers: itertools.count[int], count: int) -> None:
        """Accept `count` orders. Raises RuntimeError where one is not accepted."""
        sample = _order(0)
        with contextlib.suppress(StoreUnavailable):
            await self._sample.submit(sample)
        digest = key_digest(sample.office, sample.idempotency_key)
        left = itertools.islice(numbers, count)

        async def lane() -> None:
            while batch := list(itertools.islice(left, BATCH)):
                calls = []
                for number in batch:
                    order = _order(number)
                    names = ids.new_names(time.time_ns() // 1_000_000)
                    own: dict[Arg, Arg] = {
                        SAMPLE.id: names.id,
                        SAMPLE.packed: names.packed,
                        SAMPLE.token: names.token,
                        sample.office: order.office,
                        digest: key_digest(order.office, order.idempotency_key),
                    }
                    calls.append([own.get(arg, arg) for arg in self._recorder.args])
                for answer in await self._scripts.run_many("submit", calls):
                    if isinstance(answer, Exception) or answer[0] != Code.OK:
                        raise RuntimeError(f"not accepted: {answer!r}")

        redis = self._scripts.redis
        await self._scripts.load()
        # Only while filling: the sync of a million orders, and rewriting the file ten times, are not in question here.
        await redis.config_set("appendfsync", "everysec")
        await redis.config_set("auto-aof-rewrite-percentage", 0)
        await asyncio.gather(*(lane() for _ in range(BATCHES)))
        await redis.config_set("appendfsync", "always")


async def _median_us(steps: list[Callable[[], Awaitable[T]]]) -> tuple[float, list[T]]:
    taken, answers = [], []
    for step in steps:
        started = time.perf_counter()
        answers.append(await step())
        taken.append(time.perf_counter() - started)
    return 1e6 * statistics.median(taken), answers


async def _costs(store: OrderStore, numbers: itertools.count[int]) -> Costs:
    """Submit new ones, ask where they stand, claim them out of the middle of their lanes, and give them back."""
    new = list(itertools.islice(numbers, PROBES))
    # Below: mypy gives a lambda with a default no type.
    submit_us, accepted = await _median_us([lambda n=n: store.submit(_order(n)) for n in new])  # type: ignore[misc]
    orders = [each.order for each in accepted]
    position_us, _ = await _median_us([lambda o=o: store.lanes.ranks([o]) for o in orders])  # type: ignore[misc]
    claim_us, claims = await _median_us(
        [lambda o=o: store.claim(o.id, "bench", f"c-{o.id}") for o in orders]  # type: ignore[misc]
    )
    for claim in claims:
        if claim is None:
            raise RuntimeError("an order of ours could not be claimed")
        await store.release(claim.order, f"r-{claim.order.id}", "", 0)
    return Costs(submit_us, position_us, claim_us)


async def memory(quick: bool) -> Answer:
    """Rows of memory, of the cost of one more order, and of a restart."""
    rows: list[Row] = []
    seen: list[tuple[int, float, Costs]] = []
    async with rig(BACKLOG_MAX="2000000") as r:
        redis = connect(r.settings.effective_redis_url, r.settings)
        worker = r.run("worker")
        await asyncio.sleep(3)
        small = [_rss_mb(pid) for pid in (r.gateway.pid, worker.pid)]
        r.stop(worker)
        vault = await open_vault(r.settings, redis)
        store = build_store(r.settings, redis, vault=vault)
        filler = _Filler(store, vault)
        empty = await _used(redis)
        numbers = itertools.count()
        held = 0
        for size in QUICK_SIZES if quick else SIZES:
            if psutil.virtual_memory().available < (size - held) * ROOM_BYTES_EACH:
                rows.append(
                    Row(f"{size:,} orders held", "**not measured**: this machine has too little memory")
                )
                continue
            await filler.fill(numbers, size - held)
            held = (await store.situation()).open
            bytes_each = (await _used(redis) - empty) / held
            costs = await _costs(store, numbers)
            held += PROBES
            seen.append((size, bytes_each, costs))
            rows.append(
                Row(
                    f"{size:,} orders held",
                    f"{bytes_each:.0f} bytes each",
                    f"one more: {costs.submit_us:.0f} µs, its position {costs.position_us:.0f} µs, "
                    f"a claim {costs.claim_us:.0f} µs",
                )
            )
        await _rewrite(redis)
        rows.append(await _reload(r, held))
        await redis.aclose()
        rows.append(await _sizes(r, held, small))
    lines = {
        "submit": [(size, costs.submit_us) for size, _, costs in seen],
        "position": [(size, costs.position_us) for size, _, costs in seen],
        "claim": [(size, costs.claim_us) for size, _, costs in seen],
    }
    return Answer(
        rows, {"memory": curves("One more, with so many orders held", "µs, round trip in it", lines)}
    )


async def _used(redis: Redis) -> int:
    return int((await redis.info("memory"))["used_memory"])


def _rss_mb(pid: int) -> float:
    return float(psutil.Process(pid).memory_info().rss / 1e6)


async def _rewrite(redis: Redis) -> None:
    """The file as it is after a rewrite, which the server does by itself whenever it has doubled."""
    await redis.bgrewriteaof()
    while True:
        await asyncio.sleep(0.2)
        facts = await redis.info("persistence")
        if not facts["aof_rewrite_in_progress"] and not facts["aof_rewrite_scheduled"]:
            return


async def _reload(r: Rig, held: int) -> Row:
    """Stop the server, start it on its file, and wait until it answers."""
    server = r.processes[0]
    files = [f for f in (r.settings.data_dir / "valkey" / "appendonlydir").iterdir() if f.is_file()]
    size_mb = sum(f.stat().st_size for f in files) / 1e6
    await asyncio.to_thread(r.stop, server)
    embedded = EmbeddedValkey.of(r.settings)
    embedded.prepare()
    started = time.perf_counter()
    r.processes[0] = r.start(embedded.argv)
    r.processes.pop()
    await embedded.wait_ready(Settings(_env_file=None))
    return Row(
        f"restart with {held:,} held",
        f"{time.perf_counter() - started:.1f} s",
        f"{size_mb:.0f} MB of file, just rewritten",
    )


async def _sizes(r: Rig, held: int, small: list[float]) -> Row:
    """Gateway and worker with all of it held, beside what they were with nothing: neither keeps orders."""
    await r.answers(f"{r.origin}/readyz")
    worker = r.run("worker")
    await asyncio.sleep(6)
    now = [_rss_mb(pid) for pid in (r.gateway.pid, worker.pid)]
    await asyncio.to_thread(r.stop, worker)
    return Row(
        f"memory of gateway and of a worker at work, {held:,} held",
        f"{now[0]:.0f} MB, {now[1]:.0f} MB",
        f"with none: {small[0]:.0f} MB, {small[1]:.0f} MB",
        f"{now[0] / small[0]:.2f}, {now[1] / small[1]:.2f}",
    )
