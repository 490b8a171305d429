"""Orders: submit, read, wait, list, cancel, follow, and fetch what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
import time
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog
from aiohttp import web

from antrean.gateway import exchange, submissions
from antrean.gateway.access import no_key, still_admitted
from antrean.gateway.keys import Principal, Role
from antrean.gateway.list_tag import list_tag
from antrean.gateway.problems import Problem, invalid, invalid_fields, retry_after_s
from antrean.gateway.routes import PRINCIPAL, REQUEST_ID, Access, Route
from antrean.gateway.services import SERVICES, Services
from antrean.orders import ids, listing, placement, search
from antrean.orders.documents import DocumentStoreUnavailable
from antrean.orders.events import TooManyWatches, Watch
from antrean.orders.holding import holding_of_next
from antrean.orders.model import IllegalMove, NewOrder, Order, StoreUnavailable, SubmitRefused, Taxpayer
from antrean.orders.states import State
from antrean.orders.store import Accepted
from antrean.orders.vault import Unreadable
from antrean.orders.view import Look, as_of, render, render_holding

log = structlog.get_logger(__name__)
#: Asked before a line that hardly anybody reads is made, for every order.
_levels = logging.getLogger(__name__)

WAIT_MAX_S = 60
LIST_MAX, LIST_DEFAULT = 500, 50
#: In a list's `state`: any in which an order is not at its end.
OPEN = "open"
#: Orders that are rendered before others have a turn of the loop.
RENDER_PART = 25
REFERENCE_CHARS_MAX = 128
_CURSOR = re.compile(submissions.CURSOR_FORM)
#: A stream says something at least this often, in seconds, so that a dead peer is noticed ...
STREAM_BEAT_S = 15
#: ... and ends after this long; the client resumes where it was.
STREAM_MAX_S = 3600
STREAM_RETRY_MS = 2000


async def submit(request: web.Request) -> web.StreamResponse:
    """`POST /v1/orders`."""
    services, principal = request.app[SERVICES], request[PRINCIPAL]
    keys = request.headers.getall("Idempotency-Key", [])
    # Of two, a proxy may send on either, and the same order would be another one next time.
    key = submissions.check_idempotency_key(keys[0] if len(keys) == 1 else None)
    body = await exchange.read_json(request)
    accepted = await _accept(services, principal, key, body)
    headers = {"Location": f"{services.base_url}/v1/orders/{accepted.order.id}"}
    if accepted.replayed:
        headers["Idempotent-Replayed"] = "true"
    return exchange.json_response(await _shown_accepted(request, services, accepted), 202, headers)


async def submit_batch(request: web.Request) -> web.StreamResponse:
    """`POST /v1/batches`."""
    body = await exchange.read_json(request, exchange.BATCH_BYTES_MAX)
    rows = submissions.parse(submissions.BatchIn, body).orders
    results = await asyncio.gather(*(_batch_row(request, row) for row in rows))
    waits = [retry_after_s(row["problem"]["type"]) for row in results if "problem" in row]
    headers = {"Retry-After": str(max(waits))} if any(waits) else None
    return exchange.json_response({"results": results}, 207, headers)


async def _batch_row(request: web.Request, row: Any) -> dict[str, Any]:
    services, principal = request.app[SERVICES], request[PRINCIPAL]
    try:
        fields = dict(row) if isinstance(row, dict) else row
        key = fields.pop("idempotency_key", None) if isinstance(fields, dict) else None
        accepted = await _accept(services, principal, submissions.check_idempotency_key(key), fields)
        shown = await _shown_accepted(request, services, accepted)
        return {"status": 202, "order": shown, "replayed": accepted.replayed}
    except Problem as problem:
        found = problem
    except StoreUnavailable:
        found = Problem(
            "unavailable", "Whether this order was accepted is not known. Repeat with the same key."
        )
    return {"status": found.status, "problem": found.body(request[REQUEST_ID])}


async def _accept(services: Services, principal: Principal, key: str, body: Any) -> Accepted:
    began = time.time()
    new = submissions.parse_order(
        body,
        office=principal.office,
        idempotency_key=key,
        allow_private=services.parts.settings.webhook_allow_private,
        now=datetime.now(UTC),
    )
    await services.require_ready(documents=new.document_id is not None)
    await _check_placement(services, new)
    try:
        accepted = await services.parts.store.submit(new)
    except SubmitRefused as refused:
        raise Problem(refused.reason, refused.message) from None
    if not accepted.replayed:
        services.metrics.accepted(new.kind)
        if services.parts.trace is not None:
            services.parts.trace("accept", accepted.order.id, began, time.time(), {"antrean.kind": new.kind})
        if _levels.isEnabledFor(logging.DEBUG):
            log.debug("order accepted", order_id=accepted.order.id, office=new.office, kind=new.kind)
    return accepted


async def _shown_accepted(request: web.Request, services: Services, accepted: Accepted) -> dict[str, Any]:
    if accepted.rank is None:
        return await shown_order(request, accepted.order)
    seen, pace = await services.seen(), await services.pace()
    return render(accepted.order, accepted.rank, seen.outlook, pace, look_of(request, services))


async def _check_placement(services: Services, new: NewOrder) -> None:
    if new.document_id is None or new.placement is None:
        return
    upload = await services.parts.uploads.get(new.document_id, new.office)
    # Without one the store refuses the order, unless this is a repeat of one that it knows.
    if upload is not None and (faults := placement.faults(upload.runs, new.placement)):
        raise invalid_fields([{"field": f.field, "rule": f.rule, "message": f.message} for f in faults])


async def get_order(request: web.Request) -> web.StreamResponse:
    """`GET /v1/orders/{id}`; with `wait` at its next change."""
    services = request.app[SERVICES]
    wait_s = exchange.query_number(request, "wait", 0, 0, WAIT_MAX_S)
    known = exchange.known_tags(request)
    if wait_s == 0:
        return _with_etag(await shown_order(request, await own_order(request)), known)
    try:
        with services.parts.hub.watch(request.match_info["id"]) as watch:
            return await _wait(request, watch, wait_s, known)
    except TooManyWatches:
        raise Problem("unavailable", "Too many clients wait just now. Ask without `wait`.") from None


async def _wait(
    request: web.Request, watch: Watch, wait_s: float, known: frozenset[str]
) -> web.StreamResponse:
    hub = request.app[SERVICES].parts.hub
    loop = asyncio.get_running_loop()
    end_s = loop.time() + wait_s
    order = await own_order(request)
    first = shown = await shown_order(request, order)
    # A client that tells what it has seen is answered at once where that is not the latest.
    seen_before = not known or "*" in known or order.version in {_version_of(tag) for tag in known}
    while seen_before and not order.terminal and not hub.closing and _mark(shown) == _mark(first):
        left_s = end_s - loop.time()
        if left_s <= 0:
            break
        changed = await watch.changed(left_s)
        if not await still_admitted(request.app[SERVICES], request):
            raise no_key()
        if not changed:
            break
        order = await own_order(request)
        shown = await shown_order(request, order)
    if shown is first and not order.terminal:
        # Read once more: while Redis can not be listened to, a change is told to nobody who waits.
        shown = await shown_order(request, await own_order(request))
    return _with_etag(shown, known)


def _mark(shown: dict[str, Any]) -> object:
    """What must differ for a change: the version, what holds the order back, and whether a time can be told. A position
    and the time itself move all the time."""
    holding = shown["holding"]
    return shown["version"], holding and (holding["reason"], holding["forced"]), shown["eta"] is None


def _with_etag(shown: dict[str, Any], known: frozenset[str]) -> web.StreamResponse:
    body = orjson.dumps(shown)
    digest = hashlib.blake2s(body, digest_size=8).hexdigest()
    tag = f'"{shown["version"]}-{digest}"'
    headers = {"ETag": f"W/{tag}"}
    if tag in known or "*" in known:
        return web.Response(status=304, headers=headers)
    return exchange.json_bytes(body, headers=headers)


def _version_of(etag: str) -> int | None:
    text = etag.removeprefix('"').partition("-")[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


async def list_orders(request: web.Request) -> web.StreamResponse:
    """`GET /v1/orders`."""
    principal = request[PRINCIPAL]
    limit = exchange.query_integer(request, "limit", LIST_DEFAULT, 1, LIST_MAX)
    cursor = exchange.query_text(request, "cursor")
    if cursor is not None and not _CURSOR.fullmatch(cursor):
        raise invalid("cursor", "form", "must be a next_cursor of an earlier answer")
    state = exchange.query_text(request, "state")
    is_open = state == OPEN
    if state is not None and not is_open and state not in set(State):
        raise invalid("state", "enum", f"must be one of {', '.join(State)}, {OPEN}")
    office = exchange.query_text(request, "office")
    if principal.role is not Role.OPS:
        if office is not None and office != principal.office:
            raise Problem("forbidden", "This key sees the orders of its own office only.")
        office = principal.office
    reference = exchange.query_text(request, "reference")
    if reference is not None and len(reference) > REFERENCE_CHARS_MAX:
        raise invalid("reference", "string-too-long", f"must have at most {REFERENCE_CHARS_MAX} characters")
    wanted = listing.Filter(office, State(state) if state and not is_open else None, reference, is_open)
    if office is None:
        return exchange.json_response(await _page(request, wanted, cursor, limit))
    # Before the page is read: it must not stand for a change that the page does not show.
    tag = await list_tag(request, office, time.time())
    headers = {"ETag": f"W/{tag}"}
    known = exchange.known_tags(request)
    if tag in known or "*" in known:
        return web.Response(status=304, headers=headers)
    made = _page_bytes(request, wanted, cursor, limit)
    # Who sends a tag takes places and times as old as it may be. Whoever sees names in full is noted with each.
    shared = bool(known) and principal.role is Role.TERMINAL
    body = await (request.app[SERVICES].lists.of(tag, made) if shared else made)
    return exchange.json_bytes(body, headers=headers)


async def search_orders(request: web.Request) -> web.StreamResponse:
    """`POST /v1/search`: in the body, since what is typed may be a name or an identity number."""
    services, principal = request.app[SERVICES], request[PRINCIPAL]
    asked_for = submissions.parse(submissions.SearchIn, await exchange.read_json(request))

    def opened(order: Order) -> Taxpayer | None:
        try:
            return services.parts.store.personal.taxpayer_of(order)
        except Unreadable:
            return None

    office = None if principal.role is Role.OPS else principal.office
    wanted = listing.Filter(office, test=search.finder(asked_for.text, opened))
    return exchange.json_response(await _page(request, wanted, asked_for.cursor, asked_for.limit))


async def _page_bytes(request: web.Request, wanted: listing.Filter, cursor: str | None, limit: int) -> bytes:
    return orjson.dumps(await _page(request, wanted, cursor, limit))


async def _page(
    request: web.Request, wanted: listing.Filter, cursor: str | None, limit: int
) -> dict[str, Any]:
    services = request.app[SERVICES]
    parts = services.parts
    is_long = limit > LIST_DEFAULT or wanted.looks_far
    async with services.long_reads.turn(request[PRINCIPAL].key_id) if is_long else contextlib.nullcontext():
        page = await listing.page(
            parts.redis, wanted, int(cursor) if cursor else None, limit, parts.store.archive
        )
        ranks = await services.parts.store.lanes.ranks(page.orders)
        seen, pace = await services.seen(), await services.pace()
        look = look_of(request, services)
        shown = []
        for order, rank in zip(page.orders, ranks, strict=True):
            shown.append(render(order, rank, seen.outlook, pace, look))
            if len(shown) % RENDER_PART == 0:
                await asyncio.sleep(0)
    following = None if page.next_cursor is None else str(page.next_cursor)
    holding = render_holding(holding_of_next(seen.outlook), look.language)
    return {"orders": shown, "next_cursor": following, "holding": holding}


async def cancel(request: web.Request) -> web.StreamResponse:
    """`POST /v1/orders/{id}/cancel`."""
    order = await own_order(request)
    body = await exchange.read_json(request) if request.can_read_body else {}
    reason = submissions.parse(submissions.CancelIn, body).reason
    principal, store = request[PRINCIPAL], request.app[SERVICES].parts.store
    try:
        await store.cancel(order.id, f"{principal.actor}: {reason}", by_ops=principal.role is Role.OPS)
    except IllegalMove:
        raise Problem(
            "not-cancellable", "It is being bought, or was, or may be stamped already, or is at its end."
        ) from None
    return exchange.json_response(await shown_order(request, await own_order(request)))


async def qr(request: web.Request) -> web.StreamResponse:
    """`GET /v1/orders/{id}/qr`: PNG."""
    order = await own_order(request)
    _not_erased(order)
    if (png := await request.app[SERVICES].parts.pictures.get(order)) is not None:
        return web.Response(body=png, content_type="image/png")
    raise Problem("not-available-yet", f"The order is {order.state}; it has no QR picture.")


async def document(request: web.Request) -> web.StreamResponse:
    """`GET /v1/orders/{id}/document`: the stamped PDF, read and sent in parts; cut off where it can not be read on."""
    services = request.app[SERVICES]
    order = await own_order(request)
    _not_erased(order)
    if order.state is not State.COMPLETED or order.kind != "affix":
        raise Problem("not-available-yet", f"The order is {order.state}; it has no stamped PDF.")
    pdf = await services.parts.documents.get_stamped(order.id)
    if pdf is None:
        raise Problem("not-found", "The stamped PDF is not in the document store any more.")
    services.access_log.note(request[PRINCIPAL], order.id, "document")
    # To be looked at and printed in a tab of its own, or kept.
    how = "inline" if request.query.get("inline") == "1" else "attachment"
    headers = {"Content-Disposition": f'{how}; filename="{order.id}.pdf"', "Content-Type": "application/pdf"}
    response = web.StreamResponse(headers=headers)
    response.content_length = pdf.size_bytes
    await response.prepare(request)
    if request.method != "HEAD":
        try:
            async for part in pdf.parts:
                await response.write(part)
        except DocumentStoreUnavailable as error:
            log.warning("a document was cut off", order_id=order.id, why=str(error))
            raise exchange.cut_off(request) from None
    await response.write_eof()
    return response


def _not_erased(order: Order) -> None:
    if order.erased_ms is not None:
        raise Problem("erased", "Its documents and personal data were erased, as they must be.")


async def events(request: web.Request) -> web.StreamResponse:
    """`GET /v1/orders/{id}/events`: server-sent events; the id of each is the order's version."""
    services = request.app[SERVICES]
    order = await own_order(request)
    sent = _version_of(request.headers.get("Last-Event-ID", "")) or 0
    if order.terminal and sent >= order.version:
        # What ends an EventSource's tries for good.
        return web.Response(status=204)
    try:
        with services.parts.hub.watch(order.id) as watch:
            return await _stream(request, watch, sent)
    except TooManyWatches:
        raise Problem("unavailable", "Too many clients follow orders just now.") from None


