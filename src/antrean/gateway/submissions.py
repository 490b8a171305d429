"""What comes in with an order, field by field: pydantic checks the form, the rules with names check the sense.

No error repeats what was sent: pydantic's own messages are taken only where they speak of the rule alone.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal, NoReturn, TypeAlias, TypeVar

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from antrean.gateway import identity, webhook_url
from antrean.gateway.faults import problem_of
from antrean.gateway.keys import OFFICE_FORM, OFFICE_RULE
from antrean.gateway.problems import Problem
from antrean.orders import masking
from antrean.orders.entropy import ALPHABET
from antrean.orders.model import Document, NewOrder, Placement, Taxpayer

#: Stamp duty of this law's kind is older than any paper we will see.
DATE_MIN = date(1945, 1, 1)
ONE_DAY = timedelta(days=1)
DEADLINE_AHEAD_MAX = timedelta(days=5 * 366)
DEADLINE_BACK_MAX = timedelta(days=5 * 366)
#: Side of a stamp in points: smaller is not readable, larger is no stamp.
SIDE_MIN, SIDE_MAX = 10, 1000
BATCH_MAX = 100
#: Orders that a search answers with at a time.
SEARCH_MAX, SEARCH_DEFAULT = 100, 50
#: Of a list: where the page before ended.
CURSOR_FORM = r"[0-9]{1,15}"
KEY_CHARS_MAX = 128

M = TypeVar("M", bound=BaseModel)

_ID = re.compile(rf"[{ALPHABET}]{{26}}")
_SERIAL = re.compile(r"[A-Z0-9]{8,40}")
_TYPE_CODE = re.compile(r"[A-Za-z0-9]{1,8}")
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_DEADLINE = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
#: Control characters, marks that change the direction of what follows, and others that are not seen.
_NOT_SEEN = r"\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
_UNSEEN = re.compile(f"[{_NOT_SEEN}]")


def _refuse(rule: str, message: str) -> NoReturn:
    # Braces would be taken for the place of a value.
    raise PydanticCustomError(rule, message.replace("{", "(").replace("}", ")"))


def _printable(value: str) -> str:
    if not value.strip():
        _refuse("not_blank", "must not be blank")
    if _UNSEEN.search(value):
        _refuse("printable", "must hold printable characters only")
    return value


def _impersonal(value: str) -> str:
    if masking.holds_identity_number(value):
        _refuse("no_identity_number", masking.NO_IDENTITY_NUMBER)
    return value


def _filename(value: str) -> str:
    _printable(value)
    if "/" in value or "\\" in value or value in {".", ".."}:
        _refuse("filename", "must be a file name without a path")
    return value


@dataclass(frozen=True, slots=True)
class _Form:
    """A text that fits a pattern whole. It names its own rule, and the OpenAPI document shows the pattern."""

    pattern: re.Pattern[str]
    rule: str
    message: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"pattern": f"^{self.pattern.pattern}$"}

    def _check(self, value: str) -> str:
        if not self.pattern.fullmatch(value):
            _refuse(self.rule, self.message)
        return value


def _document_date(value: str, info: ValidationInfo) -> str:
    if not _DATE.fullmatch(value):
        _refuse("date_form", "must be a date as YYYY-MM-DD")
    try:
        day = date.fromisoformat(value)
    except ValueError:
        _refuse("date_real", "must be a day of the calendar")
    # Tomorrow is today already somewhere in Indonesia's three time zones.
    if not DATE_MIN <= day <= _now(info).date() + ONE_DAY:
        _refuse("date_range", f"must not be before {DATE_MIN} or in the future")
    return value


def _deadline(value: str, info: ValidationInfo) -> str:
    if not _DEADLINE.fullmatch(value):
        _refuse("deadline_form", "must be an RFC 3339 time with its zone")
    try:
        at = time_of(value)
    except (ValueError, OverflowError):
        _refuse("deadline_real", "must be a time of the calendar")
    now = _now(info)
    if not now - DEADLINE_BACK_MAX <= at <= now + DEADLINE_AHEAD_MAX:
        _refuse("deadline_range", "must be within five years of now")
    return value


def time_of(text: str) -> datetime:
    """A time of RFC 3339 with its zone. Raises ValueError, OverflowError."""
    if not _DEADLINE.fullmatch(text):
        raise ValueError("no RFC 3339 time with a zone")
    return datetime.fromisoformat(text.upper()).astimezone(UTC)


def day_of(text: str) -> date:
    """A day as YYYY-MM-DD. Raises ValueError."""
    if not _DATE.fullmatch(text):
        raise ValueError("no YYYY-MM-DD")
    return date.fromisoformat(text)


def _webhook(value: str, info: ValidationInfo) -> str:
    try:
        webhook_url.check(value, allow_private=_context(info)["allow_private"])
    except webhook_url.Refused as refused:
        _refuse(refused.rule.replace("-", "_"), refused.message)
    return value


def _context(info: ValidationInfo) -> dict[str, Any]:
    assert info.context is not None
    return info.context  # type: ignore[no-any-return, unused-ignore]


def _now(info: ValidationInfo) -> datetime:
    now: datetime = _context(info)["now"]
    return now


def _shown_as(excluded: str) -> dict[str, Any]:
    """The rule of `_printable` as a pattern, for the OpenAPI document."""
    return {"pattern": f"^[^{excluded}]*[^{excluded}\\s][^{excluded}]*$"}


_PRINTABLE = _shown_as(_NOT_SEEN)
Text64 = Annotated[
    str, Field(min_length=1, max_length=64, json_schema_extra=_PRINTABLE), AfterValidator(_printable)
]
Text128 = Annotated[
    str, Field(min_length=1, max_length=128, json_schema_extra=_PRINTABLE), AfterValidator(_printable)
]
#: Why somebody did something: it stays in history, ledger or log when personal data is erased.
Reason = Annotated[
    Text128,
    AfterValidator(_impersonal),
    Field(json_schema_extra={"description": "Kept for good: it must not hold an identity number."}),
]
#: JSON knows no difference between 1 and 1.0.
Whole = BeforeValidator(
    lambda value: int(value) if isinstance(value, float) and value.is_integer() else value
)
Id: TypeAlias = Annotated[
    str, _Form(_ID, "id_form", "must be an id as it was given out: 26 lower-case letters and digits")
]
Serial = Annotated[str, _Form(_SERIAL, "serial_form", "must be 8 to 40 capital letters and digits")]
Office = Annotated[str, _Form(OFFICE_FORM, "office_form", f"must be {OFFICE_RULE}")]
Deadline = Annotated[str, Field(json_schema_extra={"format": "date-time"}), AfterValidator(_deadline)]
WebhookUrl = Annotated[
    str,
    Field(json_schema_extra={"format": "uri", "maxLength": webhook_url.CHARS_MAX}),
    AfterValidator(_webhook),
]


class StrictModel(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True, allow_inf_nan=False)


class DocumentIn(StrictModel):
    """The paper that the duty is paid for."""

    type_code: Annotated[str, _Form(_TYPE_CODE, "type_code_form", "must be 1 to 8 letters and digits")]
    number: Text64
    date: Annotated[str, Field(json_schema_extra={"format": "date"}), AfterValidator(_document_date)]
    filename: Annotated[
        str,
        Field(min_length=1, max_length=128, json_schema_extra=_shown_as(_NOT_SEEN + r"/\\")),
        AfterValidator(_filename),
    ]


class TaxpayerIn(StrictModel):
    """Who pays it. The number fits its type: a NIK has a region, a date of birth and a running number."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"properties": {"identity_type": {"const": kind}, "identity_number": {"pattern": pattern}}}
                for kind, pattern in identity.PATTERNS.items()
            ]
        }
    )

    identity_type: Literal["KTP", "NPWP", "PASSPORT", "KITAS", "KITAP"]
    identity_number: Annotated[str, Field(min_length=1, max_length=32)]
    name: Text128

    @model_validator(mode="after")
    def _number_fits(self) -> TaxpayerIn:
        if found := identity.fault(self.identity_type, self.identity_number):
            _refuse(f"identity_number:{found[0].replace('-', '_')}", found[1])
        return self


