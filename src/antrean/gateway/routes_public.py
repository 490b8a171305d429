"""What needs no key, for machines: liveness, readiness, metrics from this machine."""

from __future__ import annotations

import asyncio
import shutil
from functools import partial
from pathlib import Path

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from antrean.config.durability import replicas_of
from antrean.gateway import exchange
from antrean.gateway.metrics import Facts
from antrean.gateway.routes import Access, Route
from antrean.gateway.services import SERVICES, Seen, Services
from antrean.orders.asking import asked_beside
from antrean.orders.books import difference_idr
from antrean.orders.calls import read_calls
from antrean.orders.ledger import Ledger
from antrean.orders.model import StoreUnavailable

log = structlog.get_logger(__name__)


async def healthz(_request: web.Request) -> web.StreamResponse:
    """Alive."""
    return exchange.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.StreamResponse:
    """Able to accept orders durably, or why not."""
    reasons = await request.app[SERVICES].not_ready()
    if reasons:
        body = {"status": "not ready", "reasons": reasons}
        return exchange.json_response(body, 503, {"Retry-After": "5"})
    return exchange.json_response({"status": "ready"})


async def metrics(request: web.Request) -> web.StreamResponse:
    """Prometheus' text. With the store away it lacks what is shared, and says that this gateway accepts nothing."""
    services = request.app[SERVICES]
    ready = {what: not reasons for what, reasons in (await services.readiness()).items()}
    free_bytes = await asyncio.to_thread(_free_bytes, services.parts.settings.data_dir)
    services.metrics.watched(services.parts.hub.watches)
    text = services.metrics.own_text(ready, free_bytes)
    try:
        seen = await services.seen()
        text += services.metrics.shared_text(seen.outlook, seen.breakers, await _facts(services, seen))
    except StoreUnavailable as error:
        log.warning("the metrics lack what is shared", why=str(error))
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


async def _facts(services: Services, seen: Seen) -> Facts:
    parts = services.parts
    # By the clock that dated orders and beats; this machine's may be another.
    now_ms = seen.outlook.situation.now_ms
    (
        totals,
        calls,
        oldest_ms,
        throughput,
        replication,
        workers,
        pool_serials,
        webhooks,
        *retries,
    ) = await asyncio.gather(
        Ledger(parts.store).totals(),
        read_calls(parts.redis),
        parts.store.lanes.oldest_ms(),
        asked_beside(parts.throughput),
        asked_beside(partial(parts.redis.info, "replication")),
        parts.store.alive(now_ms),
        parts.store.account.pooled(),
        parts.outbox.counts(),
        *(asked_beside(breaker.retry_budget) for breaker in parts.breakers.values()),
    )
    return Facts(
        ledger_idr=totals,
        ledger_difference_idr=difference_idr(totals),
        oldest_age_s=None if oldest_ms is None else max(0.0, (now_ms - oldest_ms) / 1000),
        concurrency_limit=throughput.limit,
        redis_replicas=replicas_of(replication),
        calls=calls,
        retries=dict(zip(parts.breakers, retries, strict=True)),
        workers=workers,
        pool_serials=pool_serials,
        webhooks=webhooks,
    )


def _free_bytes(folder: Path) -> int | None:
    """Free space there; None where the folder does not exist."""
    try:
        return shutil.disk_usage(folder).free
    except FileNotFoundError:
        return None


ROUTES = (
    Route("GET", "/healthz", healthz, Access.PUBLIC),
    Route("GET", "/readyz", readyz, Access.PUBLIC),
    Route("GET", "/metrics", metrics, Access.OPS_OR_LOOPBACK),
)
