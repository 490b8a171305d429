"""The channel's calls on `backend` and `stampv2`: login, generate, and the questions about what was bought."""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Iterable
from datetime import date
from typing import Any, Final

from aiohttp import web

from antrean.simulator.account import AccountFull, QuotaUsedUp, Serial
from antrean.simulator.answers import (
    ACCOUNT_FULL,
    INVALID,
    LOGIN_BAD,
    QUOTA_USED_UP,
    UNKNOWN_SERIAL,
    answer,
    done,
    read_object,
    refused,
    wib,
)
from antrean.simulator.faults import Drawn
from antrean.simulator.gate import require_token
from antrean.simulator.machine import Simulator
from antrean.simulator.qr import qr_png

#: Codes and names of document types (assumed: the sources show single rows only).
DOCUMENT_TYPES: Final = (
    ("1", "Surat keterangan"),
    ("2", "Akta notaris"),
    ("3", "Akta pejabat pembuat akta tanah"),
    ("4", "Surat berharga"),
    ("4a", "Surat perjanjian"),
    ("4b", "Surat pernyataan"),
    ("4c", "Surat kuasa"),
    ("4d", "Surat lamaran"),
    ("4e", "Surat lain-lain"),
    ("5", "Dokumen transaksi surat berharga"),
    ("6", "Dokumen lelang"),
    ("7", "Dokumen yang menyatakan jumlah uang"),
    ("8", "Dokumen lain"),
)
_TYPE_CODES: Final = frozenset(code for code, _ in DOCUMENT_TYPES)
#: Rows on a page of the SN list.
PAGE_ROWS_MAX: Final = 500
_TEXT_CHARS_MAX: Final = 255


async def login(simulator: Simulator, request: web.Request, _: Drawn) -> web.Response:
    """`POST {backend}/api/users/login`."""
    body = await read_object(request)
    user, password = str(body.get("user", "")), str(body.get("password", ""))
    known = hmac.compare_digest(user.encode(), simulator.config.user.encode())
    if not (known & hmac.compare_digest(password.encode(), simulator.config.password.encode())):
        return refused(LOGIN_BAD, "User atau password salah")
    return answer({"statusCode": "00", "message": "success", "token": simulator.tokens.issue()})


async def generate(simulator: Simulator, request: web.Request, drawn: Drawn) -> web.Response:
    """`POST {stampv2}/chanel/stampv2`: sells one SN."""
    require_token(simulator, request)
    body = await read_object(request)
    rejected = drawn.take("reject")
    if rejected is not None:
        return refused(rejected["code"], rejected["message"])
    wrong = sale_error(body, simulator.config.price_idr)
    if wrong is not None:
        return refused(INVALID, wrong)
    if drawn.take("quota_end") is not None:
        return refused(QUOTA_USED_UP, "Kuota habis")
    try:
        serial = simulator.account.sell(body["namafile"])
    except QuotaUsedUp:
        return refused(QUOTA_USED_UP, "Kuota habis")
    except AccountFull:
        return refused(ACCOUNT_FULL, "Akun simulasi penuh")
    return done(result=sale_result(simulator, serial))


def sale_result(simulator: Simulator, serial: Serial) -> dict[str, str]:
    """What a sale answers: the SN with its picture, or with the picture's name."""
    number = serial.serial_number
    if simulator.modes.generate_qr == "filenameQR":
        return {"sn": number, "filenameQR": f"{number}.png"}
    return {"sn": number, "image": base64.b64encode(qr_png(number)).decode()}


def sale_error(body: dict[str, Any], price_idr: int) -> str | None:
    """Why a sale is refused; names the field, never its value. None where all is well."""
    for name in ("namafile", "namadoc", "namejidentitas", "noidentitas", "namedipungut", "nodoc", "tgldoc"):
        value = body.get(name)
        if not isinstance(value, str) or not value.strip() or len(value) > _TEXT_CHARS_MAX:
            return f"{name} wajib diisi, paling banyak {_TEXT_CHARS_MAX} huruf"
    if str(body.get("nilaidoc")) != str(price_idr):
        return f"nilaidoc harus {price_idr}"
    for name in ("isUpload", "snOnly"):
        if not isinstance(body.get(name), bool):
            return f"{name} harus true atau false"
    if body["namadoc"] not in _TYPE_CODES:
        return "namadoc tidak dikenal"
    if body["namejidentitas"].upper() == "KTP" and not re.fullmatch(r"[0-9]{16}", body["noidentitas"]):
        return "noidentitas harus 16 angka"
    try:
        date.fromisoformat(body["tgldoc"])
    except ValueError:
        return "tgldoc harus YYYY-MM-DD"
    return None


