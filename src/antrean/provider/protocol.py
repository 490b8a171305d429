"""What Antrean needs of a stamp provider. The Peruri adapter is one; the tests' scripted one is another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One SN to buy. `order_ref` is what the account's SN list will show, so that the SN can be found again."""

    order_ref: str
    type_code: str
    document_number: str
    document_date: str  # YYYY-MM-DD
    identity_type: str
    identity_number: str = field(repr=False)
    name: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Generated:
    """A bought SN and its QR picture; `qr_png` is None where the upstream gave no picture with it."""

    serial_number: str
    qr_png: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class SerialRecord:
    """One SN as the upstream knows it. `file` is the `namafile` it was generated with, where known.

    `status`: None where the upstream does not say it.
    """

    serial_number: str
    status: Literal["STAMP", "NOTSTAMP"] | None
    file: str | None
    updated_at: str | None


@dataclass(frozen=True, slots=True)
class SerialPage:
    """One page of the account's SN list, newest first. `last`: there is no page after this one."""

    records: tuple[SerialRecord, ...]
    last: bool


@dataclass(frozen=True, slots=True)
class StampRequest:
    """Put `serial_number` with its QR on `pdf`. Box in PDF points, origin lower left; pages count from 1.

    `attempt_ref` names the files in the folder shared with the adapter: unique for an order and fencing token.
    `retry`: this SN may have been put on this document before (upstream `retryFlag`).
    """

    order_ref: str
    attempt_ref: str
    serial_number: str
    qr_png: bytes = field(repr=False)
    pdf: bytes = field(repr=False)
    page: int
    llx: float
    lly: float
    urx: float
    ury: float
    retry: bool


class Intent(Protocol):
    """Writes down, before a call leaves, that it may have been sent."""

    def with_permit(self, permits: str, permit: str) -> None:
        """The permit `permit` was just asked for; it is granted once it is a member of the sorted set `permits`."""
        ...

    async def before_send(self) -> None:
        """The call leaves when this returns."""
        ...


@dataclass(slots=True)
class CallMeter:
    """Counts the upstream calls made for an order, and lets the order note its intent before each one.

    The adapter awaits `sending()` directly before the request of an order call (generate, stamp, qr_image) leaves:
    after the login, and after breaker and limiter have let it through. What `intent.before_send` raises goes up
    unchanged; the request is then not sent, and counts as neither success nor failure anywhere.

    `answer_s`: how long the upstream took for the last answer to a generate or stamp, in seconds, from the request's
    first byte to the answer's head; None where the transport does not tell.
    """

    calls: int = 0
    answer_s: float | None = None
    intent: Intent | None = None

    async def sending(self) -> None:
        """Note the intent, then count the call."""
        if self.intent is not None:
            await self.intent.before_send()
        self.calls += 1


class Provider(Protocol):
    """A stamp provider. Every method raises only `ProviderError`s (see errors.py)."""

    async def generate(self, request: GenerateRequest, meter: CallMeter) -> Generated:
        """Buy one SN. Spends money; never repeated after `OutcomeUnknown`."""
        ...

    async def stamp(self, request: StampRequest, meter: CallMeter) -> bytes:
        """Return the stamped PDF. Repeatable with the same SN."""
        ...

    async def qr_image(self, serial_number: str, meter: CallMeter) -> bytes:
        """The QR picture (PNG) of an SN that exists."""
        ...

    async def serial_status(self, serial_number: str) -> SerialRecord | None:
        """What the upstream knows of one SN; None where it knows none."""
        ...

    async def serial_page(self, page: int, size: int) -> SerialPage:
        """A page of the account's SNs, newest first, `page` from 1."""
        ...

    async def balance(self) -> int:
        """Stamps left on the account (a count, not rupiah)."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...
