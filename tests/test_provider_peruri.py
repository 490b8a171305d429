"""The Peruri adapter on scripted answers: what it sends to buy and to ask, what it makes of what comes back."""

from __future__ import annotations

import json
import logging
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from antrean.provider.errors import OutcomeUnknown, QuotaExhausted, Rejected, SerialUnusable, Unavailable
from antrean.provider.protocol import CallMeter, Generated, SerialPage, SerialRecord
from antrean.provider.translate import NoPicture
from provider_support import (
    NAME,
    NIK,
    SN,
    ScriptedUpstream,
    generate_request,
    jwt,
    png,
    png_text,
    scripted_adapter,
)

GENERATE = "/chanel/stampv2"
BALANCE = "/function/saldopos"
SOLD = {"statusCode": "00", "message": "success", "result": {"sn": SN, "image": png_text()}}
TOKEN_OVER = {"statusCode": "01", "message": "Token tidak berlaku"}


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


async def test_generate_sends_the_order_and_names_it_in_namafile(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", GENERATE, SOLD)
    meter = CallMeter()
    assert await scripted_adapter(redis, upstream).generate(generate_request(), meter) == Generated(SN, png())
    assert json.loads(upstream.asked[-1].content) == {
        "isUpload": False,
        "namadoc": "4b",
        "namafile": "ord-1.pdf",
        "nilaidoc": "10000",
        "namejidentitas": "KTP",
        "noidentitas": NIK,
        "namedipungut": NAME,
        "snOnly": False,
        "nodoc": "SK-1",
        "tgldoc": "2024-09-04",
    }
    assert upstream.asked[-1].headers["authorization"].startswith("Bearer ")
    assert meter.calls == 1


async def test_the_meter_is_told_how_long_the_upstream_took(redis: Redis, upstream: ScriptedUpstream) -> None:
    upstream.on("POST", GENERATE, lambda _: httpx.Response(200, json=SOLD, extensions={"answer_s": 0.3}))
    meter = CallMeter()
    await scripted_adapter(redis, upstream).generate(generate_request(), meter)
    assert meter.answer_s == 0.3


@pytest.mark.parametrize("image", [{"filenameQR": "x.png"}, {"image": "broken"}, {"image": 5}])
async def test_an_sn_without_a_sound_picture_is_ours_all_the_same(
    redis: Redis, upstream: ScriptedUpstream, image: dict[str, Any]
) -> None:
    upstream.on("POST", GENERATE, {"statusCode": "00", "result": {"sn": SN, **image}})
    assert await scripted_adapter(redis, upstream).generate(generate_request(), CallMeter()) == Generated(
        SN, None
    )


@pytest.mark.parametrize("result", [None, {}, {"sn": None}, {"sn": "?"}, {"sn": 5}, [SN], "x"])
async def test_a_yes_without_a_serial_number_is_unknown(
    redis: Redis, upstream: ScriptedUpstream, result: Any
) -> None:
    upstream.on("POST", GENERATE, {"statusCode": "00", "result": result})
    with pytest.raises(OutcomeUnknown):
        await scripted_adapter(redis, upstream).generate(generate_request(), CallMeter())


@pytest.mark.parametrize("refusal", [TOKEN_OVER, httpx.Response(401, text="<html>")])
async def test_code_01_logs_in_again_once_and_repeats_once(
    redis: Redis, upstream: ScriptedUpstream, refusal: Any
) -> None:
    upstream.on("POST", "/api/users/login", *({"statusCode": "00", "token": jwt(n=n)} for n in (1, 2)))
    upstream.on("POST", GENERATE, refusal, SOLD)
    meter = CallMeter()
    assert (await scripted_adapter(redis, upstream).generate(generate_request(), meter)).serial_number == SN
    assert upstream.count("/api/users/login") == 2
    assert upstream.count(GENERATE) == meter.calls == 2


async def test_code_01_twice_is_unavailable_and_nothing_more_is_tried(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", GENERATE, TOKEN_OVER)
    with pytest.raises(Unavailable) as raised:
        await scripted_adapter(redis, upstream).generate(generate_request(), CallMeter())
    assert raised.value.sent
    assert upstream.count(GENERATE) == 2


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (httpx.ReadError("x"), OutcomeUnknown),
        (httpx.Response(500, text="x"), OutcomeUnknown),
        (httpx.Response(200, text="<html>"), OutcomeUnknown),
        (httpx.ConnectError("x"), Unavailable),
        (httpx.Response(503), Unavailable),
        (httpx.Response(200, json={"statusCode": "93", "message": "Kuota habis"}), QuotaExhausted),
        (httpx.Response(200, json={"statusCode": "12", "message": f"NIK {NIK} salah"}), Rejected),
    ],
)
async def test_a_failed_generate_is_sent_once_and_says_nothing_private(
    redis: Redis,
    upstream: ScriptedUpstream,
    caplog: pytest.LogCaptureFixture,
    reply: Any,
    error: type[Exception],
) -> None:
    caplog.set_level(logging.DEBUG)
    upstream.on("POST", GENERATE, reply)
    with pytest.raises(error) as raised:
        await scripted_adapter(redis, upstream).generate(generate_request(), CallMeter())
    assert upstream.count(GENERATE) == 1
    said = str(raised.value) + caplog.text
    assert NIK not in said
    assert "rahasia" not in said


