"""The order as Python sees it: what is submitted, what the record says, and the refusals of a submission."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any, Literal, Self

import orjson

from antrean.orders.masking import mask_name, mask_number
from antrean.orders.states import TERMINAL, State

Kind = Literal["purchase", "affix"]

#: Stands for a text that was erased.
ERASED = "erased"


#: The last day that a calendar holds in every zone, in seconds since the epoch.
_LAST_S = datetime(9999, 12, 31, tzinfo=UTC).timestamp()


def moment(ms: float) -> datetime:
    """A time in ms since the epoch. One beyond the calendar, as an invented id may name, becomes its last day."""
    return datetime.fromtimestamp(min(ms / 1000, _LAST_S), UTC)


# Nobody changes what is below, up to the order itself. What every order has is not frozen all the same, because Python
# makes each field of a frozen one by a call: three times the work, for each order that is accepted or listed.


@dataclass(slots=True)
class Placement:
    """Where the stamp goes: page from 1, box in PDF points, origin lower left."""

    page: int
    x: float
    y: float
    width: float
    height: float


@dataclass(slots=True)
class Document:
    """The paper that the stamp is bought for."""

    type_code: str
    number: str
    date: str  # YYYY-MM-DD
    filename: str


@dataclass(slots=True)
class Taxpayer:
    """Who pays the duty, in full or masked. Never in a log, a URL or an error."""

    identity_type: str
    identity_number: str = field(repr=False)
    name: str = field(repr=False)

    @property
    def masked(self) -> Taxpayer:
        """Enough to tell two papers apart, too little to tell who it is."""
        return Taxpayer(self.identity_type, mask_number(self.identity_number), mask_name(self.name))


@dataclass(slots=True)
class NewOrder:
    """A checked submission. `fingerprint` is a digest of the body as sent, to tell a repeat from a reuse of its key."""

    office: str
    idempotency_key: str
    fingerprint: str
    kind: Kind
    document: Document
    taxpayer: Taxpayer = field(repr=False)
    deadline_ms: int | None = None
    reference: str | None = None
    webhook_url: str | None = field(default=None, repr=False)
    document_id: str | None = None
    placement: Placement | None = None
    serial_number: str | None = None
    purchase_order_id: str | None = None


@dataclass(slots=True)
class HistoryEntry:
    """One line of an order's history; `at_ms` since the epoch."""

    at_ms: int
    state: State
    note: str


@dataclass(frozen=True, slots=True)
class OrderError:
    """Why an order was refused or waits for a person."""

    code: str
    message: str


