"""API keys over HTTP, for ops: list, make, replace with an overlap, revoke."""

from __future__ import annotations

import time
from typing import Annotated, Any

import structlog
from aiohttp import web
from pydantic import ConfigDict, Field

from antrean.gateway import exchange, submissions
from antrean.gateway.keys import NO_OFFICE, KeyRecord, Role
from antrean.gateway.problems import Problem, invalid
from antrean.gateway.routes import PRINCIPAL, Access, Route
from antrean.gateway.services import SERVICES
from antrean.orders.view import rfc3339

log = structlog.get_logger(__name__)

#: Longest life that a key may be given, and longest time that an old one may go on beside the new, in seconds.
LIFE_S_MAX = 10 * 366 * 24 * 3600
OVERLAP_S_MAX = 30 * 24 * 3600
OVERLAP_S_DEFAULT = 24 * 3600


class KeyIn(submissions.StrictModel):
    """A new key. One for ops needs no office."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"role": {"const": "ops"}}},
                {"properties": {"office": {"type": "string"}}, "required": ["office"]},
            ]
        }
    )

    role: Annotated[Role, Field(strict=False)]
    office: submissions.Office | None = None
    expires_in_s: Annotated[int, Field(ge=1, le=LIFE_S_MAX), submissions.Whole] | None = None


class RotateIn(submissions.StrictModel):
    """How long the old key goes on, in seconds; 0 ends it at once."""

    overlap_s: Annotated[int, Field(ge=0, le=OVERLAP_S_MAX), submissions.Whole] = OVERLAP_S_DEFAULT


async def list_keys(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/keys`."""
    ring = request.app[SERVICES].parts.keys
    used_ms = await ring.last_used_ms()
    shown = [_shown(record, used_ms.get(record.id)) for record in await ring.list()]
    return exchange.json_response({"keys": shown})


async def create(request: web.Request) -> web.StreamResponse:
    """`POST /v1/ops/keys`."""
    wanted = submissions.parse(KeyIn, await exchange.read_json(request))
    expires_ms = None if wanted.expires_in_s is None else _now_ms() + wanted.expires_in_s * 1000
    ring = request.app[SERVICES].parts.keys
    if wanted.office is None and wanted.role is not Role.OPS:
        raise invalid("office", "missing", f"is required: a {wanted.role} key belongs to one")
    text, record = await ring.make(wanted.role, wanted.office or NO_OFFICE, expires_ms)
    log.info(
        "key made", key=record.id, role=record.role, office=record.office, actor=request[PRINCIPAL].key_id
    )
    return exchange.json_response(_shown(record, None) | {"key": text}, 201)


async def rotate(request: web.Request) -> web.StreamResponse:
    """`POST /v1/ops/keys/{id}/rotate`."""
    body = await exchange.read_json(request) if request.can_read_body else {}
    wanted = submissions.parse(RotateIn, body)
    record = await _ours(request)
    made = await request.app[SERVICES].parts.keys.rotate(record.id, wanted.overlap_s * 1000)
    if made is None:
        raise Problem("key-ended", "It was revoked or has expired. Make a new key instead.")
    text, successor = made
    log.info("key replaced", key=record.id, by=successor.id, actor=request[PRINCIPAL].key_id)
    return exchange.json_response(_shown(successor, None) | {"key": text}, 201)


async def revoke(request: web.Request) -> web.StreamResponse:
    """`DELETE /v1/ops/keys/{id}`: ends it on all gateways; the same for one that was revoked before."""
    record = await _ours(request)
    if record.id == request[PRINCIPAL].key_id:
        raise Problem("key-in-use", "Revoke it with another key, or rotate it.")
    ring = request.app[SERVICES].parts.keys
    await ring.revoke(record.id)
    log.info("key revoked", key=record.id, actor=request[PRINCIPAL].key_id)
    return exchange.json_response(_shown(await _record(request), (await ring.last_used_ms()).get(record.id)))


async def _record(request: web.Request) -> KeyRecord:
    record = await request.app[SERVICES].parts.keys.find(request.match_info["id"])
    if record is None:
        raise Problem("not-found", "There is no such key.")
    return record


async def _ours(request: web.Request) -> KeyRecord:
    """The key in the path, if it may be ended over HTTP. Raises Problem."""
    record = await _record(request)
    if record.fixed:
        # The last way in must not be taken away by a key that was stolen.
        raise Problem("key-fixed", "It is set in the settings; `antrean keys revoke` ends it.")
    return record


def _shown(record: KeyRecord, used_ms: int | None) -> dict[str, Any]:
    return {
        "id": record.id,
        "role": record.role,
        "office": record.office,
        "created_at": rfc3339(record.created_ms),
        "expires_at": _time(record.expires_ms),
        "revoked_at": _time(record.revoked_ms),
        "last_used_at": _time(used_ms),
        "replaces": record.replaces,
        "fixed": record.fixed,
    }


def _time(ms: int | None) -> str | None:
    return None if ms is None else rfc3339(ms)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


ROUTES = (
    Route("GET", "/v1/ops/keys", list_keys, Access.OPS),
    Route("POST", "/v1/ops/keys", create, Access.OPS),
    Route("POST", "/v1/ops/keys/{id}/rotate", rotate, Access.OPS),
    Route("DELETE", "/v1/ops/keys/{id}", revoke, Access.OPS),
)