async def _stream(request: web.Request, watch: Watch, sent: int) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await response.prepare(request)
    await response.write(f"retry: {STREAM_RETRY_MS}\n\n".encode())
    with contextlib.suppress(StoreUnavailable):
        # With Redis away the stream ends; the client comes back with what it has seen.
        await _follow(request, response, watch, sent)
    await response.write_eof()
    return response


async def _follow(request: web.Request, response: web.StreamResponse, watch: Watch, sent: int) -> None:
    hub = request.app[SERVICES].parts.hub
    loop = asyncio.get_running_loop()
    end_s = loop.time() + STREAM_MAX_S
    mark: object = None
    while await still_admitted(request.app[SERVICES], request):
        order = await own_order(request)
        shown = await shown_order(request, order)
        # On a first look the order as it stands is enough; one that resumes gets what it has missed.
        for version in range(sent + 1 if sent else order.version, order.version):
            if (earlier := as_of(order, version)) is not None:
                await response.write(_event(version, await shown_order(request, earlier)))
        if order.version > sent or _mark(shown) != mark:
            await response.write(_event(order.version, shown))
        sent, mark = order.version, _mark(shown)
        if order.terminal or hub.closing or loop.time() > end_s:
            return
        while loop.time() <= end_s and not await watch.changed(STREAM_BEAT_S):
            await response.write(b": still here\n\n")


