"""The application: the table of routes, and what happens around every request.

request id ─▶ security headers ─▶ errors as problems ─▶ key, role, rate ─▶ handler
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.typedefs import Middleware

from antrean.config.tasks import cancelled
from antrean.gateway import (
    routes_books,
    routes_documents,
    routes_keys,
    routes_ops,
    routes_orders,
    routes_privacy,
    routes_public,
    routes_reference,
    routes_session,
    routes_web,
    routes_webhooks,
)
from antrean.gateway.access import admit
from antrean.gateway.headers import API_HEADERS, PAGE_HEADERS
from antrean.gateway.parts import GatewayParts
from antrean.gateway.problems import Problem
from antrean.gateway.reference import Reference
from antrean.gateway.routes import ALLOWANCE, PRINCIPAL, REQUEST_ID, Route
from antrean.gateway.services import SERVICES, Services
from antrean.orders.archive import ArchiveDamaged
from antrean.orders.documents import DocumentStoreUnavailable
from antrean.orders.model import StoreUnavailable
from antrean.orders.vault import Unreadable

log = structlog.get_logger(__name__)

#: All routes, a file a noun.
ROUTES: tuple[Route, ...] = (
    *routes_orders.ROUTES,
    *routes_documents.ROUTES,
    *routes_ops.ROUTES,
    *routes_books.ROUTES,
    *routes_keys.ROUTES,
    *routes_privacy.ROUTES,
    *routes_webhooks.ROUTES,
    *routes_public.ROUTES,
    *routes_session.ROUTES,
    *routes_web.ROUTES,
    *routes_reference.ROUTES,
)

#: Seconds between the failure of a background loop and its next beginning.
RESTART_PAUSE_S = 1.0
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_Next = Callable[[web.Request], Awaitable[web.StreamResponse]]


def create_app(parts: GatewayParts) -> web.Application:
    """The application on these parts. It runs the event hub, and wakes all who wait when it stops."""
    services = Services(parts)
    by_handler: dict[object, Route] = {}
    app = web.Application(middlewares=[_around(services, by_handler)])
    app[SERVICES] = services
    app[routes_reference.REFERENCE] = Reference(ROUTES)
    for route in ROUTES:
        # aiohttp answers HEAD with the handler of GET. A stream has no end, so it gets no HEAD.
        if route.method == "GET" and not route.path.endswith("/events"):
            app.router.add_get(route.path, route.handler, expect_handler=_expected)
        else:
            app.router.add_route(route.method, route.path, route.handler, expect_handler=_expected)
        by_handler.setdefault(route.handler, route)
    app.cleanup_ctx.append(_background)
    app.on_shutdown.append(_wake_all)
    app.on_response_prepare.append(_add_headers)
    return app


async def _expected(request: web.Request) -> None:
    """Ask for the body where the client waits to be asked. What else it may expect is passed over, as it may be
    (RFC 9110, 10.1.1): aiohttp's own refusal is no problem of ours, and repeats what was sent."""
    if request.version == HttpVersion11 and request.headers.get("Expect", "").lower() == "100-continue":
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # The answer itself has not begun.
        request.writer.output_size = 0


async def _background(app: web.Application) -> AsyncIterator[None]:
    services = app[SERVICES]
    loops = (services.parts.hub.run, services.tell_of_holds, services.trend.run, services.access_log.run)
    tasks = [asyncio.create_task(kept_running(loop)) for loop in loops]
    yield
    await cancelled(tasks)
    with contextlib.suppress(StoreUnavailable):
        await services.access_log.flush()


async def kept_running(loop: Callable[[], Awaitable[None]], pause_s: float = RESTART_PAUSE_S) -> None:
    """Run a loop until cancelled. One that fails is logged as an error and started again: without it looks at personal
    data would not be noted, or readers not be woken."""
    while True:
        try:
            await loop()
        except Exception:
            log.exception("a background loop failed", loop=loop.__qualname__)
        await asyncio.sleep(pause_s)


async def _wake_all(app: web.Application) -> None:
    app[SERVICES].parts.hub.close()


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """An `Answer` in one piece is sent past this, and has the same by itself."""
    headers = response.headers
    is_page = headers.get("Content-Type", "").startswith("text/html")
    headers.update(PAGE_HEADERS if is_page else API_HEADERS)
    headers.setdefault("Cache-Control", "no-store")
    if request_id := request.get(REQUEST_ID):
        headers["X-Request-ID"] = request_id
    if (allowance := request.get(ALLOWANCE)) is not None:
        headers.update(allowance.headers)


def _around(services: Services, by_handler: Mapping[object, Route]) -> Middleware:
    @web.middleware
    async def around(request: web.Request, handler: _Next) -> web.StreamResponse:
        given = request.headers.get("X-Request-ID")
        # It only names a line in a log, so it need not be unguessable.
        request_id = given if given and _REQUEST_ID.fullmatch(given) else f"{random.getrandbits(128):032x}"
        request[REQUEST_ID] = request_id
        route = by_handler.get(request.match_info.handler)
        started_s = time.perf_counter()
        # Each request runs in a context of its own, so nothing has to be unbound.
        structlog.contextvars.bind_contextvars(request_id=request_id)
        try:
            response = await _answer(services, request, route, handler)
        except Problem as problem:
            response = problem.response(request_id)
        method, path = (request.method, route.path) if route else ("(any)", "(none)")
        services.metrics.answered(method, path, response.status, time.perf_counter() - started_s)
        return response

    return around


async def _answer(
    services: Services, request: web.Request, route: Route | None, handler: _Next
) -> web.StreamResponse:
    """The handler's answer. Whatever is raised instead becomes a Problem, which tells nothing of what is inside."""
    try:
        if route is not None or request.path.startswith("/v1/"):
            # Addresses under /v1/ that do not exist want a key as well, so a stranger cannot tell which do.
            principal, allowance = await admit(services, request, route.access if route else None)
            if principal is not None and allowance is not None:
                request[PRINCIPAL] = principal
                request[ALLOWANCE] = allowance
        if route is None and (no_route := request.match_info.http_exception) is not None:
            raise no_route
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        raise Problem("method-not-allowed", f"Allowed: {allowed}.", headers={"Allow": allowed}) from None
    except web.HTTPNotFound:
        raise Problem("not-found", "There is nothing here.") from None
    except web.HTTPRequestEntityTooLarge:
        raise Problem("body-too-large", "The body is too large.") from None
    except web.HTTPException as error:
        name = "bad-request" if error.status < 500 else "internal-error"
        raise Problem(name, "The request can not be read.") from None
    except ArchiveDamaged as error:
        log.error("the archive has a hole", why=str(error))
        raise Problem("internal-error", error.advice) from None
    except StoreUnavailable as error:
        log.warning("the order store is away", why=str(error))
        services.store_is_away()
        raise Problem(
            "unavailable", "The order store does not answer. Try again with the same key."
        ) from None
    except DocumentStoreUnavailable as error:
        log.warning("the document store is away", why=str(error))
        raise Problem("unavailable", "The document store does not answer. Try again.") from None
    except Unreadable as error:
        log.error("what is encrypted is not for the keys of this process", why=str(error))
        raise Problem(
            "unavailable", "The keys of this gateway are not in use here. Ops: see `/readyz`."
        ) from None
    except (Problem, asyncio.CancelledError, ConnectionError):
        raise
    except Exception:
        log.exception("a request ended in an error of ours")
        raise Problem("internal-error", "The error is in our log under this request id.") from None