async def test_an_intent_that_fails_stops_the_call_and_goes_up_unchanged(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    class ClaimLostError(Exception):
        pass

    class Lost:
        def with_permit(self, permits: str, permit: str) -> None:
            raise AssertionError((permits, permit))

        async def before_send(self) -> None:
            raise ClaimLostError

    meter = CallMeter(intent=Lost())
    with pytest.raises(ClaimLostError):
        await scripted_adapter(redis, upstream).generate(generate_request(), meter)
    assert (upstream.count(GENERATE), meter.calls) == (0, 0)


async def test_text_that_can_not_be_sent_is_rejected_before_anything_is_sent(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    with pytest.raises(Rejected):
        await scripted_adapter(redis, upstream).generate(generate_request("ord-\ud800"), CallMeter())
    assert upstream.count(GENERATE) == 0


async def test_free_questions_are_asked_as_the_protocol_says(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    row = {
        "serialnumber": SN,
        "status": "NOTSTAMP",
        "file": "ord-1.pdf",
        "tglupdate": "2026-01-01T08:00:00+07:00",
    }
    record = SerialRecord(SN, "NOTSTAMP", "ord-1.pdf", "2026-01-01T08:00:00+07:00")
    upstream.on("GET", "/api/chanel/stamp/ext", {"statusCode": "00", "result": {"total": 1, "data": [row]}})
    upstream.on("GET", "/chanel/sale/stamp/ext/A77", {"statusCode": "00", "result": [row]})
    upstream.on("POST", BALANCE, {"statusCode": "00", "result": {"saldo": "12"}})
    upstream.on(
        "GET", "/jenisdoc", {"statusCode": "00", "result": [{"id": "1", "kode": "4b", "nama": "Surat"}]}
    )
    upstream.on(
        "GET",
        "/snqr/qrimage",
        {"statusCode": "00", "result": png_text()},
        httpx.Response(200, text=png_text()),
        httpx.Response(200, text=f'"{png_text()}"'),
        httpx.Response(200, content=png()),
        httpx.Response(200, text="<html>"),
    )
    adapter, meter = scripted_adapter(redis, upstream), CallMeter()
    assert await adapter.serial_status(SN) == record
    assert upstream.asked[-1].url.query == f"filter={SN}".encode()
    page = await adapter.serial_page(1, 50)
    assert (page.records, page.last) == ((record,), False)
    assert upstream.asked[-1].url.query == b"page=1&size=50"
    assert await adapter.balance() == 12
    assert await adapter.document_types() == {"4b": "Surat"}
    for _ in range(4):
        assert await adapter.qr_image(SN, meter) == png()
    with pytest.raises(Unavailable):
        await adapter.qr_image(SN, meter)
    assert meter.calls == 5
    assert upstream.count("/api/users/login") == 1


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ('{"statusCode":"00","result":""}', Rejected),
        ('{"statusCode":"00","result":"bm8gcGljdHVyZQ=="}', Rejected),
        ("bm8gcGljdHVyZQ==", Rejected),
        ('{"statusCode":"99","message":"not yet"}', Rejected),
        ('{"statusCode":"92","message":"not known"}', SerialUnusable),
        ('{"statusCode":"00","resu', Unavailable),
        ("<html>maintenance</html>", Unavailable),
    ],
)
async def test_an_answer_without_a_picture_is_told_from_no_answer(
    redis: Redis, upstream: ScriptedUpstream, body: str, error: type[Exception]
) -> None:
    upstream.on("GET", "/snqr/qrimage", httpx.Response(200, text=body))
    with pytest.raises(error):
        await scripted_adapter(redis, upstream).qr_image(SN, CallMeter())


@pytest.mark.parametrize(
    ("body", "error"),
    [('{"status":404,"error":"Not Found"}', NoPicture), ("not found", NoPicture), ("<html>404", Unavailable)],
)
async def test_a_no_without_a_code_is_of_that_sn_unless_a_page_says_it(
    redis: Redis, upstream: ScriptedUpstream, body: str, error: type[Exception]
) -> None:
    upstream.on("GET", "/snqr/qrimage", httpx.Response(404, text=body))
    with pytest.raises(error):
        await scripted_adapter(redis, upstream).qr_image(SN, CallMeter())


async def test_without_an_id_in_the_token_the_list_is_asked_for_the_login_s_user(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", "/api/users/login", {"statusCode": "00", "token": "opaque-token"})
    upstream.on("GET", "/chanel/sale/stamp/ext/pos-medan", {"statusCode": "00", "result": []})
    assert (await scripted_adapter(redis, upstream).serial_page(1, 10)).last


@pytest.mark.parametrize(
    "under_the_token_s_id",
    [
        {"statusCode": "00", "result": []},
        {"statusCode": "05", "message": "user tidak ditemukan"},
        TOKEN_OVER,
        *(httpx.Response(status, text="no such page") for status in (400, 401, 403, 404, 410, 500, 503)),
        httpx.Response(404, json={"error": "not found"}),
        httpx.Response(200, text="<html>"),
        httpx.ReadTimeout("silence"),
    ],
)
async def test_a_list_that_is_not_had_under_one_id_is_asked_for_under_the_other(
    redis: Redis, upstream: ScriptedUpstream, under_the_token_s_id: Any
) -> None:
    row = {"serialnumber": SN, "status": "NOTSTAMP", "file": "ord-1.pdf"}
    upstream.on("GET", "/chanel/sale/stamp/ext/A77", under_the_token_s_id)
    upstream.on("GET", "/chanel/sale/stamp/ext/pos-medan", {"statusCode": "00", "result": [row]})
    adapter = scripted_adapter(redis, upstream)
    assert [record.serial_number for record in (await adapter.serial_page(1, 10)).records] == [SN]
    await adapter.serial_page(2, 10)
    assert upstream.count("/chanel/sale/stamp/ext/A77") == 1


async def test_a_list_refused_under_both_ids_is_not_taken_for_empty(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    for user_id in ("A77", "pos-medan"):
        upstream.on("GET", f"/chanel/sale/stamp/ext/{user_id}", {"statusCode": "05", "message": "tidak ada"})
    with pytest.raises(Rejected):
        await scripted_adapter(redis, upstream).serial_page(1, 10)


@pytest.mark.parametrize(
    ("under_the_token_s_id", "empty"),
    [
        (httpx.Response(404, text="no such page"), True),
        (httpx.Response(403, text="not yours"), True),
        (TOKEN_OVER, True),
        (httpx.Response(500, text="trouble"), False),
        (httpx.Response(503), False),
        (httpx.ReadTimeout("silence"), False),
    ],
)
async def test_an_empty_list_beside_one_that_failed_for_now_proves_nothing(
    redis: Redis, upstream: ScriptedUpstream, under_the_token_s_id: Any, empty: bool
) -> None:
    upstream.on("GET", "/chanel/sale/stamp/ext/A77", under_the_token_s_id)
    upstream.on("GET", "/chanel/sale/stamp/ext/pos-medan", {"statusCode": "00", "result": []})
    adapter = scripted_adapter(redis, upstream)
    if empty:
        assert await adapter.serial_page(1, 10) == SerialPage((), last=True)
    else:
        with pytest.raises(Unavailable):
            await adapter.serial_page(1, 10)


async def test_a_token_refused_under_both_ids_is_renewed_once(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    for user_id in ("A77", "pos-medan"):
        upstream.on("GET", f"/chanel/sale/stamp/ext/{user_id}", TOKEN_OVER)
    with pytest.raises(Unavailable):
        await scripted_adapter(redis, upstream).serial_page(1, 10)
    assert upstream.count("/api/users/login") == 2


async def test_a_probe_after_a_trial_that_failed_asks_under_the_other_id_next(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("GET", "/chanel/sale/stamp/ext/A77", httpx.Response(404, text="no such page"))
    upstream.on("GET", "/chanel/sale/stamp/ext/pos-medan", {"statusCode": "00", "result": []})
    adapter = scripted_adapter(redis, upstream)
    await adapter.ensure_token()
    with pytest.raises(Unavailable):
        await adapter.probe(after_trial=True)
    await adapter.probe(after_trial=True)
    assert upstream.count("/chanel/sale/stamp/ext/pos-medan") == 1
