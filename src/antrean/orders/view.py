"""The order as the API shows it. Pure: made from the record and what was looked up for it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

from antrean.orders import eta as eta_rule
from antrean.orders.holding import Holding, Language, Outlook, holding_of, text
from antrean.orders.model import Document, Order, Taxpayer, moment
from antrean.orders.place import InOrder, Spot
from antrean.orders.states import State

#: States in which the SN is on record, so that an earlier one is not shown with it.
_WITH_SERIAL = frozenset(
    {State.BOUGHT, State.STAMPING, State.COMPLETED, State.REJECTED, State.ATTENTION, State.CANCELLED}
)


@dataclasses.dataclass(frozen=True, slots=True)
class Pace:
    """Completions by span of 10 seconds, the running one first, at `now_ms`; what the upstream allows; how orders come
    and how the line stopped; how the times promised before turned out (`eta.learnt`); how many workers are alive."""

    now_ms: int
    completed: tuple[int, ...]
    throughput: eta_rule.Throughput = eta_rule.NOT_KNOWN
    course: eta_rule.Course = eta_rule.CALM
    spread: tuple[float, float] = eta_rule.NOTHING_LEARNT
    workers: int = 1

    @property
    def elapsed_s(self) -> float:
        """How much of the running span is over."""
        return (self.now_ms % (eta_rule.SPAN_S * 1000)) / 1000

    @property
    def per_minute(self) -> float:
        """Orders completed a minute, lately."""
        return eta_rule.per_minute(self.completed, self.elapsed_s)

    def range(self, spot: Spot | InOrder, *, stamped: bool) -> eta_rule.Range | None:
        """When the order at `spot` is done; `stamped`: it is to be put on a PDF. None: nobody knows."""
        # Whatever the pace was: nobody works, and nobody knows when somebody will.
        if self.workers == 0:
            return None
        return eta_rule.estimate(
            spot.after,
            self.completed,
            self.elapsed_s,
            capacity_per_s=self.throughput.per_s(stamped=stamped),
            course=self.course,
            spread=self.spread,
        )


class Look(NamedTuple):
    """How to show: links' base ('' for relative ones), language, whether identity numbers and names are seen."""

    base_url: str = ""
    language: Language = "id"
    #: Shows who pays in full, to those who may see it.
    reveal: Callable[[Order], Taxpayer | None] | None = None


@functools.lru_cache(maxsize=4096)
def rfc3339(ms: int) -> str:
    """A time in ms since the epoch as `2024-09-03T01:02:03.456Z`; one that no calendar holds as its last day."""
    return moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def spot_of(order: Order, rank: int | None, outlook: Outlook) -> Spot | InOrder | None:
    """Where it stands; None once it is taken up. `rank`: how many stand before it in its lane, None: in none."""
    if order.state is not State.QUEUED or order.owner:
        return None
    if rank is None:
        # Handed out for its turn a moment ago, or about to come back after a short wait.
        return InOrder(1)
    if not order.needs_purchase:
        return InOrder(rank + 1)
    return outlook.places.spot(order.office, rank, order.score)


