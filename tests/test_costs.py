"""What an order costs, counted and not timed: round trips to Redis, scripts, bytes of its file, calls upstream.

docs/benchmarks.md lists each round trip; a change that adds one fails here.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from antrean.config.documents import build_documents
from antrean.config.redis_client import connect
from antrean.config.redis_link import PART, LinkedRedis
from antrean.config.settings import Settings
from antrean.config.store import build_store
from antrean.config.upstream import build_adapter, build_breakers, build_provider
from antrean.orders.fulfil import Fulfiller
from antrean.orders.store import OrderStore
from antrean.orders.turn_ends import Outcome
from orders_support import VAULT, new_order, note_vault
from simulated_upstream import PASSWORD, USER, Upstream, simulated
from upstream_model import verify

#: From accept to completed, as docs/benchmarks.md lists them.
ROUND_TRIPS = 4
#: What runs in them.
SCRIPTS = 7
#: Appended to the file by those steps.
FILE_BYTES_MAX = 6500


@dataclass
class Shop:
    """A gateway's and a worker's objects on the simulator, each with a connection that counts."""

    gateway: LinkedRedis
    worker: LinkedRedis
    store: OrderStore
    fulfiller: Fulfiller
    upstream: Upstream

    async def turn(self, order_id: str) -> None:
        """One turn of one order, and what it left to be written in the background."""
        assert await self.fulfiller.run(order_id) is Outcome.COMPLETED
        await asyncio.sleep(0.05)

    async def warm(self) -> None:
        """Connections, login and the first of everything."""
        await self.turn((await self.store.submit(new_order())).order.id)
        for client in (self.gateway, self.worker):
            client.link.commands = client.link.writes = 0

    @property
    def round_trips(self) -> int:
        return self.gateway.link.writes + self.worker.link.writes


@asynccontextmanager
async def shop(settings: Settings, make_settings: Callable[..., Settings], tmp: Path) -> AsyncIterator[Shop]:
    async with simulated() as upstream:
        urls = {f"upstream_{name}_url": upstream.urls[name] for name in ("backend", "stampv2", "adapter")}
        own = make_settings(
            redis_url=settings.redis_url,
            data_dir=tmp / "data",
            upstream_user=USER,
            upstream_password=PASSWORD,
            **urls,
        )
        gateway, worker = connect(own.redis_url, own), connect(own.redis_url, own)
        breakers = build_breakers(own, worker)
        provider = build_provider(own, build_adapter(own, worker), breakers)
        fulfiller = Fulfiller(
            build_store(own, worker, vault=VAULT), provider, build_documents(own, worker), verify, "w1"
        )
        made = Shop(gateway, worker, build_store(own, gateway, vault=VAULT), fulfiller, upstream)
        await note_vault(gateway)
        await made.warm()
        try:
            yield made
        finally:
            await fulfiller.aclose()
            await provider.aclose()
            await gateway.aclose()
            await worker.aclose()


async def calls_of(redis: Redis) -> dict[str, int]:
    seen: dict[str, Any] = await redis.info("commandstats")
    return {name.removeprefix("cmdstat_"): row["calls"] for name, row in seen.items()}


async def file_bytes(redis: Redis) -> int:
    return int((await redis.info("persistence"))["aof_current_size"])


async def test_an_order_takes_four_round_trips_from_accept_to_completed_and_one_call_upstream(
    redis: Redis, settings: Settings, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    async with shop(settings, make_settings, tmp_path) as s:
        before = (await s.upstream.state())["calls"]["total"]
        await redis.config_resetstat()
        size = await file_bytes(redis)
        order = (await s.store.submit(new_order())).order
        assert s.round_trips == 1
        await s.turn(order.id)
        calls = await calls_of(redis)
        # The server syncs its file once for what it reads in one go: so often at most.
        assert s.round_trips <= ROUND_TRIPS
        assert calls["evalsha"] <= SCRIPTS
        assert await file_bytes(redis) - size <= FILE_BYTES_MAX
        after = (await s.upstream.state())["calls"]["total"]
        assert _difference(before, after) == {"generate": 1}
        # Its picture came with the SN: no file, and no sync of one.
        assert not (tmp_path / "data" / "documents" / "qr").exists()


async def test_orders_that_go_together_share_their_round_trips(
    redis: Redis, settings: Settings, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    count = 60
    async with shop(settings, make_settings, tmp_path) as s:
        before = (await s.upstream.state())["calls"]["total"]
        accepted = await asyncio.gather(*(s.store.submit(new_order()) for _ in range(count)))
        assert s.gateway.link.writes <= math.ceil(count / PART)
        for k in range(0, count, 4):
            await asyncio.gather(*(s.turn(a.order.id) for a in accepted[k : k + 4]))
        assert s.round_trips <= ROUND_TRIPS * count * 0.8
        after = (await s.upstream.state())["calls"]["total"]
        assert _difference(before, after) == {"generate": count}


def _difference(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}
