"""What the two ways of stamping have in common: the signing request and how its answer is read."""

from __future__ import annotations

import re
from typing import Any, Protocol

from antrean.provider.errors import Rejected, Unavailable
from antrean.provider.protocol import CallMeter, StampRequest
from antrean.provider.translate import Effect, lost, of_a_serial
from antrean.provider.wire import Wire

#: Largest stamped PDF that is taken back, in bytes.
PDF_BYTES_MAX = 64 * 1024 * 1024
#: The profile and reason that integrators send.
PROFILE = "emeteraicertificateSigner"
REASON = "Akta Pejabat"
LOCATION = "JAKARTA"
#: What `status` may be beside the code of a yes.
YES = ("true", "1", "")

_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class Stamper(Protocol):
    """Puts an SN on a PDF, on-premise or in the cloud."""

    async def stamp(self, request: StampRequest, token: str, meter: CallMeter) -> bytes:
        """The stamped PDF. Raises ProviderError."""
        ...

    async def reachable(self, timeout_s: float) -> None:
        """A TCP connection to the signing service. Raises Unavailable."""
        ...


def signing_fields(request: StampRequest, token: str) -> dict[str, Any]:
    """The fields of docSigningZ that both ways send."""
    fields: dict[str, Any] = {
        "certificatelevel": "NOT_CERTIFIED",
        "docpass": "",
        "jwToken": token,
        "location": LOCATION,
        "profileName": PROFILE,
        "reason": REASON,
        "refToken": request.serial_number,
        "visLLX": _points(request.llx),
        "visLLY": _points(request.lly),
        "visURX": _points(request.urx),
        "visURY": _points(request.ury),
        "visSignaturePage": request.page,
    }
    if request.retry:
        fields["retryFlag"] = "1"
    return fields


async def sign(wire: Wire, url: str, fields: dict[str, Any], token: str, meter: CallMeter) -> dict[str, Any]:
    """Ask for the stamp. Raises ProviderError; SerialUnusable for codes 97 and 92."""
    try:
        answer = await wire.ask("POST", url, Effect.STAMPS, token=token, json=fields, meter=meter)
    except Rejected as error:
        raise of_a_serial(error) from None
    status = answer.get("status")  # the code has said yes already; without a status that stands
    if status is not None and str(status).strip().lower() not in YES:
        raise lost(Effect.STAMPS, "the signing service answered neither yes nor no")
    return answer


def check_ref(attempt_ref: str) -> str:
    """`attempt_ref`, which is safe as a file name. Raises Unavailable where it is not."""
    if _REF.fullmatch(attempt_ref) is None:
        raise Unavailable("the attempt's reference is no name for a file")
    return attempt_ref


def check_pdf(pdf: bytes) -> bytes:
    """`pdf`, if it begins and ends like one. Whether it is the right one is for the caller to verify.

    Raises OutcomeUnknown otherwise: it may be half-written.
    """
    if b"%PDF-" not in pdf[:1024] or b"%%EOF" not in pdf[-2048:]:
        raise lost(Effect.STAMPS, "the stamped document is not a whole PDF")
    return pdf


def ends(pdf: bytes) -> bool:
    """Whether nothing but white space follows the mark of a PDF's end."""
    return pdf[-64:].rstrip(b"\0\t\n\f\r ").endswith(b"%%EOF")


def _points(value: float) -> float | int:
    rounded = round(value, 2)
    return int(rounded) if rounded.is_integer() else rounded
