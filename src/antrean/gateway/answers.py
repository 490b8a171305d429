"""What the API answers, as models: the OpenAPI document is made from them, and the tests hold every answer to it.

Handlers render plain dictionaries (a list of 500 orders is rendered for each request); these models say their form.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, create_model

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


class HoldingOut(Answer):
    """Why the queue stands still for this order; `text` is in the reader's language."""

    reason: Literal[
        "upstream_unavailable", "adapter_unavailable", "quota_exhausted", "paused", "balance_unexplained"
    ]
    since: datetime
    text: str


class ErrorOut(Answer):
    """Why it was refused, or waits for a person."""

    code: str
    message: str


class HistoryOut(Answer):
    """One change."""

    at: datetime
    state: State
    note: str


class DocumentShown(Answer):
    """The paper, as submitted."""

    type_code: str
    number: str
    date: date
    filename: str


class TaxpayerShown(Answer):
    """Who pays; the number is masked except to supervisors. Both are `erased` after the retention time."""

    identity_type: str
    identity_number: str
    name: str


class PlacementShown(Answer):
    """Where the stamp goes."""

    page: Annotated[int, Field(ge=1)]
    x: float
    y: float
    width: float
    height: float


class OrderOut(Answer):
    """An order."""

    id: OrderId
    kind: Literal["purchase", "affix"]
    state: State
    office: str
    ticket: TicketLink
    position: Annotated[int, Field(ge=1)] | None = Field(
        ..., description="1 is next; null once it is taken up."
    )
    eta: TimeRange | None = Field(..., description="Null while a breaker is open: unknown is not guessed.")
    holding: HoldingOut | None
    serial_number: str | None
    qr_url: str | None
    document_url: str | None
    error: ErrorOut | None
    deadline: datetime | None
    reference: str | None
    attempts: Count = Field(..., description="Upstream calls made for it; stands still while it is held.")
    created_at: datetime
    updated_at: datetime
    history: list[HistoryOut]
    version: Annotated[int, Field(ge=1)]
    document: DocumentShown
    taxpayer: TaxpayerShown
    document_id: str | None
    placement: PlacementShown | None
    purchase_order_id: str | None


class OrderPage(Answer):
    """Orders, newest first. A page may be short and still have a cursor."""

    orders: list[OrderOut]
    next_cursor: str | None


class FieldFault(Answer):
    """One field that breaks one rule. What was sent is never repeated."""

    field: str
    rule: str
    message: str


#: RFC 9457. `errors` is there where single fields are at fault.
ProblemOut = create_model(
    "Problem",
    __config__=ConfigDict(extra="forbid"),
    __doc__="RFC 9457. The page of each type says what to do.",
    type=(Literal[tuple(f"/problems/{name}" for name in TYPES)], ...),
    title=(str, ...),
    status=(int, ...),
    detail=(str, ...),
    request_id=(str, ...),
    errors=(list[FieldFault], Field(default_factory=list)),
)


class RowAccepted(Answer):
    """A row of a batch that is an order now."""

    status: Literal[202]
    order: OrderOut
    replayed: bool


class RowRefused(Answer):
    """A row of a batch that is none."""

    status: Annotated[int, Field(ge=400, le=599)]
    problem: ProblemOut  # type: ignore[valid-type]


class BatchOut(Answer):
    """One result a row, in the order sent."""

    results: list[RowAccepted | RowRefused]


