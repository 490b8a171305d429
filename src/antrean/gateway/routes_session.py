"""Signing in and out: a key exchanged for a session cookie, for people at a browser."""

from __future__ import annotations

from typing import Annotated, Any

from aiohttp import web
from pydantic import Field

from antrean.gateway import access, exchange, sessions, submissions
from antrean.gateway.keys import KEY_CHARS_MAX, Principal
from antrean.gateway.problems import Problem
from antrean.gateway.routes import PRINCIPAL, Access, Route
from antrean.gateway.services import SERVICES
from antrean.orders.view import rfc3339


class SessionIn(submissions.StrictModel):
    """The key, where it does not stand in the header."""

    key: Annotated[str, Field(max_length=KEY_CHARS_MAX)] = ""


async def sign_in(request: web.Request) -> web.StreamResponse:
    """`POST /v1/session`: the key in the Authorization header or in the body; 201 and the cookie."""
    services = request.app[SERVICES]
    text = access.bearer(request)
    if request.can_read_body:
        in_body = submissions.parse(SessionIn, await exchange.read_json(request)).key.strip()
        text = text or in_body
    if not text:
        raise access.no_key()
    principal = await access.verify(services, request, text)
    allowance = services.sign_ins.take(principal.key_id)
    if not allowance.allowed:
        headers = {"Retry-After": str(allowance.retry_s)}
        raise Problem("too-many-requests", "This key signs in more often than people do.", headers=headers)
    token, session = await services.sessions.open(services.parts.keys.digest_of(text))
    response = exchange.json_response(_shown(principal, session), 201)
    sessions.set_cookie(request, response, token)
    return response


async def who_am_i(request: web.Request) -> web.StreamResponse:
    """`GET /v1/session`: whose key or session this is."""
    token = sessions.cookie_token(request)
    session = None
    if access.bearer(request) is None and token is not None:
        session = await request.app[SERVICES].sessions.find(token)
    return exchange.json_response(_shown(request[PRINCIPAL], session))


async def sign_out(request: web.Request) -> web.StreamResponse:
    """`DELETE /v1/session`: ends the session of the cookie; a key goes on as it was."""
    response = web.Response(status=204)
    if (token := sessions.cookie_token(request)) is not None:
        await request.app[SERVICES].sessions.close(token)
        sessions.drop_cookie(request, response)
    return response


def _shown(principal: Principal, session: sessions.Session | None) -> dict[str, Any]:
    return {
        "key_id": principal.key_id,
        "role": principal.role,
        "office": principal.office,
        "expires_at": None if session is None else rfc3339(session.expires_ms),
    }


ROUTES = (
    # Public, since the handler itself looks at the key: a first sign-in has no header yet.
    Route("POST", "/v1/session", sign_in, Access.PUBLIC),
    Route("GET", "/v1/session", who_am_i, Access.ANY_KEY),
    Route("DELETE", "/v1/session", sign_out, Access.ANY_KEY),
)
