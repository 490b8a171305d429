"""What the API answers, as models: the OpenAPI document is made from them, and the tests hold every answer to it.

Handlers render plain dictionaries (a list of 500 orders is rendered for each request); these models say their form.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from antrean.gateway.keys import Role
from antrean.gateway.problems import TYPES
from antrean.orders.promises import Turned
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
    """Why the queue stands still for this order; `text` is in the reader's language."""

    reason: Literal[
        "upstream_unavailable", "adapter_unavailable", "quota_exhausted", "paused", "balance_unexplained"
    ]
    since: datetime
    text: str


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
    eta: TimeRange | None = Field(..., description="Null while a breaker is open: unknown is not guessed.")
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
    created_at: datetime
    updated_at: datetime


class Override(Answer):
    """A state that a person has forced."""

    state: Literal["open", "closed"]
    reason: str
    actor: str
    expires_at: datetime


class Breaker(Answer):
    """A breaker; `state` is the one in force."""

    state: Literal["closed", "open", "half_open"]
    since: datetime
    reason: str | None
    failure_rate: Share
    slow_rate: Share
    calls_in_window: Count
    next_probe_at: datetime | None
    override: Override | None


class BreakersByName(Answer):
    """The two breakers."""

    provider: Breaker
    adapter: Breaker


class Breakers(Answer):
    """The two breakers by name."""

    breakers: BreakersByName


class BreakerChange(Answer):
    """One change of a breaker; `kind`: move, override, override_lifted, override_ended."""

    at: datetime
    kind: str
    from_state: str
    to_state: str
    reason: str
    actor: str


class ChangesByName(Answer):
    """Newest first."""

    provider: list[BreakerChange]
    adapter: list[BreakerChange]


class BreakerHistory(Answer):
    """The last changes of each breaker."""

    breakers: ChangesByName


class Sample(Answer):
    """The queue at one moment."""

    at: datetime
    open: Count
    in_flight: Count
    limit: Count
    completed_per_minute: Annotated[float, Field(ge=0)]


class Trend(Answer):
    """Looks at the queue, the oldest first."""

    every_s: Count
    samples: list[Sample]


class Session(Answer):
    """Who is signed in. `expires_at` is null for a key."""

    key_id: str
    role: Role
    office: str
    expires_at: datetime | None


class Hold(Answer):
    """One reason that holds orders back, and how many."""

    reason: str
    since: datetime
    orders: Count
    text: str
    detail: str
    actor: str


class Lanes(Answer):
    """Orders that wait, by lane."""

    buy: Count
    fetch: Count
    stamp: Count


class WillMiss(Answer):
    """An order that will miss its deadline at today's pace; it stands for `orders` like it."""

    order_id: OrderId
    office: str
    deadline: datetime
    expected_at: datetime | None = Field(..., description="Null where no pace is known.")
    orders: Annotated[int, Field(ge=1)]


class Backlog(Answer):
    """The queue at one moment."""

    by_state: dict[State, int]
    by_lane: Lanes
    by_office: dict[str, int]
    open: int
    oldest_age_s: Annotated[float, Field(ge=0)] | None
    in_flight: Count
    concurrency_limit: Count
    completed_per_minute: Annotated[float, Field(ge=0)]
    will_miss: list[WillMiss]
    will_miss_orders: Count = Field(..., description="How many orders those stand for.")
    promises: dict[Turned, Count] = Field(
        ..., description="How the times promised to some orders turned out."
    )
    held: Count
    holds: list[Hold]


class Paused(Answer):
    """Draining is stopped."""

    paused: Literal[True]
    reason: str
    since: datetime
    actor: str


class Running(Answer):
    """Draining goes on."""

    paused: Literal[False]


class Totals(Answer):
    """Where the citizens' money is: paid = stamped + bought_unused + refunded + held."""

    paid: Idr
    stamped: Idr
    bought_unused: Idr
    refunded: Idr
    held: Idr


class Day(Answer):
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


class Ledger(Answer):
    """The books."""

    totals_idr: Totals
    difference_idr: Idr
    days: list[Day]
    rows: list[LedgerRow]
    next_cursor: str | None


class AttentionOrder(Order):
    """An order that waits for a person, and what may be decided."""

    decisions: list[Literal["auto", "ask", "not_bought", "new_serial", "refund"]]


class Attention(Answer):
    """Orders that wait for a person, the longest first; `unknown`: orders whose outcome is being asked about."""

    orders: list[AttentionOrder]
    unknown: Count


class Moved(Answer):
    """How many orders have the new deadline."""

    moved: Count
    from_: datetime = Field(..., alias="from")
    to: datetime


class Lifted(Answer):
    """Whether there was a hold to lift."""

    lifted: bool


class Alive(Answer):
    """The process answers."""

    status: Literal["alive"]


class Ready(Answer):
    """Orders can be accepted durably."""

    status: Literal["ready"]


class NotReady(Answer):
    """They can not, and why."""

    status: Literal["not ready"]
    reasons: list[str]


class Key(Answer):
    """What is kept of a key; never its secret."""

    id: str
    role: Role
    office: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(..., description="To the minute.")
    replaces: str | None = Field(..., description="The key that this one was made to replace.")
    fixed: bool = Field(..., description="Set in the settings: ended at the machine only.")


class Keys(Answer):
    """All keys, oldest first."""

    keys: list[Key]


class KeyMade(Key):
    """A new key. `key` is shown this once and kept nowhere."""

    key: str


class WebhookNotice(Answer):
    """A notice that was given up; `why` is what its last try met."""

    id: str
    order_id: OrderId
    office: str
    type: str
    at: datetime
    given_up_at: datetime
    tries: Count
    why: str


class WebhookAddress(Answer):
    """An address of an office where every try has failed since `failing_since`."""

    office: str
    host: str
    failing_since: datetime
    failures: Count
    why: str
    disabled_at: datetime | None


class Webhooks(Answer):
    """Notices on their way, and those that got nowhere (the latest 500); addresses that fail."""

    pending: Count
    oldest_due_at: datetime | None
    given_up: Count
    notices: list[WebhookNotice]
    disabled: list[WebhookAddress]
    failing: list[WebhookAddress]


class Replayed(Answer):
    """How many notices are sent again."""

    replayed: Count


class Enabled(Answer):
    """Whether the address had failed."""

    enabled: bool


class WebhookSecret(Answer):
    """An office's secret; the one before signs beside it until `previous_until`."""

    office: str
    secret: Annotated[str, Field(pattern="^whsec_[A-Za-z0-9+/]{43}=$")]
    previous_until: datetime | None
