"""Personal data: who looked at it, and its erasure before its time."""

from __future__ import annotations

from aiohttp import web

from antrean.gateway import exchange, submissions
from antrean.gateway.keys import Role
from antrean.gateway.problems import Problem
from antrean.gateway.routes import PRINCIPAL, Access, Route
from antrean.gateway.routes_books import for_ops
from antrean.gateway.routes_orders import own_order, shown_order
from antrean.gateway.services import SERVICES
from antrean.orders import accesses
from antrean.orders.erasure import Eraser
from antrean.orders.model import IllegalMove
from antrean.orders.view import rfc3339


class EraseIn(submissions.StrictModel):
    """Why personal data is erased before its time."""

    reason: submissions.Reason


async def access(request: web.Request) -> web.StreamResponse:
    """`GET /v1/orders/{id}/access`: who looked at the order's personal data, the latest first."""
    services = request.app[SERVICES]
    order = await own_order(request)
    if request[PRINCIPAL].role is Role.TERMINAL:
        raise Problem("forbidden", "Only a key with the role supervisor or ops may do that.")
    await services.access_log.flush()
    rows = await accesses.read_of(services.parts.redis, order)
    return exchange.json_response(
        {"access": [{"at": rfc3339(row.at_ms), "actor": row.actor, "what": row.what} for row in rows]}
    )


async def erase(request: web.Request) -> web.StreamResponse:
    """`POST /v1/orders/{id}/erase`: erase the personal data of an order at its end."""
    order_id = (await for_ops(request)).id
    wanted = submissions.parse(EraseIn, await exchange.read_json(request))
    parts = request.app[SERVICES].parts
    try:
        await Eraser(parts.store, parts.documents).erase(
            order_id, f"personal data erased by {request[PRINCIPAL].actor}: {wanted.reason}"
        )
    except IllegalMove:
        raise Problem("not-erasable", "It is not at its end yet.") from None
    return exchange.json_response(await shown_order(request, await own_order(request)))


ROUTES = (
    Route("GET", "/v1/orders/{id}/access", access, Access.ANY_KEY, own_order=True),
    Route("POST", "/v1/orders/{id}/erase", erase, Access.ANY_KEY, own_order=True),
)
