"""What auditors read and ops decide: the ledger, orders that wait for a person, refunds, deadlines."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any, Literal

import structlog
from aiohttp import web
from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from antrean.gateway import exchange, submissions
from antrean.gateway.keys import OFFICE_FORM, OFFICE_RULE, Role
from antrean.gateway.problems import Problem, invalid
from antrean.gateway.routes import PRINCIPAL, Access, Route
from antrean.gateway.routes_orders import own_order, shown_order
from antrean.gateway.services import SERVICES
from antrean.orders import ledger_csv
from antrean.orders.books import WIB, Entry, Selection, difference_idr
from antrean.orders.ledger import Ledger
from antrean.orders.ledger_csv import Separator
from antrean.orders.model import IllegalMove, Order, StoreUnavailable, SubmitRefused
from antrean.orders.view import rfc3339

log = structlog.get_logger(__name__)

ROWS_MAX, ROWS_DEFAULT = 1000, 200
#: Orders that wait for a person, shown at a time.
ATTENTION_MAX = 500
#: Of a date; a time is longer.
DATE_CHARS = 10
#: What a decision may do.
Decision = Literal["auto", "ask", "not_bought", "new_serial"]


def _when(value: Any) -> datetime | date:
    try:
        if isinstance(value, str):
            return submissions.day_of(value) if len(value) == DATE_CHARS else submissions.time_of(value)
    except (ValueError, OverflowError):
        pass
    raise PydanticCustomError("time_form", "must be an RFC 3339 time with its zone, or a date as YYYY-MM-DD")


When = Annotated[
    datetime | date,
    PlainValidator(_when),
    WithJsonSchema({"type": "string", "anyOf": [{"format": "date-time"}, {"format": "date"}]}),
]


class ReplayIn(submissions.StrictModel):
    """Puts an order back. `decision`: see `POST /v1/orders/{id}/replay`."""

    reason: submissions.Reason = "put back by ops"
    decision: Decision = "auto"


class RefundIn(submissions.StrictModel):
    """Records that the money was given back."""

    reason: submissions.Reason


class DeadlinesIn(submissions.StrictModel):
    """Every open order due from `from` until the end of that day in Jakarta is due at `to` instead.

    A date stands for the whole day as `from`, and for its last minute as `to`.
    """

    from_: Annotated[When, Field(alias="from")]
    to: When
    office: submissions.Office | None = None
    reason: submissions.Reason = "deadline moved by ops"


async def ledger(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/ledger?cursor=&limit=`: totals, entries in the order written, and with the first page
    the last days' totals by office. All of one moment."""
    exchange.only_query(request, "cursor", "limit", "until")
    cursor = exchange.query_text(request, "cursor")
    if cursor is not None and not _is_entry_id(cursor):
        raise invalid("cursor", "form", "must be a next_cursor of an earlier answer")
    limit = exchange.query_integer(request, "limit", ROWS_DEFAULT, 1, ROWS_MAX)
    page = await _books(request).page(cursor, limit, _day(request, "until"))
    rows = page.entries
    return exchange.json_response(
        {
            "totals_idr": page.totals_idr,
            "difference_idr": difference_idr(page.totals_idr),
            "days": [
                {"day": d.day.isoformat(), "office": d.office, "totals_idr": d.totals_idr} for d in page.days
            ],
            "rows": [_row(entry) for entry in rows],
            "next_cursor": rows[-1].id if len(rows) == limit else None,
        }
    )