@dataclass(slots=True)
class Order:
    """One order's record, read from its hash. Times in ms since the epoch."""

    id: str
    office: str
    kind: Kind
    state: State
    document: Document
    #: As everybody may see them who sees the order; None once erased.
    masked: Taxpayer | None = field(repr=False)
    #: In full: sealed, or in clear in records that version 0.1 wrote before it sealed them; None once erased.
    personal: bytes | Taxpayer | None = field(repr=False)
    erased_ms: int | None
    document_id: str | None
    placement: Placement | None
    webhook_url: str | None = field(repr=False)
    reference: str | None
    purchase_order_id: str | None
    deadline_ms: int | None
    serial_number: str | None
    #: This order bought its SN; otherwise it was given with the submission.
    owns_serial: bool
    serial_given: bool
    fence: str
    owner: str
    #: An earlier stamping of this SN on this document may have reached the adapter.
    stamp_tried: bool
    #: One of them may have put it there: its answer was lost, or it was no sound PDF.
    stamped_perhaps: bool
    #: Upstream calls made for it; of these, those that do not count against it.
    calls: int
    forgiven: int
    ticket_number: int
    ticket_token: str
    score: float
    version: int
    created_ms: int
    updated_ms: int
    error: OrderError | None
    stamped_sha256: str | None
    history: tuple[HistoryEntry, ...]

    @property
    def terminal(self) -> bool:
        """Nothing moves this order on any more."""
        return self.state in TERMINAL

    @property
    def without_person(self) -> Self:
        """The same without what was written about a person; a file is often named for one."""
        document = replace(self.document, filename=ERASED)
        return replace(self, document=document, masked=None, personal=None)

    @property
    def needs_purchase(self) -> bool:
        """An SN still has to be bought for it."""
        return self.state is State.QUEUED and self.serial_number is None

    @property
    def decisions(self) -> list[str]:
        """What a person may decide while the order waits for one. `auto` always works: it picks what fits."""
        if self.serial_number is None:
            return ["ask", "not_bought", "refund"]
        return ["auto", "new_serial", "refund"] if self.owns_serial else ["auto", "cancel"]

    @classmethod
    def accepted(
        cls,
        new: NewOrder,
        order_id: str,
        token: str,
        masked: Taxpayer,
        sealed: bytes,
        answer: Sequence[bytes],
    ) -> Self:
        """The order as `submit.lua` has just written it, from what it answered."""
        number, score, serial_number, now_ms = answer
        at_ms = int(now_ms)
        return cls(
            id=order_id,
            office=new.office,
            kind=new.kind,
            state=State.QUEUED,
            document=new.document,
            masked=masked,
            personal=sealed,
            erased_ms=None,
            document_id=new.document_id,
            placement=new.placement,
            webhook_url=new.webhook_url,
            reference=new.reference,
            purchase_order_id=new.purchase_order_id,
            deadline_ms=new.deadline_ms,
            serial_number=serial_number.decode() or None,
            owns_serial=False,
            serial_given=bool(serial_number),
            fence="0",
            owner="",
            stamp_tried=False,
            stamped_perhaps=False,
            calls=0,
            forgiven=0,
            ticket_number=int(number),
            ticket_token=token,
            score=float(score),
            version=1,
            created_ms=at_ms,
            updated_ms=at_ms,
            error=None,
            stamped_sha256=None,
            history=(HistoryEntry(at_ms, State.QUEUED, "accepted"),),
        )

    @classmethod
    def from_hash(cls, raw: Mapping[bytes, bytes]) -> Self:
        """Read a record. Raises KeyError or ValueError on one that no version of ours has written."""
        # A list has hundreds of them: only what is a text is decoded, numbers are read from bytes as they are.
        get = raw.get
        body = _Body.read(orjson.loads(raw[b"body"]))
        seen = body.taxpayer
        personal = get(b"pii") or seen
        code, _, message = get(b"err", b"").decode().partition("\n")
        return cls(
            id=raw[b"id"].decode(),
            office=raw[b"office"].decode(),
            kind="affix" if raw[b"kind"] == b"affix" else "purchase",
            state=_STATES[raw[b"state"]],
            document=body.document,
            masked=personal.masked if isinstance(personal, Taxpayer) else seen,
            personal=personal,
            erased_ms=int(raw[b"erased"]) if b"erased" in raw else None,
            document_id=body.document_id,
            placement=body.placement,
            webhook_url=_text(get(b"hook")),
            reference=_text(raw[b"ref"]),
            purchase_order_id=_text(get(b"purchase")),
            deadline_ms=int(raw[b"deadline"]) if raw[b"deadline"] else None,
            serial_number=_text(get(b"sn")),
            owns_serial=get(b"own") == b"1",
            serial_given=get(b"given") == b"1",
            fence=raw[b"fence"].decode(),
            owner=get(b"owner", b"").decode(),
            stamp_tried=get(b"tried") == b"1",
            stamped_perhaps=get(b"perhaps") == b"1",
            calls=int(raw[b"calls"]),
            forgiven=int(get(b"forgiven") or 0),
            ticket_number=int(raw[b"number"]),
            ticket_token=raw[b"token"].decode(),
            score=float(raw[b"score"]),
            version=int(raw[b"ver"]),
            created_ms=int(raw[b"made"]),
            updated_ms=int(raw[b"upd"]),
            error=OrderError(code, message) if code else None,
            stamped_sha256=_text(get(b"sha")),
            history=tuple([_history_line(line) for line in raw[b"hist"].split(b"\n") if line]),
        )


_STATES = {state.encode(): state for state in State}


def _text(kept: bytes | None) -> str | None:
    return kept.decode() if kept else None


def _history_line(line: bytes) -> HistoryEntry:
    at, state, note = line.split(b"|", 2)
    return HistoryEntry(int(at), _STATES[state], note.decode())


def body_json(order: NewOrder | Order, taxpayer: Taxpayer | None) -> bytes:
    """The part of a submission that does not change, as it is stored; `taxpayer` masked, None to erase them."""
    placement = order.placement
    return orjson.dumps(
        [
            _document_fields(order.document),
            taxpayer and _taxpayer_fields(taxpayer),
            placement and _placement_fields(placement),
            order.document_id,
        ]
    )


def _fields_of(part: type) -> Callable[[Any], tuple[Any, ...]]:
    return attrgetter(*(f.name for f in fields(part)))


_document_fields, _taxpayer_fields, _placement_fields = map(_fields_of, (Document, Taxpayer, Placement))


@dataclass(frozen=True, slots=True)
class _Body:
    """What `body_json` writes: a list without names, a third shorter than an object with them."""

    document: Document
    taxpayer: Taxpayer | None
    placement: Placement | None
    document_id: str | None

    @classmethod
    def read(cls, body: Any) -> _Body:
        """Also the object with names that was written before."""
        if isinstance(body, dict):
            taxpayer, placement = body.get("taxpayer"), body.get("placement")
            return cls(
                Document(**body["document"]),
                Taxpayer(**taxpayer) if taxpayer else None,
                Placement(**placement) if placement else None,
                body.get("document_id"),
            )
        document, taxpayer, placement, document_id = body
        return cls(
            Document(*document),
            Taxpayer(*taxpayer) if taxpayer else None,
            Placement(*placement) if placement else None,
            document_id,
        )


class SubmitRefused(Exception):
    """A submission was not accepted, and nothing of it was kept. `reason` names the rule, stable for callers."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class StoreUnavailable(Exception):
    """Redis could not be asked or gave no answer: for a write, whether it was made is not known."""


class ClaimLost(Exception):
    """The claim is not ours any more: whatever was in hand, nothing may be written with it."""


class PurchasesHeld(Exception):
    """Purchases were stopped between the claim and the call: nothing may be sent, and the order goes back in line."""


class IllegalMove(Exception):
    """The state table does not allow this step from where the order stands."""

    def __init__(self, message: str, state: State | None) -> None:
        super().__init__(message)
        self.state = state