class PlacementIn(StrictModel):
    """Where the stamp goes: PDF points, origin lower left, page from 1."""

    page: Annotated[int, Field(ge=1, le=100_000), Whole]
    x: Annotated[float, Field(ge=-20_000, le=20_000)]
    y: Annotated[float, Field(ge=-20_000, le=20_000)]
    width: Annotated[float, Field(ge=SIDE_MIN, le=SIDE_MAX)]
    height: Annotated[float, Field(ge=SIDE_MIN, le=SIDE_MAX)]


class _OrderIn(StrictModel):
    document: DocumentIn
    taxpayer: TaxpayerIn
    deadline: Deadline | None = None
    reference: Text128 | None = None
    webhook_url: WebhookUrl | None = None


class PurchaseIn(_OrderIn):
    """Buys one SN."""

    kind: Literal["purchase"]


class AffixIn(_OrderIn):
    """Puts an SN on a PDF: one that is bought for it, one given, or that of a purchase."""

    kind: Literal["affix"]
    document_id: Id
    placement: PlacementIn
    serial_number: Serial | None = None
    purchase_order_id: Id | None = None

    @model_validator(mode="after")
    def _one_source(self) -> AffixIn:
        if self.serial_number is not None and self.purchase_order_id is not None:
            _refuse("serial_number:one_source", "give serial_number or purchase_order_id, not both")
        return self


