"""What is sent and what comes back, as typed dictionaries: the JSON itself, with names for a type checker."""

from __future__ import annotations

from typing import Any, Literal, NotRequired, TypedDict

State = Literal[
    "queued", "buying", "unknown", "bought", "stamping", "completed", "rejected", "cancelled", "attention"
]
#: States in which nothing happens any more unless a person acts.
SETTLED: frozenset[str] = frozenset({"completed", "rejected", "cancelled", "attention"})
#: Of these, the ones that no person changes either.
TERMINAL: frozenset[str] = SETTLED - {"attention"}


class Document(TypedDict):
    """The paper that the duty is paid for; `date` as YYYY-MM-DD."""

    type_code: str
    number: str
    date: str
    filename: str


class Taxpayer(TypedDict):
    """Who pays it. In an answer number and name are masked, except to supervisors."""

    identity_type: Literal["KTP", "NPWP", "PASSPORT", "KITAS", "KITAP"]
    identity_number: str
    name: str


class Placement(TypedDict):
    """Where the stamp goes: PDF points, origin lower left, page from 1."""

    page: int
    x: float
    y: float
    width: float
    height: float


class _NewOrder(TypedDict):
    document: Document
    taxpayer: Taxpayer
    deadline: NotRequired[str | None]
    reference: NotRequired[str | None]
    webhook_url: NotRequired[str | None]


class Purchase(_NewOrder):
    """Buys one serial number."""

    kind: Literal["purchase"]


class Affix(_NewOrder):
    """Puts a serial number on an uploaded PDF."""

    kind: Literal["affix"]
    document_id: str
    placement: Placement
    serial_number: NotRequired[str | None]
    purchase_order_id: NotRequired[str | None]


NewOrder = Purchase | Affix


class TicketLink(TypedDict):
    """The citizen's paper."""

    number: int
    token: str
    url: str


class TimeRange(TypedDict):
    """Between these two times (RFC 3339)."""

    earliest: str
    latest: str


class Holding(TypedDict):
    """Why the queue stands still for it. `forced`: a person has forced the breaker open."""

    reason: str
    since: str
    text: str
    forced: bool


class OrderError(TypedDict):
    """Why it was refused, or waits for a person."""

    code: str
    message: str


class History(TypedDict):
    """One change."""

    at: str
    state: State
    note: str


class Order(TypedDict):
    """An order as the gateway shows it."""

    id: str
    kind: Literal["purchase", "affix"]
    state: State
    office: str
    ticket: TicketLink
    position: int | None
    eta: TimeRange | None
    holding: Holding | None
    serial_number: str | None
    qr_url: str | None
    document_url: str | None
    error: OrderError | None
    deadline: str | None
    reference: str | None
    attempts: int
    created_at: str
    updated_at: str
    history: list[History]
    version: int
    document: Document
    taxpayer: Taxpayer
    erased_at: str | None
    document_id: str | None
    placement: Placement | None
    purchase_order_id: str | None


class Ticket(TypedDict):
    """What the holder of a ticket may see."""

    number: int
    state: State
    ahead: int | None
    position: int | None
    eta: TimeRange | None
    holding: Holding | None
    erased: bool
    created_at: str
    updated_at: str


class Upload(TypedDict):
    """A PDF that was checked and kept."""

    id: str
    pages: int
    bytes: int
    sha256: str


class FieldFault(TypedDict):
    """One field that breaks one rule."""

    field: str
    rule: str
    message: str


class Problem(TypedDict):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: NotRequired[list[FieldFault]]


class BatchRow(TypedDict):
    """What became of one row: an order, or a problem."""

    status: int
    order: NotRequired[Order]
    replayed: NotRequired[bool]
    problem: NotRequired[Problem]


class Batch(TypedDict):
    """What became of all rows, in the order sent."""

    results: list[BatchRow]


#: Answers to ops: see the OpenAPI document for their fields.
Json = dict[str, Any]