class DocumentOut(Answer):
    """An upload that was checked and kept."""

    id: OrderId
    pages: Annotated[int, Field(ge=1)]
    bytes: Annotated[int, Field(ge=1)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class TicketOut(Answer):
    """What the holder of a ticket may see."""

    number: Annotated[int, Field(ge=1)]
    state: State
    ahead: Count | None
    position: Annotated[int, Field(ge=1)] | None
    eta: TimeRange | None
    holding: HoldingOut | None
    created_at: datetime
    updated_at: datetime


class OverrideShown(Answer):
    """A state that a person has forced."""

    state: Literal["open", "closed"]
    reason: str
    actor: str
    expires_at: datetime


class BreakerOut(Answer):
    """A breaker; `state` is the one in force."""

    state: Literal["closed", "open", "half_open"]
    since: datetime
    reason: str | None
    failure_rate: Share
    slow_rate: Share
    calls_in_window: Count
    next_probe_at: datetime | None
    override: OverrideShown | None


class Both(Answer):
    """The two breakers."""

    provider: BreakerOut
    adapter: BreakerOut


class BreakersOut(Answer):
    """The two breakers by name."""

    breakers: Both


class HoldShown(Answer):
    """One reason that holds orders back, and how many."""

    reason: str
    since: datetime
    orders: Count
    text: str
    detail: str
    actor: str


class LanesOut(Answer):
    """Orders that wait, by lane."""

    buy: Count
    fetch: Count
    stamp: Count


class BacklogOut(Answer):
    """The queue at one moment."""

    by_state: dict[State, int]
    by_lane: LanesOut
    by_office: dict[str, int]
    open: int
    oldest_age_s: Annotated[float, Field(ge=0)] | None
    in_flight: Count
    concurrency_limit: Count
    completed_per_minute: Annotated[float, Field(ge=0)]
    will_miss: list[Any]
    held: Count
    holds: list[HoldShown]


class PausedOut(Answer):
    """Draining is stopped."""

    paused: Literal[True]
    reason: str
    since: datetime
    actor: str


class RunningOut(Answer):
    """Draining goes on."""

    paused: Literal[False]


class Totals(Answer):
    """Where the citizens' money is: paid = stamped + bought_unused + refunded + held."""

    paid: Idr
    stamped: Idr
    bought_unused: Idr
    refunded: Idr
    held: Idr


class DayOut(Answer):
    """What moved for one office on one day in Jakarta."""

    day: date
    office: str
    totals_idr: dict[str, int]


class LedgerRow(Answer):
    """One movement of money."""

    id: str
    at: datetime
    order_id: str
    office: str
    from_: str = Field(..., alias="from")
    to: str
    amount_idr: Idr
    serial_number: str | None
    reason: str


class LedgerOut(Answer):
    """The books."""

    totals_idr: Totals
    difference_idr: Idr
    days: list[DayOut]
    rows: list[LedgerRow]
    next_cursor: str | None


class AttentionOrder(OrderOut):
    """An order that waits for a person, and what may be decided."""

    decisions: list[Literal["auto", "ask", "not_bought", "new_serial", "refund"]]


class AttentionOut(Answer):
    """Orders that wait for a person, the longest first; `unknown`: orders whose outcome is being asked about."""

    orders: list[AttentionOrder]
    unknown: Count


class MovedOut(Answer):
    """How many orders have the new deadline."""

    moved: Count
    from_: datetime = Field(..., alias="from")
    to: datetime


class LiftedOut(Answer):
    """Whether there was a hold to lift."""

    lifted: bool


class AliveOut(Answer):
    """The process answers."""

    status: Literal["alive"]


class ReadyOut(Answer):
    """Orders can be accepted durably."""

    status: Literal["ready"]


class NotReadyOut(Answer):
    """They can not, and why."""

    status: Literal["not ready"]
    reasons: list[str]


class KeyShown(Answer):
    """What is kept of a key; never its secret."""

    id: str
    role: Role
    office: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(..., description="To the minute.")
    replaces: str | None = Field(..., description="The key that this one was made to replace.")


class KeysOut(Answer):
    """All keys, oldest first."""

    keys: list[KeyShown]


class KeyMade(KeyShown):
    """A new key. `key` is shown this once and kept nowhere."""

    key: str


class WebhookSecretOut(Answer):
    """An office's secret for checking signatures; while two are in use, each notice has a signature of both."""

    office: str
    secret: Annotated[str, Field(pattern="^whsec_")]
    previous_until: datetime | None


class WebhookShown(Answer):
    """A notice that waits, or one that was given up."""

    id: str
    order_id: str
    office: str
    event: str
    attempts: Count
    created_at: datetime
    next_at: datetime | None
    last_error: str | None


class EndpointShown(Answer):
    """A host that refused for so long that nothing is sent to it any more."""

    office: str
    host: str
    since: datetime
    reason: str


class WebhooksOut(Answer):
    """Notices under way, those given up, and hosts that are switched off."""

    pending: Count
    waiting: list[WebhookShown]
    given_up: list[WebhookShown]
    disabled: list[EndpointShown]


class ReplayedOut(Answer):
    """How many notices are sent once more."""

    replayed: Count


class SeenOut(Answer):
    """One look at an order's personal data."""

    at: datetime
    actor: str
    role: Role
    what: str


class AccessOut(Answer):
    """Who looked, newest first."""

    looks: list[SeenOut]
