"""What the API answers, as models: the OpenAPI document is made from them, and the tests hold every answer to it.

Handlers render plain dictionaries (a list of 500 orders is rendered for each request); these models say their form.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from antrean.gateway.keys import Role
from antrean.gateway.problems import TYPES
from antrean.orders.states import State

Idr = Annotated[int, Field(description="Rupiah.")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
OrderId = Annotated[str, Field(pattern="^[0-9a-hjkmnp-tv-z]{26}$")]


class Answer(BaseModel):
    """No answer has a field that is not listed."""

    model_config = ConfigDict(extra="forbid")


class TicketLink(Answer):
    """The citizen's paper: number of the day at this office, unguessable token, page."""

    number: Annotated[int, Field(ge=1)]
    token: str
    url: str


class TimeRange(Answer):
    """Between these two, as things go just now."""

    earliest: datetime
    latest: datetime


class Holding(Answer):
    """Why the queue stands still for this order; `text` is in the reader's language. `forced`: a person has forced the
    breaker open, so the other side may be well."""

    reason: Literal[
        "upstream_unavailable", "adapter_unavailable", "quota_exhausted", "paused", "balance_unexplained"
    ]
    since: datetime
    text: str
    forced: bool


class Error(Answer):
    """Why it was refused, or waits for a person."""

    code: str
    message: str


class History(Answer):
    """One change."""

    at: datetime
    state: State
    note: str


class Document(Answer):
    """The paper, as submitted."""

    type_code: str
    number: str
    date: date
    filename: str


class Taxpayer(Answer):
    """Who pays; number and name are masked except to supervisors."""

    identity_type: str
    identity_number: str
    name: str


class Placement(Answer):
    """Where the stamp goes."""

    page: Annotated[int, Field(ge=1)]
    x: float
    y: float
    width: float
    height: float


class Order(Answer):
    """An order."""

    id: OrderId
    kind: Literal["purchase", "affix"]
    state: State
    office: str
    ticket: TicketLink
    position: Annotated[int, Field(ge=1)] | None = Field(
        ..., description="1 is next; null once it is taken up."
    )
    eta: TimeRange | None = Field(
        ..., description="Null while a breaker is open, or no worker is alive: unknown is not guessed."
    )
    holding: Holding | None
    serial_number: str | None
    qr_url: str | None
    document_url: str | None
    error: Error | None
    deadline: datetime | None
    reference: str | None
    attempts: Count = Field(..., description="Upstream calls made for it; stands still while it is held.")
    created_at: datetime
    updated_at: datetime
    history: list[History]
    version: Annotated[int, Field(ge=1)]
    document: Document
    taxpayer: Taxpayer | None = Field(..., description="Null once it was erased.")
    erased_at: datetime | None = Field(
        ..., description="When personal data and documents were erased: some time after the order's end."
    )
    document_id: str | None
    placement: Placement | None
    purchase_order_id: str | None


class Access(Answer):
    """One look at personal data; `actor` is role and key."""

    at: datetime
    actor: str
    what: Literal["identity", "document"]


class Accesses(Answer):
    """Who looked at an order's personal data, the latest first."""

    access: list[Access]


class OrderPage(Answer):
    """Orders, newest first. A page may be short and still have a cursor."""

    orders: list[Order]
    next_cursor: str | None
    holding: Holding | None = Field(..., description="What would hold back a purchase that came now.")


class FieldFault(Answer):
    """One field that breaks one rule. What was sent is never repeated."""

    field: str
    rule: str
    message: str


class Problem(Answer):
    """RFC 9457. The page of each type says what to do."""

    type: Annotated[str, Field(json_schema_extra={"enum": [f"/problems/{name}" for name in TYPES]})]
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    detail: str
    request_id: str
    errors: list[FieldFault] = Field(
        default_factory=list, description="Single fields at fault, where some are."
    )


class RowAccepted(Answer):
    """A row of a batch that is an order now."""

    status: Literal[202]
    order: Order
    replayed: bool


class RowRefused(Answer):
    """A row of a batch that is none."""

    status: Annotated[int, Field(ge=400, le=599)]
    problem: Problem


class Batch(Answer):
    """One result a row, in the order sent."""

    results: list[RowAccepted | RowRefused]


class Upload(Answer):
    """An upload that was checked and kept."""

    id: OrderId
    pages: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Ticket(Answer):
    """What the holder of a ticket may see."""

    number: Annotated[int, Field(ge=1)]
    state: State
    ahead: Count | None
    position: Annotated[int, Field(ge=1)] | None
    eta: TimeRange | None
    holding: Holding | None
    erased: bool = Field(..., description="Its personal data and files are gone: nothing can be fetched.")
    created_at: datetime
    updated_at: datetime


class Session(Answer):
    """Who is signed in. `expires_at` is null for a key."""

    key_id: str
    role: Role
    office: str
    expires_at: datetime | None
