"""What ops see and do: breakers, backlog, holds."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog
from aiohttp import web

from antrean.gateway import exchange, submissions
from antrean.gateway.ports import BreakerView
from antrean.gateway.problems import Problem
from antrean.gateway.routes import PRINCIPAL, Access, Route
from antrean.gateway.services import SERVICES
from antrean.orders.asking import asked, asked_beside
from antrean.orders.holding import PAUSED, held, text
from antrean.orders.lateness import Miss
from antrean.orders.view import rfc3339

log = structlog.get_logger(__name__)

#: Orders that will miss their deadline, shown at a time.
WILL_MISS_MAX = 100
#: Changes of a breaker that one answer holds at most, and where nothing is asked for.
HISTORY_MAX, HISTORY_DEFAULT = 1000, 200


async def breakers(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/breaker`."""
    views = request.app[SERVICES].parts.breakers
    return exchange.json_response(
        {"breakers": {name: dict(await asked(view.status())) for name, view in views.items()}}
    )


async def breaker_history(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/breaker/history?limit=`: the last changes of each breaker, newest first."""
    limit = exchange.query_integer(request, "limit", HISTORY_DEFAULT, 1, HISTORY_MAX)
    views = request.app[SERVICES].parts.breakers
    return exchange.json_response(
        {
            "breakers": {
                name: [dict(change) for change in await asked(view.history(limit))]
                for name, view in views.items()
            }
        }
    )


async def trend(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/trend`: the queue of the last two hours, as this gateway saw it."""
    return exchange.json_response(request.app[SERVICES].trend.shown())


async def override(request: web.Request) -> web.StreamResponse:
    """`PUT /v1/ops/breaker/{name}/override`."""
    view = _breaker(request)
    wanted = submissions.parse(submissions.OverrideIn, await exchange.read_json(request))
    await asked(view.override(wanted.state, wanted.reason, request[PRINCIPAL].actor, wanted.expires_in_s))
    return await _changed(request, view)


async def lift_override(request: web.Request) -> web.StreamResponse:
    """`DELETE /v1/ops/breaker/{name}/override`; the same where there is none."""
    view, reason = _breaker(request), await _why(request)
    await asked(view.lift_override(request[PRINCIPAL].actor, reason))
    return await _changed(request, view)


async def backlog(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/backlog`."""
    services = request.app[SERVICES]
    store = services.parts.store
    outlook = (await services.seen_now()).outlook
    pace, calls, late, oldest_ms, by_office, kept = await asyncio.gather(
        services.pace(),
        asked_beside(services.parts.throughput),
        services.misses(),
        store.lanes.oldest_ms(),
        store.lanes.by_office(),
        services.promises.kept(),
    )
    situation = outlook.situation
    language = exchange.language(request)
    holds = held(outlook)
    return exchange.json_response(
        {
            "by_state": {state.value: count for state, count in situation.by_state.items()},
            "by_lane": {
                "buy": situation.buy,
                "fetch": situation.fetch,
                "stamp": situation.stamp,
                "later": situation.later,
            },
            "by_office": dict(sorted(by_office.items())),
            "open": situation.open,
            "oldest_age_s": None if oldest_ms is None else max(0.0, (situation.now_ms - oldest_ms) / 1000),
            "claimed": situation.claimed,
            "in_flight": calls.in_flight,
            "concurrency_limit": calls.limit,
            "completed_per_minute": round(pace.per_minute, 1),
            "workers": pace.workers,
            "will_miss": [_miss(miss) for miss in late[:WILL_MISS_MAX]],
            "will_miss_orders": sum(miss.due.orders for miss in late),
            "promises": {turned.value: count for turned, count in kept.items()},
            "held": sum(hold.orders for hold in holds),
            "holds": [
                {
                    "reason": hold.reason,
                    "since": rfc3339(hold.since_ms),
                    "orders": hold.orders,
                    "text": text(hold.reason, language, hold.forced),
                    "forced": hold.forced,
                    "detail": hold.detail,
                    "actor": hold.actor,
                }
                for hold in holds
            ],
        }
    )


def _miss(miss: Miss) -> dict[str, Any]:
    return {
        "order_id": miss.due.id,
        "office": miss.due.office,
        "deadline": rfc3339(miss.due.deadline_ms),
        "expected_at": None if miss.expected_ms is None else rfc3339(miss.expected_ms),
        "orders": miss.due.orders,
    }


async def pause(request: web.Request) -> web.StreamResponse:
    """`PUT /v1/ops/pause`; a pause that is on already keeps its reason."""
    wanted = submissions.parse(submissions.PauseIn, await exchange.read_json(request))
    actor = request[PRINCIPAL].actor
    if await request.app[SERVICES].parts.store.hold(PAUSED, wanted.reason, actor):
        log.warning("draining paused", actor=actor, reason=wanted.reason)
    return await _pause_state(request)


async def resume(request: web.Request) -> web.StreamResponse:
    """`DELETE /v1/ops/pause`; the same where there is none."""
    reason, actor = await _why(request), request[PRINCIPAL].actor
    if await request.app[SERVICES].parts.store.unhold(PAUSED, actor):
        log.warning("draining resumed", actor=actor, reason=reason)
    return await _pause_state(request)


async def lift_balance_hold(request: web.Request) -> web.StreamResponse:
    """`DELETE /v1/ops/holds/balance_unexplained`: a person has explained the balance; purchases go on."""
    services, reason, actor = request.app[SERVICES], await _why(request), request[PRINCIPAL].actor
    lifted = await services.parts.store.account.accept_balance(actor)
    if lifted:
        log.warning("balance explained by a person", actor=actor, reason=reason)
    services.breakers_changed()
    return exchange.json_response({"lifted": lifted})


async def _why(request: web.Request) -> str:
    """The reason in the body, '' where none is given: machines lift without one. Raises Problem."""
    body = await exchange.read_json(request) if request.can_read_body else {}
    return submissions.parse(submissions.LiftIn, body).reason or ""


async def _pause_state(request: web.Request) -> web.StreamResponse:
    services = request.app[SERVICES]
    services.breakers_changed()
    hold = (await services.parts.store.situation()).holds.get(PAUSED)
    if hold is None:
        return exchange.json_response({"paused": False})
    body: dict[str, Any] = {
        "paused": True,
        "reason": hold.text,
        "since": rfc3339(hold.since_ms),
        "actor": hold.actor,
    }
    return exchange.json_response(body)


def _breaker(request: web.Request) -> BreakerView:
    view = request.app[SERVICES].parts.breakers.get(request.match_info["name"])
    if view is None:
        raise Problem("not-found", "There is no such breaker.")
    return view


async def _changed(request: web.Request, view: BreakerView) -> web.StreamResponse:
    request.app[SERVICES].breakers_changed()
    return exchange.json_response(dict(await asked(view.status())))


ROUTES = (
    Route("GET", "/v1/ops/breaker", breakers, Access.OPS),
    Route("GET", "/v1/ops/breaker/history", breaker_history, Access.OPS),
    Route("GET", "/v1/ops/trend", trend, Access.OPS),
    Route("PUT", "/v1/ops/breaker/{name}/override", override, Access.OPS),
    Route("DELETE", "/v1/ops/breaker/{name}/override", lift_override, Access.OPS),
    Route("GET", "/v1/ops/backlog", backlog, Access.OPS),
    Route("PUT", "/v1/ops/pause", pause, Access.OPS),
    Route("DELETE", "/v1/ops/pause", resume, Access.OPS),
    Route("DELETE", "/v1/ops/holds/balance_unexplained", lift_balance_hold, Access.OPS),
)
