"""An upstream in memory that keeps its books and fails on command: the `Provider` the order tests run against."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from antrean.provider.errors import OutcomeUnknown, ProviderError, QuotaExhausted, SerialUnusable
from antrean.provider.protocol import (
    CallMeter,
    Generated,
    GenerateRequest,
    SerialPage,
    SerialRecord,
    StampRequest,
)

PNG = b"\x89PNG\r\n\x1a\n-picture-"


@dataclass
class Sold:
    """One SN on the account's books."""

    serial_number: str
    file: str
    stamped_on: str | None = None
    visible: bool = True


@dataclass
class UpstreamModel:
    """The account. `faults[call]` is a list of faults used up one a call: an error to raise, "lost"/"late", or
    "foreign": the answer of the account's first sale."""

    quota: int = 1_000_000
    sold: list[Sold] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    #: Called between the sale and the answer: where a test kills, pauses or doubts.
    before_answer: Callable[[str], Any] | None = None
    lists_new: bool = True

    def _fault(self, call: str) -> Any:
        self.calls[call] += 1
        waiting = self.faults.get(call)
        return waiting.pop(0) if waiting else None

    def sell(self, file: str) -> Sold:
        """One SN leaves the quota."""
        self.quota -= 1
        sale = Sold(f"SN{len(self.sold):020d}", file, visible=self.lists_new)
        self.sold.append(sale)
        return sale

    def of(self, order_id: str) -> list[Sold]:
        """All SNs sold under an order's reference."""
        return [s for s in self.sold if s.file == f"{order_id}.pdf"]

    async def generate(self, request: GenerateRequest, meter: CallMeter) -> Generated:
        await meter.sending()
        fault = self._fault("generate")
        if isinstance(fault, ProviderError):
            raise fault
        if self.quota <= 0:
            raise QuotaExhausted("quota used up")
        sale = self.sell(f"{request.order_ref}.pdf")
        if self.before_answer is not None:
            result = self.before_answer("generate")
            if asyncio.iscoroutine(result):
                await result
        sold = self.sold[0] if fault == "foreign" else sale
        answer = Generated(sold.serial_number, PNG)
        if fault == "lost":
            raise OutcomeUnknown("the connection was cut after the request was sent")
        if isinstance(fault, asyncio.Future):
            late: asyncio.Future[Generated] = asyncio.get_running_loop().create_future()
            fault.add_done_callback(lambda _: late.set_result(answer))
            raise OutcomeUnknown("no answer in time", late=late)
        return answer

    async def stamp(self, request: StampRequest, meter: CallMeter) -> bytes:
        await meter.sending()
        fault = self._fault("stamp")
        if isinstance(fault, ProviderError):
            raise fault
        sale = next((s for s in self.sold if s.serial_number == request.serial_number), None)
        if sale is None:
            raise SerialUnusable("92", "unknown serial number")
        if sale.stamped_on not in (None, request.order_ref):
            raise SerialUnusable("97", "used on another document")
        sale.stamped_on = request.order_ref
        if fault == "lost":
            raise OutcomeUnknown("the connection was cut after the request was sent")
        return request.pdf + b" stamped with " + request.serial_number.encode()

    async def qr_image(self, serial_number: str, meter: CallMeter) -> bytes:
        await meter.sending()
        fault = self._fault("qr_image")
        if isinstance(fault, ProviderError):
            raise fault
        return PNG

    async def serial_status(self, serial_number: str) -> SerialRecord | None:
        self.calls["serial_status"] += 1
        return next((self._record(s) for s in self.sold if s.serial_number == serial_number), None)

    async def serial_page(self, page: int, size: int) -> SerialPage:
        fault = self._fault("serial_page")
        if isinstance(fault, ProviderError):
            raise fault
        rows = [self._record(s) for s in reversed(self.sold) if s.visible]
        start = (page - 1) * size
        return SerialPage(tuple(rows[start : start + size]), start + size >= len(rows))

    async def balance(self) -> int:
        fault = self._fault("balance")
        if isinstance(fault, ProviderError):
            raise fault
        return self.quota

    async def aclose(self) -> None:
        pass

    @staticmethod
    def _record(sale: Sold) -> SerialRecord:
        return SerialRecord(sale.serial_number, "STAMP" if sale.stamped_on else "NOTSTAMP", sale.file, None)


class MemoryDocuments:
    """A document store in memory that fails on command."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.broken = False

    def _check(self) -> None:
        if self.broken:
            raise OSError("disk full")

    async def get_upload(self, document_id: str) -> bytes | None:
        self._check()
        return self.kept.get(f"upload {document_id}")

    async def get_qr(self, order_id: str) -> bytes | None:
        self._check()
        return self.kept.get(f"qr {order_id}")

    async def put_qr(self, order_id: str, png: bytes) -> None:
        self._check()
        self.kept[f"qr {order_id}"] = png

    async def put_stamped(self, order_id: str, pdf: bytes) -> None:
        self._check()
        self.kept[f"stamped {order_id}"] = pdf

    async def require_ours(self) -> None:
        """There is one alone."""

    async def delete_upload(self, document_id: str) -> None:
        self._check()
        self.kept.pop(f"upload {document_id}", None)

    async def delete_qr(self, order_id: str) -> None:
        self._check()
        self.kept.pop(f"qr {order_id}", None)

    async def delete_stamped(self, order_id: str) -> None:
        self._check()
        self.kept.pop(f"stamped {order_id}", None)


async def verify(original: bytes, stamped: bytes, page: int) -> str:
    """Stands for the check of a stamped PDF: here it must begin with the original."""
    if not stamped.startswith(original):
        raise ValueError("not the same document")
    return "sha"