ORDER: TypeAdapter[PurchaseIn | AffixIn] = TypeAdapter(
    Annotated[PurchaseIn | AffixIn, Field(discriminator="kind")]
)


class _Named(StrictModel):
    #: 1 to 128 printable ASCII characters.
    idempotency_key: Annotated[
        str, Field(min_length=1, max_length=KEY_CHARS_MAX, json_schema_extra={"pattern": "^[ -~]+$"})
    ]


class PurchaseRow(PurchaseIn, _Named):
    """A purchase in a batch."""


class AffixRow(AffixIn, _Named):
    """An affix in a batch."""


@dataclass(frozen=True, slots=True)
class _Row:
    """Anything at all, for a row is checked by itself; the OpenAPI document shows how a good one looks."""

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        good = [handler(model.__pydantic_core_schema__) for model in (PurchaseRow, AffixRow)]
        return {"anyOf": [*good, {"description": "Anything else is answered by a problem in its place."}]}


class BatchIn(StrictModel):
    """Orders, each with a key of its own. They are checked one by one: a bad one spoils no other."""

    orders: Annotated[list[Annotated[Any, _Row()]], Field(min_length=1, max_length=BATCH_MAX)]


def parse_order(
    body: Any, *, office: str, idempotency_key: str, allow_private: bool, now: datetime
) -> NewOrder:
    """A checked submission. Raises Problem naming every field at fault and its rule."""
    try:
        order = ORDER.validator.validate_python(body, context={"now": now, "allow_private": allow_private})
    except ValidationError as error:
        raise problem_of(error, tagged=True) from None
    affix = order if isinstance(order, AffixIn) else None
    said = _said(order)
    return NewOrder(
        office=office,
        idempotency_key=idempotency_key,
        fingerprint=_fingerprint(said),
        kind=order.kind,
        document=Document(**said["document"]),
        taxpayer=Taxpayer(**said["taxpayer"]),
        deadline_ms=None if order.deadline is None else int(time_of(order.deadline).timestamp() * 1000),
        reference=order.reference,
        webhook_url=order.webhook_url,
        document_id=affix.document_id if affix else None,
        placement=Placement(**said["placement"]) if affix else None,
        serial_number=affix.serial_number if affix else None,
        purchase_order_id=affix.purchase_order_id if affix else None,
    )


#: A look at the class itself: `isinstance` asks an abstract class, and takes ten times as long.
_PARTS = frozenset({DocumentIn, TaxpayerIn, PlacementIn})


def _said(model: BaseModel) -> dict[str, Any]:
    """What was sent, without nulls: `model_dump(exclude_none=True)`, for models without lists, in less time."""
    return {
        name: _said(value) if type(value) in _PARTS else value
        for name, value in model.__dict__.items()
        if value is not None
    }


def check_idempotency_key(key: object) -> str:
    """1 to 128 printable ASCII characters. Raises Problem."""
    if (
        not isinstance(key, str)
        or not 1 <= len(key) <= KEY_CHARS_MAX
        or not (key.isascii() and key.isprintable())
    ):
        raise Problem(
            "idempotency-key",
            f"Send an Idempotency-Key of 1 to {KEY_CHARS_MAX} printable ASCII characters, a new one for each order.",
        )
    return key


class SearchIn(StrictModel):
    """Finds orders again: a ticket's number or code, a part of reference, document number or SN, or whose it is."""

    text: Text128
    cursor: Annotated[str, Field(pattern=f"^{CURSOR_FORM}$")] | None = None
    limit: Annotated[int, Field(ge=1, le=SEARCH_MAX), Whole] = SEARCH_DEFAULT


class OverrideIn(StrictModel):
    """Forces a breaker."""

    state: Literal["open", "closed"]
    reason: Reason
    expires_in_s: Annotated[float, Field(ge=1, le=7 * 24 * 3600)]


class PauseIn(StrictModel):
    """Stops draining."""

    reason: Reason


class CancelIn(StrictModel):
    """Withdraws an order."""

    reason: Reason = "withdrawn"


class LiftIn(StrictModel):
    """Lifts what holds orders back or forces a breaker."""

    reason: Reason | None = None


def parse(model: type[M], body: Any) -> M:
    """A checked body of another kind. Raises Problem."""
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise problem_of(error, tagged=False) from None


def _fingerprint(said: dict[str, Any]) -> str:
    """The same for bodies that mean the same: order of fields, spaces and nulls left out do not count."""
    return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()[:32]