async def document_types(simulator: Simulator, request: web.Request, _: Drawn) -> web.Response:
    """`GET {stampv2}/jenisdoc`."""
    require_token(simulator, request)
    return done(
        result=[
            {"id": str(number), "kode": code, "nama": name}
            for number, (code, name) in enumerate(DOCUMENT_TYPES, 1)
        ]
    )


async def serial_status(simulator: Simulator, request: web.Request, drawn: Drawn) -> web.Response:
    """`GET {backend}/api/chanel/stamp/ext?filter={SN}`."""
    require_token(simulator, request)
    serial = simulator.account.find(request.query.get("filter", ""))
    lag = drawn.take("list_lag")
    if lag is not None and serial is not None and serial.sold_at > simulator.clock() - lag["lag_s"]:
        serial = None
    if serial is not None:
        return done(result={"total": 1, "data": _rows([serial])})
    nothing = {"list": [], "string": "Data tidak ditemukan", "empty_data": {"total": 0, "data": []}}
    return done(result=nothing[simulator.modes.none_found])


async def serial_list(simulator: Simulator, request: web.Request, drawn: Drawn) -> web.Response:
    """`GET {stampv2}/chanel/sale/stamp/ext/{UserID}?page=&size=`: newest first, pages from 1."""
    require_token(simulator, request)
    if request.match_info["user_id"] not in (simulator.config.user, simulator.user_id):
        return refused(INVALID, "UserID tidak dikenal")
    try:
        page = max(1, int(request.query.get("page", "1")))
        size = min(PAGE_ROWS_MAX, max(1, int(request.query.get("size", "10"))))
    except ValueError:
        return refused(INVALID, "page dan size harus angka")
    lag = drawn.take("list_lag")
    lag_s = simulator.config.list_lag_s if lag is None else lag["lag_s"]
    before = simulator.clock() - lag_s if lag_s > 0 else None
    total = simulator.account.count(sold_before=before)
    if simulator.modes.past_last_page == "repeat":
        page = min(page, max(1, -(-total // size)))
    rows = simulator.account.newest_first((page - 1) * size, size, sold_before=before)
    return done(result={"total": total, "data": _rows(rows)})


def _rows(serials: Iterable[Serial]) -> list[dict[str, str]]:
    return [
        {
            "serialnumber": serial.serial_number,
            "status": serial.status,
            "file": serial.file,
            "tglupdate": wib(serial.updated_at),
        }
        for serial in serials
    ]


async def balance(simulator: Simulator, request: web.Request, _: Drawn) -> web.Response:
    """`POST {backend}/function/saldopos`."""
    require_token(simulator, request)
    return done(result={"saldo": simulator.account.left})


async def qr_image(simulator: Simulator, request: web.Request, _: Drawn) -> web.Response:
    """`GET {stampv2}/snqr/qrimage?serialnumber={SN}`."""
    require_token(simulator, request)
    serial = simulator.account.find(request.query.get("serialnumber", ""))
    if serial is None:
        return refused(UNKNOWN_SERIAL, "Serial number tidak dikenal")
    picture = base64.b64encode(qr_png(serial.serial_number)).decode()
    if simulator.modes.qrimage == "bare":
        return web.Response(text=picture)
    return done(result=picture)


async def update_data(simulator: Simulator, request: web.Request, _: Drawn) -> web.Response:
    """`POST {stampv2}/stamping/update-data/{SN}`."""
    require_token(simulator, request)
    await read_object(request)
    serial = simulator.account.find(request.match_info["serial_number"])
    if serial is None:
        return refused(UNKNOWN_SERIAL, "Serial number tidak dikenal")
    if serial.status == "STAMP":
        return refused(INVALID, "Serial number sudah dibubuhkan")
    simulator.account.touch(serial)
    return done()
