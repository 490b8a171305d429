"""Who asks, and whether they may: keys, roles, rates. One middleware's worth, with no route in it."""

from __future__ import annotations

import ipaddress

from aiohttp import web

from antrean.gateway.keys import Principal
from antrean.gateway.problems import Problem
from antrean.gateway.ratelimit import Allowance
from antrean.gateway.routes import ROLES, Access
from antrean.gateway.services import Services

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="antrean"'}
#: Headers that a proxy adds: a request with one does not come from this machine, whatever its address.
_PROXIED = ("Forwarded", "X-Forwarded-For", "X-Real-IP")


async def admit(
    services: Services, request: web.Request, access: Access | None
) -> tuple[Principal | None, Allowance | None]:
    """The one who asks, and what is left of the key's rate; None and None where no key is needed.

    `access` None: no route of ours; a key is asked for all the same. Raises Problem 401, 403 or 429.
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


async def _authenticate(services: Services, request: web.Request) -> Principal:
    scheme, _, text = request.headers.get("Authorization", "").partition(" ")
    text = text.strip()
    if scheme.lower() != "bearer" or not text:
        raise Problem("unauthorized", "Send Authorization: Bearer <key>.", headers=_CHALLENGE)
    address = request.remote or ""
    keys = services.parts.keys
    if not keys.is_cached(text):
        tries = services.wrong_keys.take(address, 0)
        if not tries.allowed:
            headers = {"Retry-After": str(tries.retry_s)}
            raise Problem("too-many-requests", "Too many wrong keys from this address.", headers=headers)
    principal = await keys.verify(text)
    if principal is None:
        services.wrong_keys.take(address)
        raise Problem(
            "unauthorized", "The key is not known, was revoked, or has expired.", headers=_CHALLENGE
        )
    return principal
