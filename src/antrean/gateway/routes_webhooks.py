"""Webhooks, for ops: what waits, what was given up, where it fails; each office's secret."""

from __future__ import annotations

from typing import Annotated, Any

import structlog
from aiohttp import web
from pydantic import Field

from antrean.gateway import exchange, submissions
from antrean.gateway.problems import Problem
from antrean.gateway.routes import PRINCIPAL, Access, Route
from antrean.gateway.services import SERVICES
from antrean.orders.notices import Endpoint, Notice, Secrets
from antrean.orders.outbox import SHOWN_MAX
from antrean.orders.view import rfc3339

log = structlog.get_logger(__name__)

#: Longest time that an old secret may go on signing beside the new, in seconds, and what it is unless told.
OVERLAP_S_MAX = 30 * 24 * 3600
OVERLAP_S_DEFAULT = 24 * 3600

_NoticeId = Annotated[str, Field(pattern=r"^[0-9a-z]{26}-[0-9]{1,9}$")]


class ReplayNoticesIn(submissions.StrictModel):
    """Which notices to send again of those that were given up: these, or all, or all of an office."""

    ids: Annotated[list[_NoticeId], Field(min_length=1, max_length=SHOWN_MAX)] | None = None
    office: submissions.Office | None = None


class EnableIn(submissions.StrictModel):
    """An address that is asked again: host, and port where the URL names one."""

    office: submissions.Office
    host: Annotated[str, Field(min_length=1, max_length=300)]


class RotateSecretIn(submissions.StrictModel):
    """How long the old secret signs beside the new one, in seconds; 0 ends it at once."""

    overlap_s: Annotated[int, Field(ge=0, le=OVERLAP_S_MAX), submissions.Whole] = OVERLAP_S_DEFAULT


class _OfficeIn(submissions.StrictModel):
    office: submissions.Office


async def webhooks(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/webhooks`."""
    view = await request.app[SERVICES].parts.outbox.view()
    return exchange.json_response(
        {
            "pending": view.pending,
            "oldest_due_at": None if view.oldest_due_ms is None else rfc3339(view.oldest_due_ms),
            "given_up": view.given_up,
            "notices": [_notice(notice, at_ms) for notice, at_ms in view.dead],
            "disabled": [_endpoint(e) for e in view.endpoints if e.disabled_ms is not None][:SHOWN_MAX],
            "failing": [_endpoint(e) for e in view.endpoints if e.disabled_ms is None][:SHOWN_MAX],
        }
    )


async def replay(request: web.Request) -> web.StreamResponse:
    """`POST /v1/ops/webhooks/replay`."""
    body = await exchange.read_json(request) if request.can_read_body else {}
    wanted = submissions.parse(ReplayNoticesIn, body)
    outbox = request.app[SERVICES].parts.outbox
    if wanted.ids is not None:
        replayed = await outbox.replay(wanted.ids)
    else:
        replayed = await outbox.replay_all(wanted.office)
    log.info("webhooks replayed", notices=replayed, actor=request[PRINCIPAL].key_id)
    return exchange.json_response({"replayed": replayed})


async def enable(request: web.Request) -> web.StreamResponse:
    """`POST /v1/ops/webhooks/enable`."""
    wanted = submissions.parse(EnableIn, await exchange.read_json(request))
    enabled = await request.app[SERVICES].parts.outbox.enable(wanted.office, wanted.host)
    log.info(
        "webhook address enabled", office=wanted.office, host=wanted.host, actor=request[PRINCIPAL].key_id
    )
    return exchange.json_response({"enabled": enabled})


async def secret(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/webhook-secrets/{office}`."""
    office = _office(request)
    secrets = await request.app[SERVICES].parts.outbox.secrets(office)
    log.info("webhook signing key shown", office=office, actor=request[PRINCIPAL].key_id)
    return exchange.json_response(_secret(office, secrets))


async def rotate_secret(request: web.Request) -> web.StreamResponse:
    """`POST /v1/ops/webhook-secrets/{office}`."""
    office = _office(request)
    body = await exchange.read_json(request) if request.can_read_body else {}
    wanted = submissions.parse(RotateSecretIn, body)
    services = request.app[SERVICES]
    now_ms = (await services.parts.store.situation()).now_ms
    fresh = await services.parts.outbox.rotate(office, wanted.overlap_s * 1000, now_ms)
    log.info("webhook signing key rotated", office=office, actor=request[PRINCIPAL].key_id)
    return exchange.json_response(_secret(office, fresh))


def _office(request: web.Request) -> str:
    try:
        return submissions.parse(_OfficeIn, {"office": request.match_info["office"]}).office
    except Problem:
        raise Problem("not-found", "No office has such a name.") from None


def _secret(office: str, secrets: Secrets) -> dict[str, Any]:
    until = rfc3339(secrets.overlap_until_ms) if secrets.previous is not None else None
    return {"office": office, "secret": secrets.current, "previous_until": until}


def _notice(notice: Notice, at_ms: int) -> dict[str, Any]:
    return {
        "id": notice.id,
        "order_id": notice.order_id,
        "office": notice.office,
        "type": notice.type,
        "at": rfc3339(notice.at_ms),
        "given_up_at": rfc3339(at_ms),
        "tries": notice.tries,
        "why": notice.why,
    }


def _endpoint(endpoint: Endpoint) -> dict[str, Any]:
    disabled = endpoint.disabled_ms
    return {
        "office": endpoint.office,
        "host": endpoint.host,
        "failing_since": rfc3339(endpoint.since_ms),
        "failures": endpoint.failures,
        "why": endpoint.why,
        "disabled_at": None if disabled is None else rfc3339(disabled),
    }


ROUTES = (
    Route("GET", "/v1/ops/webhooks", webhooks, Access.OPS),
    Route("POST", "/v1/ops/webhooks/replay", replay, Access.OPS),
    Route("POST", "/v1/ops/webhooks/enable", enable, Access.OPS),
    Route("GET", "/v1/ops/webhook-secrets/{office}", secret, Access.OPS),
    Route("POST", "/v1/ops/webhook-secrets/{office}", rotate_secret, Access.OPS),
)
