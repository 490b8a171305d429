"""The pages: counter console, ops dashboard, ticket page, and the files they are made of. None needs a key."""

from __future__ import annotations

import io
from http import HTTPStatus
from typing import Any

import segno
from aiohttp import web

from antrean.gateway import exchange
from antrean.gateway.problems import Problem
from antrean.gateway.routes import Access, Handler, Route
from antrean.gateway.services import SERVICES
from antrean.gateway.sessions import is_https
from antrean.gateway.ticket_words import filled
from antrean.gateway.tickets import Ticket
from antrean.gateway.web_files import BUILD, FILES
from antrean.orders import ids
from antrean.orders.model import StoreUnavailable
from antrean.orders.view import Look, render_ticket


async def static(request: web.Request) -> web.StreamResponse:
    """`GET /static/{build}/{name}`. Under another build's name it is served as it is now, and not to be kept."""
    found = FILES.get(request.match_info["name"])
    if found is None:
        raise Problem("not-found", "There is no such file.")
    return found.response(request, keep=request.match_info["build"] == BUILD)


async def ticket(request: web.Request) -> web.StreamResponse:
    """`GET /v1/tickets/{token}`: for the one who waits; no personal data."""
    return exchange.json_response(await _shown_ticket(request, await _ticket(request)))


async def ticket_qr(request: web.Request) -> web.StreamResponse:
    """`GET /v1/tickets/{token}/qr`: the address of the ticket's page as a QR code, SVG."""
    order = (await _ticket(request)).order
    base = request.app[SERVICES].base_url
    if not base:
        base = f"{'https' if is_https(request) else 'http'}://{request.host}"
    picture = io.BytesIO()
    segno.make(f"{base}/t/{order.ticket_token}", error="m", micro=False).save(
        picture,
        kind="svg",
        border=2,
        xmldecl=False,
        svgclass=None,
        lineclass=None,
        light="#fff",
        omitsize=True,
    )
    return web.Response(body=picture.getvalue(), content_type="image/svg+xml")


async def ticket_page(request: web.Request) -> web.StreamResponse:
    """`GET /t/{token}`: the page with the ticket's state in it and in words: no second call, no script is needed."""
    page = FILES["ticket.html"]
    try:
        shown = await _shown_ticket(request, await _ticket(request))
    except Problem as problem:
        if problem.status == HTTPStatus.NOT_FOUND:
            return FILES["missing.html"].response(request, keep=False, status=404)
    except StoreUnavailable:
        pass
    else:
        return _with_ticket(page.body, shown)
    # The page asks again by itself, and says so.
    return _with_ticket(page.body, None)


def _with_ticket(page: bytes, shown: dict[str, Any] | None) -> web.StreamResponse:
    return web.Response(body=filled(page, shown), content_type="text/html", charset="utf-8")


def _no_ticket() -> Problem:
    return Problem("not-found", "There is no such ticket.")


async def _ticket(request: web.Request) -> Ticket:
    token, services = request.match_info["token"], request.app[SERVICES]
    if not ids.is_token(token):
        raise _no_ticket()
    found = await services.tickets.of(token)
    if found is None:
        # Looking into the archive costs some ms, and anybody may make tokens up.
        tries = services.old_tickets.take(request.remote or "")
        if not tries.allowed:
            headers = {"Retry-After": str(tries.retry_s)}
            raise Problem(
                "too-many-requests", "Too many old tickets are asked for just now.", headers=headers
            )
        found = await services.tickets.of(token, old=True)
    if found is None:
        raise _no_ticket()
    return found


async def _shown_ticket(request: web.Request, ticket: Ticket) -> dict[str, Any]:
    services = request.app[SERVICES]
    seen, pace = await services.seen(), await services.pace()
    look = Look(services.base_url, exchange.language(request))
    return render_ticket(ticket.order, ticket.rank, seen.outlook, pace, look)


def _page(name: str) -> Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        return FILES[name].response(request, keep=False)

    return serve


ROUTES = (
    Route("GET", "/", _page("index.html"), Access.PUBLIC),
    Route("GET", "/ops", _page("ops.html"), Access.PUBLIC),
    Route("GET", "/t/{token}", ticket_page, Access.PUBLIC),
    Route("GET", "/v1/tickets/{token}", ticket, Access.PUBLIC),
    Route("GET", "/v1/tickets/{token}/qr", ticket_qr, Access.PUBLIC),
    Route("GET", "/static/{build}/{name}", static, Access.PUBLIC),
    Route("GET", "/favicon.ico", _page("favicon.svg"), Access.PUBLIC),
)
