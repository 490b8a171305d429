"""What the API answers to ops and to machines: breakers, backlog, decisions, books, keys, health."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field

from antrean.gateway.answers import Answer, Count, Idr, Order, OrderId, Share
from antrean.gateway.keys import Role
from antrean.orders.promises import Turned
from antrean.orders.states import State


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


class Hold(Answer):
    """One reason that holds orders back, and how many."""

    reason: str
    since: datetime
    orders: Count
    text: str
    forced: bool
    detail: str
    actor: str


class Lanes(Answer):
    """Orders that wait, by lane; `later`: those that wait some seconds for their next try."""

    buy: Count
    fetch: Count
    stamp: Count
    later: Count


class WillMiss(Answer):
    """An order that will miss its deadline at today's pace; it stands for `orders` like it."""

    order_id: OrderId
    office: str
    deadline: datetime
    expected_at: datetime | None = Field(
        ..., description="Null where no pace is known, its lane is held, or no worker is alive."
    )
    orders: Annotated[int, Field(ge=1)]


class Backlog(Answer):
    """The queue at one moment."""

    by_state: dict[State, int]
    by_lane: Lanes
    by_office: dict[str, Count] = Field(..., description="Orders of each office that are not at their end.")
    open: int
    oldest_age_s: Annotated[float, Field(ge=0)] | None
    claimed: Count = Field(..., description="Orders that workers have in hand.")
    in_flight: Count = Field(
        ..., description="Calls to the upstream that are under way, without those that stamp."
    )
    concurrency_limit: Count = Field(..., description="How many of these calls there may be just now.")
    completed_per_minute: Annotated[float, Field(ge=0)]
    workers: Count = Field(..., description="Workers that gave a sign of life in the last six seconds.")
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
    """An order that waits for a person, and what may be decided. `stamped_perhaps`: its SN may be on the paper."""

    decisions: list[Literal["auto", "ask", "not_bought", "new_serial", "refund", "cancel"]]
    stamped_perhaps: bool


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
