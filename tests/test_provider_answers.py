"""Every foreign error becomes one of the five, by the one question: what could have happened upstream?"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrean.provider.errors import OutcomeUnknown, ProviderError, QuotaExhausted, Rejected, Unavailable
from antrean.provider.pictures import is_png, png_from_base64
from antrean.provider.serials import read_balance, read_rows, read_status
from antrean.provider.token import life_s
from antrean.provider.translate import (
    MESSAGE_MAX,
    Effect,
    TokenRefused,
    clean,
    read_answer,
    retry_after_s,
    transport_error,
)
from provider_support import NAME, NIK, jwt, png, png_text

NOT_SENT = [
    httpx.ConnectError("x"),
    httpx.ConnectTimeout("x"),
    httpx.PoolTimeout("x"),
    httpx.UnsupportedProtocol("x"),
]
LOST = [
    httpx.ReadTimeout("x"),
    httpx.WriteTimeout("x"),
    httpx.WriteError("x"),
    httpx.ReadError("x"),
    httpx.RemoteProtocolError("x"),
    httpx.LocalProtocolError("x"),
    httpx.DecodingError("x"),
    httpx.CloseError("x"),
    TimeoutError(),
    ConnectionResetError(),
]
SPENDING = [Effect.SPENDS, Effect.STAMPS]


def read(status: int, body: Any, effect: Effect = Effect.SPENDS, **headers: str) -> dict[str, Any]:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_answer(httpx.Response(status, headers=headers), raw, effect, (NIK, NAME))


def error_of(status: int, body: Any, effect: Effect = Effect.SPENDS, **headers: str) -> ProviderError:
    with pytest.raises(ProviderError) as raised:
        read(status, body, effect, **headers)
    return raised.value


@pytest.mark.parametrize("error", NOT_SENT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("effect", list(Effect))
def test_what_never_left_did_not_happen(error: Exception, effect: Effect) -> None:
    translated = transport_error(error, effect)
    assert isinstance(translated, Unavailable)
    assert not translated.sent


@pytest.mark.parametrize("error", LOST, ids=lambda error: type(error).__name__)
def test_what_was_lost_after_sending_may_have_happened(error: Exception) -> None:
    for effect in SPENDING:
        assert isinstance(transport_error(error, effect), OutcomeUnknown)
    free = transport_error(error, Effect.FREE)
    assert isinstance(free, Unavailable)
    assert free.sent


@pytest.mark.parametrize("status", [500, 501, 502, 504, 408, 301, 302, 304, 204])
@pytest.mark.parametrize("body", [b"<html>", {"statusCode": "99", "message": "x"}, {"statusCode": "00"}])
def test_these_statuses_say_nothing_of_what_happened(status: int, body: Any) -> None:
    for effect in SPENDING:
        assert isinstance(error_of(status, body, effect), OutcomeUnknown)
    assert isinstance(error_of(status, body, Effect.FREE), Unavailable)


@pytest.mark.parametrize("status", [503, 429])
def test_too_busy_did_not_happen_and_says_how_long_to_wait(status: int) -> None:
    error = error_of(status, b"<html>", Effect.SPENDS, **{"retry-after": "12"})
    assert isinstance(error, Unavailable)
    assert (error.sent, error.retry_after_s) == (True, 12.0)


@pytest.mark.parametrize(
    "body",
    [
        b"<html><body>Maintenance</body></html>",
        b'{"statusCode":"00","resu',
        b"",
        b"[]",
        b"null",
        b'"00"',
        b"\xff\xfe",
    ]
    + [b"[" * 100_000, b'{"message":"no code"}', b'{"statusCode":true}', b'{"statusCode":null}'],
)
def test_a_page_or_half_a_json_is_an_outage_not_an_answer(body: bytes) -> None:
    assert isinstance(error_of(200, body), OutcomeUnknown)
    assert isinstance(error_of(200, body, Effect.FREE), Unavailable)
    assert isinstance(error_of(404, body), OutcomeUnknown)


@pytest.mark.parametrize("status", [200, 400])
def test_codes_are_read_from_readable_answers(status: int) -> None:
    assert isinstance(error_of(status, {"statusCode": "01"}), TokenRefused)
    assert isinstance(error_of(status, {"statusCode": 1}), TokenRefused)
    assert isinstance(error_of(status, {"statusCode": "93", "message": "Kuota habis"}), QuotaExhausted)
    rejected = error_of(status, {"statusCode": "12", "message": "Tanggal salah"})
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.message) == ("12", "Tanggal salah")


def test_a_good_answer_is_handed_on_and_a_good_code_with_a_bad_status_is_not() -> None:
    assert read(200, {"statusCode": "00", "result": 1})["result"] == 1
    assert read(200, {"errorCode": 0})["errorCode"] == 0
    assert isinstance(error_of(400, {"statusCode": "00"}), OutcomeUnknown)


@pytest.mark.parametrize("status", [401, 403])
def test_401_and_403_are_token_trouble(status: int) -> None:
    assert isinstance(error_of(status, b"<html>"), TokenRefused)


def test_a_rejection_repeats_nothing_private() -> None:
    said = f"<b>NIK {NIK}</b> milik {NAME.upper()} / 1271 0101 0190 0001 token {jwt(id='x')}\n" + "x" * 500
    error = error_of(200, {"statusCode": "12", "message": said})
    assert error.message.startswith("NIK *** milik *** / *** token ***")
    assert len(error.message) <= MESSAGE_MAX


@given(st.text(max_size=3000), st.text(max_size=40))
def test_cleaned_messages_are_short_and_hold_no_long_number(message: str, private: str) -> None:
    text = clean(message + NIK, (private,))
    assert len(text) <= MESSAGE_MAX
    assert NIK not in text


def test_retry_after_is_read_as_seconds_or_date_and_bounded() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    assert retry_after_s("7", now) == 7
    assert retry_after_s("99999999999999999999", now) == 300
    assert retry_after_s("Thu, 01 Jan 2026 00:00:09 GMT", now) == 9
    assert retry_after_s("Thu, 01 Jan 2025 00:00:09 GMT", now) == 0
    assert retry_after_s("soon", now) is None
    assert retry_after_s("-5", now) is None
    assert retry_after_s(None, now) is None


#: A thousand and some, with marks between thousands and before decimals, in Indonesian and in English.
THOUSANDS = ("1.234", "1.234.00", "1.234,00", "1,234", "1,234.00")


@pytest.mark.parametrize("saldo", [1234, "1234", " 1234 ", 1234.0, "1234.00", "1234.0", *THOUSANDS])
def test_the_balance_is_read_in_every_shape(saldo: Any) -> None:
    assert read_balance({"result": {"saldo": saldo}}) == 1234


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"saldo": None},
        {"saldo": True},
        {"saldo": "many"},
        [],
        "x",
        {"saldo": 1.5},
        {"saldo": "1.5"},
        {"saldo": "1234.000"},
        {"saldo": "1.23.456"},
    ],
)
def test_a_balance_that_can_not_be_read_is_an_outage(result: Any) -> None:
    with pytest.raises(Unavailable):
        read_balance({"result": result})


@pytest.mark.parametrize("result", [[], "Data tidak ditemukan", {"total": 0, "data": []}, {"total": 0}])
def test_no_serial_number_is_said_in_many_ways(result: Any) -> None:
    assert read_status({"result": result}, "389UY343AP0GE9A40000A9") is None


def test_the_status_of_an_sn_is_found_in_other_letters() -> None:
    row = {"serialnumber": "389uy343ap0ge9a40000a9", "status": "STAMP"}
    assert read_status({"result": [row]}, "389UY343AP0GE9A40000A9") is not None


def test_an_sn_whose_status_is_not_said_was_sold_all_the_same() -> None:
    row = {"serialnumber": "389UY343AP0GE9A40000A9", "file": "ord-1.pdf", "tglupdate": None}
    for unsaid in ({}, {"status": None}, {"status": " "}):
        (record,) = read_rows({"result": {"total": "1", "data": [row | unsaid]}})
        assert (record.status, record.file) == (None, "ord-1.pdf")


@pytest.mark.parametrize(
    "result",
    [None, 5, {"total": 1}, [{"serialnumber": "x"}], [{}], [{"serialnumber": "A" * 22, "status": "?"}]],
)
def test_a_list_that_can_not_be_read_is_an_outage_never_an_empty_one(result: Any) -> None:
    with pytest.raises(Unavailable):
        read_rows({"result": result})


def test_pictures_must_be_whole_pngs() -> None:
    assert png_from_base64(png_text()) == png()
    assert png_from_base64("data:image/png;base64," + png_text()) == png()
    assert png_from_base64(png_text()[:-20]) is None
    assert png_from_base64("not base64!") is None
    assert not is_png(b"<svg>" * 20)
    assert not is_png(png()[:-1])


def test_a_token_is_used_for_its_life_less_a_margin() -> None:
    assert life_s(jwt(exp=1_000_000), 900_000) == 100_000 - 300
    assert life_s(jwt(exp=86_400, iat=0), 5_000_000) == 86_400 - 300
    assert life_s(jwt(exp=900_010), 900_000) == pytest.approx(9)
    # Over before it was made: a clock is wrong, or it is no time at all.
    for exp in (5, 900_000, -1, 10**400, float("inf"), float("nan"), True, "900010", None):
        assert life_s(jwt(exp=exp), 900_000) == 3600 - 300
    assert life_s("opaque", 900_000) == 3600 - 300
    assert life_s("a.%%%.c", 900_000) == 3600 - 300
