"""The on-premise signing adapter: reads `src` from the shared folder, leaves the stamped PDF at `dest`."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from antrean.simulator.account import SerialUnusable
from antrean.simulator.answers import BUSY, DONE, FILE_BAD, INVALID, TOKEN_BAD, answer, pdf_date, read_object
from antrean.simulator.faults import Drawn
from antrean.simulator.machine import STAMPS_MAX, Simulator
from antrean.simulator.stamper import Placement, StampFailed, stamp_pdf

#: Largest PDF and picture that are read, in bytes.
PDF_BYTES_MAX: Final = 64 * 1024 * 1024
PICTURE_BYTES_MAX: Final = 4 * 1024 * 1024
PROFILE: Final = "emeteraicertificateSigner"


class StampRefused(Exception):
    """A stamp that is answered with an `errorCode`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


async def stamp(simulator: Simulator, request: web.Request, drawn: Drawn) -> web.Response:
    """`POST {adapter}/adapter/pdfsigning/rest/docSigningZ`."""
    body = await read_object(request)
    try:
        check_stamp_request(simulator, body, drawn)
        source = _inside(simulator, body, "src")
        target = _inside(simulator, body, "dest")
        specimen = _inside(simulator, body, "spesimenPath")
        pdf = await simulator.in_thread(lambda: _read(source, "src", PDF_BYTES_MAX))
        picture = await simulator.in_thread(lambda: _read(specimen, "spesimenPath", PICTURE_BYTES_MAX))
        await put_stamp(simulator, body, pdf, picture, lambda stamped: _write(target, stamped))
    except StampRefused as error:
        return stamp_answer(simulator, error.code, str(error))
    return stamp_answer(simulator, DONE, "")


def check_stamp_request(simulator: Simulator, body: dict[str, Any], drawn: Drawn) -> None:
    """Token, faults and fixed fields. Raises StampRefused."""
    if not simulator.tokens.is_good(str(body.get("jwToken", ""))):
        raise StampRefused(TOKEN_BAD, "jwToken tidak berlaku")
    unusable = drawn.take("sn_unusable")
    if unusable is not None:
        raise StampRefused(unusable["code"], "Serial number tidak dapat digunakan")
    if body.get("certificatelevel") != "NOT_CERTIFIED" or body.get("profileName") != PROFILE:
        raise StampRefused(INVALID, "certificatelevel atau profileName tidak dikenal")
    if simulator.stamps_waiting >= STAMPS_MAX:
        raise StampRefused(BUSY, "Adapter sedang sibuk")


async def put_stamp(
    simulator: Simulator,
    body: dict[str, Any],
    pdf: bytes,
    picture: bytes,
    deliver: Callable[[bytes], None],
) -> None:
    """Stamp `pdf` with the SN in `refToken`, deliver it (in a thread), enter it in the books. Raises StampRefused."""
    placement = _placement(body)
    number = str(body.get("refToken", ""))
    signed_at = pdf_date(simulator.clock())
    texts = {
        "reason": str(body.get("reason") or "")[:500],
        "location": str(body.get("location") or "")[:500],
        "password": str(body.get("docpass") or "")[:500],
    }

    def work() -> None:
        deliver(stamp_pdf(pdf, picture, placement, serial_number=number, signed_at=signed_at, **texts))

    document = hashlib.sha256(pdf).hexdigest()
    try:
        serial = simulator.account.reserve(number, document)
    except SerialUnusable as error:
        raise StampRefused(error.code, str(error)) from error
    simulator.stamps_waiting += 1
    try:
        await simulator.in_thread(work)
        simulator.account.mark_stamped(serial, document)
    except StampFailed as error:
        raise StampRefused(FILE_BAD, str(error)) from error
    finally:
        simulator.stamps_waiting -= 1
        simulator.account.release(serial)


def stamp_answer(simulator: Simulator, code: str, message: str, **more: str) -> web.Response:
    """`errorCode` with `status`; 00 as text or as a number, as the mode says."""
    shown: str | int = 0 if code == DONE and simulator.modes.stamp_code == "number" else code
    done = code == DONE
    return answer({"errorCode": shown, "status": str(done), "errorMessage": message, **more})


def _placement(body: dict[str, Any]) -> Placement:
    corners = []
    for name in ("visLLX", "visLLY", "visURX", "visURY", "visSignaturePage"):
        try:
            value = float(body[name])
        except (KeyError, TypeError, ValueError):
            raise StampRefused(INVALID, f"{name} harus angka") from None
        if not math.isfinite(value) or abs(value) > 1_000_000:
            raise StampRefused(INVALID, f"{name} di luar batas")
        corners.append(value)
    return Placement(int(corners[4]), *corners[:4])


def _inside(simulator: Simulator, body: dict[str, Any], name: str) -> Path:
    """The path on this machine that a request names. Raises StampRefused where it leaves the shared folder."""
    root = simulator.config.adapter_root
    if root is None:
        raise StampRefused(INVALID, "Adapter tidak punya folder bersama")
    given = body.get(name)
    if not isinstance(given, str) or not given.startswith("/") or "\0" in given or len(given) > 4_096:
        raise StampRefused(INVALID, f"{name} harus path absolut")
    path = Path(given)
    remote = simulator.config.adapter_remote_root
    if remote:
        if not path.is_relative_to(remote):
            raise StampRefused(INVALID, f"{name} di luar folder bersama")
        path = root / path.relative_to(remote)
    path = path.resolve()
    if not path.is_relative_to(root.resolve()):
        raise StampRefused(INVALID, f"{name} di luar folder bersama")
    return path


def _read(path: Path, name: str, size_max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(size_max_bytes + 1)
    except OSError as error:
        raise StampRefused(FILE_BAD, f"{name} tidak dapat dibaca") from error
    if len(content) > size_max_bytes:
        raise StampRefused(FILE_BAD, f"{name} terlalu besar")
    return content


def _write(path: Path, content: bytes) -> None:
    """All of it or nothing, so that nobody reads half a PDF."""
    partial = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StampRefused(FILE_BAD, "dest tidak dapat ditulis") from error
