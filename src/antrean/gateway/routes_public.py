"""What needs no key: tickets, liveness, readiness, metrics from this machine, and the first page."""

from __future__ import annotations

from importlib import resources

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST

from antrean.gateway import exchange
from antrean.gateway.problems import Problem
from antrean.gateway.routes import Access, Handler, Route
from antrean.gateway.services import SERVICES
from antrean.orders import ids
from antrean.orders.view import Look, render_ticket

#: Files of the pages, by path: no other file is served.
_FILES = {
    "/": ("index.html", "text/html"),
    "/static/style.css": ("style.css", "text/css"),
    "/favicon.ico": ("favicon.svg", "image/svg+xml"),
    "/static/favicon.svg": ("favicon.svg", "image/svg+xml"),
}


async def ticket(request: web.Request) -> web.Response:
    """`GET /v1/tickets/{token}`: for the one who waits; no personal data."""
    services = request.app[SERVICES]
    token = request.match_info["token"]
    order = await services.parts.store.by_ticket(token) if ids.is_token(token) else None
    if order is None:
        raise Problem("not-found", "There is no such ticket.")
    rank, seen, pace = await services.ranks.of(order), await services.seen(), await services.pace()
    look = Look(services.base_url, exchange.language(request))
    return exchange.json_response(render_ticket(order, rank, seen.outlook, pace, look))


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
    text = services.metrics.text(seen.outlook, seen.breakers, services.parts.hub.watches)
    return web.Response(body=text, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _file(name: str, content_type: str) -> Handler:
    body = resources.files("antrean.gateway").joinpath("web", name).read_bytes()

    async def serve(_request: web.Request) -> web.Response:
        headers = {"Cache-Control": "no-cache"}
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=headers)

    return serve


ROUTES = (
    Route("GET", "/v1/tickets/{token}", ticket, Access.PUBLIC),
    Route("GET", "/healthz", healthz, Access.PUBLIC),
    Route("GET", "/readyz", readyz, Access.PUBLIC),
    Route("GET", "/metrics", metrics, Access.OPS_OR_LOOPBACK),
    *(Route("GET", path, _file(*file), Access.PUBLIC) for path, file in _FILES.items()),
)