def render(order: Order, rank: int | None, outlook: Outlook, pace: Pace, look: Look) -> dict[str, Any]:
    """The order object of the API; some of its leaves are dataclasses, which orjson writes as they are, if slowly."""
    spot = spot_of(order, rank, outlook)
    holding = holding_of(order, outlook, rank is not None)
    there = order.state is State.COMPLETED and order.erased_ms is None
    own = f"{look.base_url}/v1/orders/{order.id}"
    return {
        "id": order.id,
        "kind": order.kind,
        "state": order.state,
        "office": order.office,
        "ticket": {
            "number": order.ticket_number,
            "token": order.ticket_token,
            "url": f"{look.base_url}/t/{order.ticket_token}",
        },
        "position": None if spot is None else spot.position,
        "eta": None if holding else _eta(order, spot, outlook, pace),
        "holding": render_holding(holding, look.language),
        "serial_number": order.serial_number,
        "qr_url": f"{own}/qr" if there else None,
        "document_url": f"{own}/document" if there and order.kind == "affix" else None,
        "error": order.error,
        "deadline": rfc3339(order.deadline_ms) if order.deadline_ms is not None else None,
        "reference": order.reference,
        "attempts": order.calls,
        "created_at": rfc3339(order.created_ms),
        "updated_at": rfc3339(order.updated_ms),
        "history": [{"at": rfc3339(h.at_ms), "state": h.state, "note": h.note} for h in order.history],
        "version": order.version,
        "document": _document(order.document),
        "taxpayer": _taxpayer(order, look),
        "erased_at": rfc3339(order.erased_ms) if order.erased_ms is not None else None,
        "document_id": order.document_id,
        "placement": order.placement,
        "purchase_order_id": order.purchase_order_id,
    }


def render_ticket(order: Order, rank: int | None, outlook: Outlook, pace: Pace, look: Look) -> dict[str, Any]:
    """What the holder of a ticket may see: no personal data, no document, no ids but the token's own."""
    spot = spot_of(order, rank, outlook)
    place = None if spot is None else spot.position
    holding = holding_of(order, outlook, rank is not None)
    return {
        "number": order.ticket_number,
        "state": order.state,
        "ahead": None if place is None else place - 1,
        "position": place,
        "eta": None if holding else _eta(order, spot, outlook, pace),
        "holding": render_holding(holding, look.language),
        "erased": order.erased_ms is not None,
        "created_at": rfc3339(order.created_ms),
        "updated_at": rfc3339(order.updated_ms),
    }


def as_of(order: Order, version: int) -> Order | None:
    """The order as it stood at an earlier version, from its history; None where that line is not kept.

    Each line of the history is one version. What the history does not tell (attempts, error) is of now.
    """
    index = len(order.history) - 1 - (order.version - version)
    if len(order.history) < order.version and index <= 0:
        # Of a long history the first line is kept, and the ones after it are gone.
        index = 0 if version == 1 else -1
    if index < 0 or version < 1 or version > order.version:
        return None
    if version == order.version:
        return order
    line = order.history[index]
    shows_serial = order.serial_given or line.state in _WITH_SERIAL
    return dataclasses.replace(
        order,
        version=version,
        state=line.state,
        updated_ms=line.at_ms,
        history=order.history[: index + 1],
        serial_number=order.serial_number if shows_serial else None,
        error=None,
    )


def _eta(order: Order, spot: Spot | InOrder | None, outlook: Outlook, pace: Pace) -> dict[str, str] | None:
    # An affix needs both: nobody knows its time while one of them is away, though its purchase may go on.
    if spot is None or (order.kind == "affix" and outlook.adapter.holds):
        return None
    span = pace.range(spot, stamped=order.kind == "affix")
    if span is None:
        return None
    earliest_ms = pace.now_ms + int(span.earliest_s * 1000)
    return {
        # The pace may be a second old.
        "earliest": rfc3339(max(earliest_ms, outlook.situation.now_ms)),
        "latest": rfc3339(pace.now_ms + int(span.latest_s * 1000)),
    }


def render_holding(holding: Holding | None, language: Language) -> dict[str, str | bool] | None:
    """For the API; None where nothing holds."""
    if holding is None:
        return None
    return {
        "reason": holding.reason,
        "since": rfc3339(holding.since_ms),
        "text": text(holding.reason, language, holding.forced),
        "forced": holding.forced,
    }


def _document(it: Document) -> dict[str, str]:
    return {"type_code": it.type_code, "number": it.number, "date": it.date, "filename": it.filename}


def _taxpayer(order: Order, look: Look) -> dict[str, str] | None:
    if order.masked is None:
        return None
    it = order.masked if look.reveal is None else look.reveal(order) or order.masked
    return {"identity_type": it.identity_type, "identity_number": it.identity_number, "name": it.name}
