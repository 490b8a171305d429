"""Who asks, and whether they may: keys, roles, rates. What the middleware calls; it knows no route."""

from __future__ import annotations

import ipaddress

from aiohttp import web

from antrean.gateway import sessions
from antrean.gateway.keys import Principal
from antrean.gateway.problems import Problem
from antrean.gateway.ratelimit import Allowance
from antrean.gateway.routes import PRINCIPAL, ROLES, Access
from antrean.gateway.services import Services

#: Methods that change nothing, whoever sends them.
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="antrean"'}
#: Headers that a proxy adds: a request with one does not come from this machine, whatever its address.
_PROXIED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


async def admit(
    services: Services, request: web.Request, access: Access | None
) -> tuple[Principal | None, Allowance | None]:
    """Who asks, and what is left of the key's rate; None and None where no key is needed.

    `access` None: there is no such route, but a key is needed all the same. Raises Problem 401, 403 or 429.
    """
    if access is Access.PUBLIC:
        return None, None
    if access is Access.OPS_OR_LOOPBACK and is_loopback(request):
        return None, None
    principal = await _authenticate(services, request)
    allowance = services.key_buckets.take(principal.key_id)
    if not allowance.allowed:
        headers = allowance.headers | {"Retry-After": str(allowance.retry_s)}
        raise Problem("too-many-requests", "This key asks more often than it may.", headers=headers)
    if access is not None and principal.role not in ROLES[access]:
        raise Problem(
            "forbidden", f"A key with the role {principal.role} may not do that.", headers=allowance.headers
        )
    return principal, allowance


def is_loopback(request: web.Request) -> bool:
    """Whether the peer is on this machine and stands for nobody else."""
    if any(name in request.headers for name in _PROXIED):
        return False
    try:
        return ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        return False


def bearer(request: web.Request) -> str | None:
    """The key in the Authorization header."""
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    return text.strip() or None if scheme.lower() == "bearer" else None


def no_key() -> Problem:
    """Neither a key nor a session came with the request."""
    return Problem("unauthorized", "Send Authorization: Bearer <key>.", headers=_CHALLENGE)


async def verify(services: Services, request: web.Request, text: str) -> Principal:
    """Whose key this is. Raises Problem 401, or 429 where too many wrong ones came from that address."""
    principal = await services.parts.keys.verify(text)
    if principal is None:
        raise await _wrong(services, request, "The key is not known, was revoked, or has expired.")
    return principal


async def still_admitted(services: Services, request: web.Request) -> bool:
    """Whether whoever began this request may still go on with it: keys and sessions end. Raises StoreUnavailable."""
    try:
        return await _authenticate(services, request) == request[PRINCIPAL]
    except Problem:
        return False


async def _authenticate(services: Services, request: web.Request) -> Principal:
    if (text := bearer(request)) is not None:
        return await verify(services, request, text)
    token = sessions.cookie_token(request)
    if token is None or "Authorization" in request.headers:
        raise no_key()
    session = await services.sessions.find(token)
    principal = None if session is None else await services.parts.keys.verify_digest(session.key_digest)
    if principal is None:
        raise await _wrong(services, request, "The session is at its end. Sign in again.")
    if request.method not in _SAFE and sessions.PAGE_HEADER not in request.headers:
        raise Problem("not-our-page", f"With a session cookie, send the header {sessions.PAGE_HEADER}: 1.")
    owner = request.headers.get(sessions.OWNER_HEADER)
    if owner is not None and owner != f"{principal.role}:{principal.office}":
        # Not counted as a guess at a key: the cookie is good, but the page belongs to somebody else.
        raise Problem(
            "unauthorized", "Somebody else has signed in meanwhile. Sign in again.", headers=_CHALLENGE
        )
    return principal


async def _wrong(services: Services, request: web.Request, message: str) -> Problem:
    """The answer to a wrong key. Right keys are never slowed for it: behind a proxy all come from one address.

    A Redis that has lost its data has lost the keys as well. A counter is then not told that its key is wrong.
    """
    if not await services.keeps_orders():
        return Problem("unavailable", "Keys can not be judged just now. Try again with the same one.")
    tries = services.wrong_keys.take(request.remote or "")
    if tries.allowed:
        return Problem("unauthorized", message, headers=_CHALLENGE)
    headers = {"Retry-After": str(tries.retry_s)}
    return Problem("too-many-requests", "Too many wrong keys from this address.", headers=headers)
