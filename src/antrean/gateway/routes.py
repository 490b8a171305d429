"""A route as a row of a table: method, path, handler, and who may. The authorization test walks all rows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

from aiohttp import web

from antrean.gateway.keys import Principal, Role
from antrean.gateway.ratelimit import Allowance

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Access(Enum):
    """Who may call a route."""

    #: Anybody, without a key.
    PUBLIC = auto()
    #: Ops, or anybody on this machine.
    OPS_OR_LOOPBACK = auto()
    #: Ops.
    OPS = auto()
    #: Those at a counter, for their own office.
    COUNTER = auto()
    #: A supervisor for the own office, ops for all.
    SUPERVISION = auto()
    #: Those at a counter for their own office, ops for all.
    ANY_KEY = auto()


ROLES: dict[Access, frozenset[Role]] = {
    Access.PUBLIC: frozenset(Role),
    Access.OPS_OR_LOOPBACK: frozenset({Role.OPS}),
    Access.OPS: frozenset({Role.OPS}),
    Access.COUNTER: frozenset({Role.TERMINAL, Role.SUPERVISOR}),
    Access.SUPERVISION: frozenset({Role.SUPERVISOR, Role.OPS}),
    Access.ANY_KEY: frozenset(Role),
}


@dataclass(frozen=True, slots=True)
class Route:
    """One row. `own_order`: the path names an order, which must be of the key's office."""

    method: str
    path: str
    handler: Handler
    access: Access
    own_order: bool = False


#: What is left of the key's rate; every answer carries it.
ALLOWANCE = web.RequestKey("allowance", Allowance)
PRINCIPAL = web.RequestKey("principal", Principal)
REQUEST_ID = web.RequestKey("request_id", str)