def _event(version: int, shown: dict[str, Any]) -> bytes:
    return b"id: %d\nevent: order\ndata: %s\n\n" % (version, orjson.dumps(shown))


async def own_order(request: web.Request) -> Order:
    """The order in the path. Raises Problem 404 for none, and for another office's."""
    order_id, principal = request.match_info["id"], request[PRINCIPAL]
    order = await request.app[SERVICES].parts.store.get(order_id) if ids.is_id(order_id) else None
    if order is None or (principal.role is not Role.OPS and order.office != principal.office):
        raise Problem("not-found", "There is no such order.")
    structlog.contextvars.bind_contextvars(order_id=order.id)
    return order


async def shown_order(request: web.Request, order: Order) -> dict[str, Any]:
    services = request.app[SERVICES]
    rank, seen, pace = await services.ranks.of(order), await services.seen(), await services.pace()
    return render(order, rank, seen.outlook, pace, look_of(request, services))


def look_of(request: web.Request, services: Services) -> Look:
    """How to show an order to the one who asks."""
    principal = request[PRINCIPAL]
    if principal.role is not Role.SUPERVISOR:
        return Look(services.base_url, exchange.language(request))

    def reveal(order: Order) -> Taxpayer | None:
        try:
            taxpayer = services.parts.store.personal.taxpayer_of(order)
        except Unreadable as error:
            log.error("who pays can not be read", order_id=order.id, why=str(error))
            return None
        services.access_log.note(principal, order.id, "identity")
        return taxpayer

    return Look(services.base_url, exchange.language(request), reveal)


ROUTES = (
    Route("POST", "/v1/orders", submit, Access.COUNTER),
    Route("GET", "/v1/orders", list_orders, Access.ANY_KEY),
    Route("POST", "/v1/search", search_orders, Access.ANY_KEY),
    Route("POST", "/v1/batches", submit_batch, Access.COUNTER),
    Route("GET", "/v1/orders/{id}", get_order, Access.ANY_KEY, own_order=True),
    Route("POST", "/v1/orders/{id}/cancel", cancel, Access.ANY_KEY, own_order=True),
    Route("GET", "/v1/orders/{id}/events", events, Access.ANY_KEY, own_order=True),
    Route("GET", "/v1/orders/{id}/qr", qr, Access.ANY_KEY, own_order=True),
    Route("GET", "/v1/orders/{id}/document", document, Access.ANY_KEY, own_order=True),
)