async def ledger_file(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/ledger.csv?office=&from=&to=&separator=`: the book, or the entries of one office or of
    some days, read and sent page by page; cut off where it can not be read on."""
    exchange.only_query(request, "office", "from", "to", "separator")
    wanted, separator = _selection(request), _separator(request)
    pages = _books(request).pages(wanted.first)
    first: list[Entry] = await anext(pages, [])  # what fails at once is answered by a problem
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/csv; charset=utf-8",
            "Content-Disposition": 'attachment; filename="ledger.csv"',
        }
    )
    await response.prepare(request)
    if request.method == "HEAD":
        # What is written where no length is known goes out, and would be read as the next answer.
        return response
    await response.write(ledger_csv.header(separator).encode())
    try:
        await response.write(ledger_csv.lines(first, wanted, separator).encode())
        async for page in pages:
            if lines := ledger_csv.lines(page, wanted, separator):
                await response.write(lines.encode())
    except StoreUnavailable as error:
        log.error("the ledger's file was cut off", why=str(error))
        raise exchange.cut_off(request) from None
    await response.write_eof()
    return response


async def attention(request: web.Request) -> web.StreamResponse:
    """`GET /v1/ops/attention`: the orders that wait for a person, the longest first, with the evidence."""
    services = request.app[SERVICES]
    orders = await services.parts.store.waiting_for_a_person(ATTENTION_MAX)
    shown = [
        await shown_order(request, order)
        | {"decisions": order.decisions, "stamped_perhaps": order.stamped_perhaps}
        for order in orders
    ]
    return exchange.json_response(
        {"orders": shown, "unknown": (await services.seen()).outlook.situation.unknown}
    )


async def replay(request: web.Request) -> web.StreamResponse:
    """`POST /v1/orders/{id}/replay`: put back an order that waits for a person."""
    order_id = (await for_ops(request)).id
    body = await exchange.read_json(request) if request.can_read_body else {}
    wanted = submissions.parse(ReplayIn, body)
    store = request.app[SERVICES].parts.store
    try:
        await store.replay(order_id, wanted.decision, f"{request[PRINCIPAL].actor}: {wanted.reason}")
    except IllegalMove as error:
        raise Problem("not-replayable", f"{error}.".capitalize()) from None
    except SubmitRefused as refused:
        raise Problem(refused.reason, refused.message) from None
    return exchange.json_response(await shown_order(request, await own_order(request)))


async def refund(request: web.Request) -> web.StreamResponse:
    """`POST /v1/orders/{id}/refund`: record that the citizen's money was given back."""
    order_id = (await for_ops(request)).id
    wanted = submissions.parse(RefundIn, await exchange.read_json(request))
    try:
        await _books(request).refund(order_id, f"{request[PRINCIPAL].actor}: {wanted.reason}")
    except IllegalMove as error:
        raise Problem("not-refundable", f"{error}.".capitalize()) from None
    return exchange.json_response(await shown_order(request, await own_order(request)))


async def deadlines(request: web.Request) -> web.StreamResponse:
    """`POST /v1/ops/deadlines`: move every order due in a range to a new deadline."""
    wanted = submissions.parse(DeadlinesIn, await exchange.read_json(request))
    start = _moment("from", wanted.from_, time.min)
    end = datetime.combine(start.astimezone(WIB).date() + timedelta(days=1), time.min, WIB)
    to = _moment("to", wanted.to, time(23, 59))
    note = f"{request[PRINCIPAL].actor}: {wanted.reason}"
    moved = await request.app[SERVICES].parts.store.postpone(
        _ms(start), _ms(end), _ms(to), wanted.office, note
    )
    return exchange.json_response({"moved": moved, "from": rfc3339(_ms(start)), "to": rfc3339(_ms(to))})


def _selection(request: web.Request) -> Selection:
    office, first, last = exchange.query_text(request, "office"), _day(request, "from"), _day(request, "to")
    if office is not None and not OFFICE_FORM.fullmatch(office):
        raise invalid("office", "office-form", f"must be {OFFICE_RULE}")
    if first and last and last < first:
        raise invalid("to", "date-order", "must not be before `from`")
    return Selection(office, first, last)


def _separator(request: web.Request) -> Separator:
    try:
        return Separator(exchange.query_text(request, "separator") or Separator.COMMA)
    except ValueError:
        raise invalid("separator", "separator", f"must be {' or '.join(Separator)}") from None


def _day(request: web.Request, name: str) -> date | None:
    text = exchange.query_text(request, name)
    if text is None:
        return None
    try:
        return submissions.day_of(text)
    except ValueError:
        raise invalid(name, "date-form", "must be a date as YYYY-MM-DD") from None


def _books(request: web.Request) -> Ledger:
    return Ledger(request.app[SERVICES].parts.store)


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": rfc3339(entry.at_ms),
        "order_id": entry.order_id,
        "office": entry.office,
        "from": entry.source or "citizen",
        "to": entry.target,
        "amount_idr": entry.amount_idr,
        "serial_number": entry.serial_number or None,
        "reason": entry.reason,
    }


async def for_ops(request: web.Request) -> Order:
    """The order in the path, for ops alone. Raises Problem: 404 to another office, 403 to a counter of its own."""
    order = await own_order(request)
    if request[PRINCIPAL].role is not Role.OPS:
        raise Problem("forbidden", "Only a key with the role ops may do that.")
    return order


def _moment(field: str, value: datetime | date, at: time) -> datetime:
    moment = value if isinstance(value, datetime) else datetime.combine(value, at, WIB)
    now = datetime.now(UTC)
    if not now - submissions.DEADLINE_BACK_MAX <= moment <= now + submissions.DEADLINE_AHEAD_MAX:
        raise invalid(field, "deadline-range", "must be within five years of now")
    return moment


def _ms(moment: datetime) -> int:
    return int(moment.astimezone(UTC).timestamp() * 1000)


def _is_entry_id(text: str) -> bool:
    parts = text.split("-")
    return len(parts) == 2 and all(
        p.isascii() and p.isdigit() and len(p) <= 20 and int(p) < 2**63 for p in parts
    )


ROUTES = (
    Route("GET", "/v1/ops/ledger", ledger, Access.OPS),
    Route("GET", "/v1/ops/ledger.csv", ledger_file, Access.OPS),
    Route("GET", "/v1/ops/attention", attention, Access.OPS),
    Route("POST", "/v1/orders/{id}/replay", replay, Access.ANY_KEY, own_order=True),
    Route("POST", "/v1/orders/{id}/refund", refund, Access.ANY_KEY, own_order=True),
    Route("POST", "/v1/ops/deadlines", deadlines, Access.OPS),
)
