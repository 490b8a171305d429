"""What needs no key, for machines: liveness, readiness, metrics from this machine."""

from __future__ import annotations

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from antrean.gateway import exchange
from antrean.gateway.routes import Access, Route
from antrean.gateway.services import SERVICES


async def healthz(_request: web.Request) -> web.Response:
    """Alive."""
    return exchange.json_response({"status": "alive"})


async def readyz(request: web.Request) -> web.Response:
    """Able to accept orders durably, or why not."""
    reasons = await request.app[SERVICES].not_ready()
    if reasons:
        body = {"status": "not ready", "reasons": reasons}
        return exchange.json_response(body, 503, {"Retry-After": "5"})
    return exchange.json_response({"status": "ready"})


async def metrics(request: web.Request) -> web.Response:
    """Prometheus' text."""
    services = request.app[SERVICES]
    seen = await services.seen()
    services.metrics.webhooks(await services.parts.outbox.counts())
    text = services.metrics.text(seen.outlook, seen.breakers, services.parts.hub.watches)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


ROUTES = (
    Route("GET", "/healthz", healthz, Access.PUBLIC),
    Route("GET", "/readyz", readyz, Access.PUBLIC),
    Route("GET", "/metrics", metrics, Access.OPS_OR_LOOPBACK),
)
