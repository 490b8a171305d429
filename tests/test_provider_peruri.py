"""The Peruri adapter on scripted answers and on real sockets: what it sends, what it makes of what comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiohttp import web
from redis.asyncio import Redis

from antrean.provider.errors import OutcomeUnknown, QuotaExhausted, Rejected, SerialUnusable, Unavailable
from antrean.provider.late import LateCalls
from antrean.provider.peruri import PeruriAdapter, PeruriConfig
from antrean.provider.protocol import CallMeter, Generated, SerialRecord
from antrean.provider.translate import LoginFailed
from provider_support import (
    FILEUPLOAD,
    NAME,
    NIK,
    PDF,
    SN,
    STAMPSERVICE,
    ScriptedUpstream,
    generate_request,
    jwt,
    png,
    png_text,
    scripted_adapter,
    shared_token,
    stamp_request,
)

GENERATE = "/chanel/stampv2"
SIGN = "/adapter/pdfsigning/rest/docSigningZ"
BALANCE = "/function/saldopos"
SOLD = {"statusCode": "00", "message": "success", "result": {"sn": SN, "image": png_text()}}
TOKEN_OVER = {"statusCode": "01", "message": "Token tidak berlaku"}


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


# ---- generate


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

    async def lost() -> None:
        raise ClaimLostError

    meter = CallMeter(before_send=lost)
    with pytest.raises(ClaimLostError):
        await scripted_adapter(redis, upstream).generate(generate_request(), meter)
    assert (upstream.count(GENERATE), meter.calls) == (0, 0)


async def test_text_that_can_not_be_sent_is_rejected_before_anything_is_sent(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    with pytest.raises(Rejected):
        await scripted_adapter(redis, upstream).generate(generate_request("ord-\ud800"), CallMeter())
    assert upstream.count(GENERATE) == 0


# ---- free questions


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


async def test_without_an_id_in_the_token_the_list_is_asked_for_the_login_s_user(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", "/api/users/login", {"statusCode": "00", "token": "opaque-token"})
    upstream.on("GET", "/chanel/sale/stamp/ext/pos-medan", {"statusCode": "00", "result": []})
    assert (await scripted_adapter(redis, upstream).serial_page(1, 10)).last


@pytest.mark.parametrize(
    "under_the_token_s_id",
    [{"statusCode": "00", "result": []}, {"statusCode": "05", "message": "user tidak ditemukan"}],
)
async def test_a_list_that_is_empty_or_refused_under_one_id_is_asked_for_under_the_other(
    redis: Redis, upstream: ScriptedUpstream, under_the_token_s_id: dict[str, Any]
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


# ---- the token


async def test_one_login_serves_all_workers(redis: Redis, upstream: ScriptedUpstream) -> None:
    upstream.on("POST", BALANCE, {"statusCode": "00", "result": {"saldo": 1}})
    fleet = [scripted_adapter(redis, upstream) for _ in range(4)]
    assert await asyncio.gather(*(adapter.balance() for adapter in fleet * 5)) == [1] * 20
    assert upstream.count("/api/users/login") == 1


async def test_a_refused_token_is_renewed_once_for_all_workers(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    good = jwt(n=2)

    def balance(request: httpx.Request) -> httpx.Response:
        taken = request.headers["authorization"] == f"Bearer {good}"
        return httpx.Response(200, json={"statusCode": "00", "result": {"saldo": 1}} if taken else TOKEN_OVER)

    upstream.on(
        "POST",
        "/api/users/login",
        {"statusCode": "00", "token": jwt(n=1)},
        {"statusCode": "00", "token": good},
    )
    upstream.on("POST", BALANCE, balance)
    fleet = [scripted_adapter(redis, upstream) for _ in range(4)]
    assert await asyncio.gather(*(adapter.balance() for adapter in fleet * 5)) == [1] * 20
    assert upstream.count("/api/users/login") == 2


async def test_a_token_is_renewed_before_its_end(redis: Redis, upstream: ScriptedUpstream) -> None:
    now = [1_000_000.0]
    config = PeruriConfig("http://b.test", "http://s.test", "u", "p")
    tokens = shared_token(redis, config)
    tokens._now_s = lambda: now[0]
    logins = 0

    async def login() -> str:
        nonlocal logins
        logins += 1
        return jwt(exp=now[0] + 86_400, n=logins)

    first = await tokens.get(login)
    now[0] += 86_400 - 301
    assert await tokens.get(login) == first
    now[0] += 2
    assert await tokens.get(login) != first
    assert logins == 2


async def test_a_failed_login_is_not_tried_by_everyone_in_turn(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", "/api/users/login", httpx.Response(500))
    fleet = [scripted_adapter(redis, upstream) for _ in range(10)]
    errors = await asyncio.gather(*(adapter.balance() for adapter in fleet), return_exceptions=True)
    assert all(isinstance(error, LoginFailed) for error in errors)
    assert sum(getattr(error, "ours", False) for error in errors) == upstream.count("/api/users/login") == 1


@pytest.mark.parametrize(
    "reply",
    [
        {"statusCode": "12", "message": "salah"},
        {"statusCode": "00"},
        {"statusCode": "00", "token": "a\nb"},
        TOKEN_OVER,
    ],
)
async def test_a_login_that_gives_no_token_is_the_account_s_trouble_not_the_order_s(
    redis: Redis, upstream: ScriptedUpstream, reply: dict[str, Any]
) -> None:
    upstream.on("POST", "/api/users/login", reply)
    with pytest.raises(Unavailable):
        await scripted_adapter(redis, upstream).generate(generate_request(), CallMeter())
    assert upstream.count(GENERATE) == 0


async def test_waiting_for_another_worker_s_login_is_bounded(redis: Redis) -> None:
    config = PeruriConfig("http://b.test", "http://s.test", "u", "p")
    one, other = shared_token(redis, config), shared_token(redis, config, wait_s=0.3)
    begun = asyncio.Event()

    async def never() -> str:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    stuck = asyncio.create_task(one.get(never))
    await begun.wait()
    with pytest.raises(LoginFailed):
        await other.get(never)
    stuck.cancel()
    await asyncio.gather(stuck, return_exceptions=True)


# ---- the probe


async def test_a_probe_is_one_call_a_login_first_and_the_balance_then(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    upstream.on("POST", BALANCE, {"statusCode": "00", "result": {"saldo": 1}}, TOKEN_OVER)
    adapter = scripted_adapter(redis, upstream)
    paths = []
    for _ in range(4):
        await adapter.probe()
        paths.append(upstream.asked[-1].url.path)
        assert len(upstream.asked) == len(paths)
    assert paths == ["/api/users/login", BALANCE, BALANCE, "/api/users/login"]


@pytest.mark.parametrize(
    "reply", [httpx.Response(500), httpx.ConnectError("x"), httpx.Response(200, text="<html>")]
)
async def test_a_bad_probe_is_one_call_as_well(redis: Redis, upstream: ScriptedUpstream, reply: Any) -> None:
    upstream.on("POST", "/api/users/login", reply)
    adapter = scripted_adapter(redis, upstream)
    with pytest.raises(Unavailable):
        await adapter.probe()
    assert len(upstream.asked) == 1


# ---- stamping


def signer(shared: Path, upstream: ScriptedUpstream, answer: dict[str, Any], pdf: bytes | None = PDF) -> None:
    """A signing adapter that leaves `pdf` at `dest` and answers."""

    def sign(request: httpx.Request) -> httpx.Response:
        fields = json.loads(request.content)
        assert (shared / "UNSIGNED" / Path(fields["src"]).name).read_bytes() == PDF
        assert (shared / "STAMP" / Path(fields["spesimenPath"]).name).read_bytes() == png()
        if pdf is not None:
            (shared / "SIGNED" / Path(fields["dest"]).name).write_bytes(pdf)
        return httpx.Response(200, json=answer)

    upstream.on("POST", SIGN, sign)


def files_in(shared: Path) -> list[str]:
    return sorted(path.name for path in shared.rglob("*") if path.is_file())


@pytest.mark.parametrize("code", ["00", 0])
async def test_stamping_on_premise_names_the_adapter_s_own_paths_and_leaves_nothing_behind(
    redis: Redis, upstream: ScriptedUpstream, tmp_path: Path, code: Any
) -> None:
    signer(
        tmp_path, upstream, {"errorCode": code, "status": "True", "errorMessage": ""}, PDF + b"signed %%EOF"
    )
    adapter, meter = (
        scripted_adapter(redis, upstream, shared_dir=tmp_path, remote_dir="/sharefolder/"),
        CallMeter(),
    )
    assert await adapter.stamp(stamp_request(), meter) == PDF + b"signed %%EOF"
    fields = json.loads(upstream.asked[-1].content)
    token = fields.pop("jwToken")
    assert token.count(".") == 2
    assert fields == {
        "certificatelevel": "NOT_CERTIFIED",
        "src": "/sharefolder/UNSIGNED/ord-1-7.pdf",
        "dest": "/sharefolder/SIGNED/ord-1-7.pdf",
        "spesimenPath": "/sharefolder/STAMP/ord-1-7.png",
        "docpass": "",
        "location": "JAKARTA",
        "profileName": "emeteraicertificateSigner",
        "reason": "Akta Pejabat",
        "refToken": SN,
        "visLLX": 400,
        "visLLY": 60,
        "visURX": 490,
        "visURY": 150,
        "visSignaturePage": 1,
    }
    assert files_in(tmp_path) == []
    assert meter.calls == 1
    await adapter.stamp(stamp_request(retry=True), meter)
    assert json.loads(upstream.asked[-1].content)["retryFlag"] == "1"


@pytest.mark.parametrize(
    ("answer", "error", "left"),
    [
        ({"errorCode": "97", "status": "False", "errorMessage": "SN"}, SerialUnusable, 0),
        ({"errorCode": 92, "status": "False", "errorMessage": "SN"}, SerialUnusable, 0),
        ({"errorCode": "55", "status": "False", "errorMessage": "PDF"}, Rejected, 0),
        ({"errorCode": "00", "status": "False"}, OutcomeUnknown, 3),
    ],
)
async def test_a_stamp_that_failed_leaves_files_only_where_the_adapter_may_be_at_them(
    redis: Redis,
    upstream: ScriptedUpstream,
    tmp_path: Path,
    answer: dict[str, Any],
    error: type[Exception],
    left: int,
) -> None:
    signer(tmp_path, upstream, answer)
    with pytest.raises(error):
        await scripted_adapter(redis, upstream, shared_dir=tmp_path).stamp(stamp_request(), CallMeter())
    assert len(files_in(tmp_path)) == left


@pytest.mark.parametrize("pdf", [None, b"", PDF[:20], b"<html>"])
async def test_a_yes_without_a_whole_document_is_unknown(
    redis: Redis,
    upstream: ScriptedUpstream,
    tmp_path: Path,
    pdf: bytes | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("antrean.provider.onpremise.APPEAR_S", 0.1)
    signer(tmp_path, upstream, {"errorCode": "00", "status": "True"}, pdf)
    with pytest.raises(OutcomeUnknown):
        await scripted_adapter(redis, upstream, shared_dir=tmp_path).stamp(stamp_request(), CallMeter())


async def test_a_shared_folder_that_can_not_be_written_stops_before_anything_is_sent(
    redis: Redis, upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    (tmp_path / "UNSIGNED").write_text("in the way")
    meter = CallMeter()
    with pytest.raises(Unavailable) as raised:
        await scripted_adapter(redis, upstream, shared_dir=tmp_path).stamp(stamp_request(), meter)
    assert (raised.value.sent, meter.calls) == (False, 0)


@pytest.mark.parametrize("ref", ["../x", "", "a/b", ".hidden", "x" * 200])
async def test_a_reference_can_not_leave_the_shared_folder(
    redis: Redis, upstream: ScriptedUpstream, tmp_path: Path, ref: str
) -> None:
    with pytest.raises(Unavailable):
        await scripted_adapter(redis, upstream, shared_dir=tmp_path).stamp(
            stamp_request(ref=ref), CallMeter()
        )
    assert files_in(tmp_path) == []


def cloud(upstream: ScriptedUpstream, url: str) -> None:
    upstream.on("POST", "/uploaddoc2", {"statusCode": "00", "id": "U1", "name": "x.pdf"})
    upstream.on(
        "POST", "/keystamp/adapter/docSigningZ", {"errorCode": "00", "status": "True", "urlFile": url}
    )
    upstream.on("GET", "/download/1", httpx.Response(200, content=PDF))


async def test_stamping_in_the_cloud_uploads_signs_and_downloads(
    redis: Redis, upstream: ScriptedUpstream
) -> None:
    cloud(upstream, f"{STAMPSERVICE}/download/1")
    adapter, meter = (
        scripted_adapter(redis, upstream, fileupload_url=FILEUPLOAD, stampservice_url=STAMPSERVICE),
        CallMeter(),
    )
    assert await adapter.stamp(stamp_request(), meter) == PDF
    upload, sign = upstream.asked[-3], json.loads(upstream.asked[-2].content)
    assert b'name="file"' in upload.content
    assert b'name="token"' in upload.content
    assert (sign["docId"], sign["onPrem"], sign["refToken"]) == ("U1", False, SN)
    assert meter.calls == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/x",
        "file:///etc/passwd",
        "http://stampservice.test:81/download/1",
        "",
        "http://[x",
    ]
    + ["http://stampservice.test@evil.test/x", "https://stampservice.test/download/1"],
)
async def test_a_download_address_on_another_host_is_never_followed(
    redis: Redis, upstream: ScriptedUpstream, url: str
) -> None:
    cloud(upstream, url)
    adapter = scripted_adapter(redis, upstream, fileupload_url=FILEUPLOAD, stampservice_url=STAMPSERVICE)
    with pytest.raises(OutcomeUnknown):
        await adapter.stamp(stamp_request(), CallMeter())
    assert upstream.asked[-1].url.path == "/keystamp/adapter/docSigningZ"


# ---- real sockets: refused, hanging, late, cut off

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Serve = Callable[[Handler], Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves a handler for every path on a free port; a login is answered by itself."""
    runners = []

    async def start(handler: Handler) -> str:
        async def any_path(request: web.Request) -> web.StreamResponse:
            if request.path == "/api/users/login":
                return web.json_response({"statusCode": "00", "token": jwt(id="A77")})
            return await handler(request)

        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", any_path)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


def socket_adapter(redis: Redis, url: str, stampv2: str = "", timeout_s: float = 0.3) -> PeruriAdapter:
    config = PeruriConfig(
        url,
        stampv2 or url,
        "pos-medan",
        "rahasia",
        adapter_url=url,
        shared_dir=Path(),
        timeout_s=timeout_s,
    )
    return PeruriAdapter(config, shared_token(redis, config))


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


async def test_a_refused_connection_did_not_happen(redis: Redis, serve: Serve) -> None:
    async def unused(_: web.Request) -> web.StreamResponse:
        raise AssertionError

    adapter = socket_adapter(redis, await serve(unused), stampv2=closed_port())
    with pytest.raises(Unavailable) as raised:
        await adapter.generate(generate_request(), CallMeter())
    assert not raised.value.sent
    await adapter.aclose()


async def test_a_connection_cut_after_the_request_is_unknown(redis: Redis, serve: Serve) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        await request.read()
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    adapter = socket_adapter(redis, await serve(cut))
    with pytest.raises(OutcomeUnknown):
        await adapter.generate(generate_request(), CallMeter())
    await adapter.aclose()


async def test_a_late_answer_to_a_call_given_up_on_still_comes_in(redis: Redis, serve: Serve) -> None:
    go = asyncio.Event()

    async def late(_: web.Request) -> web.StreamResponse:
        await go.wait()
        return web.json_response(SOLD)

    adapter = socket_adapter(redis, await serve(late))
    with pytest.raises(OutcomeUnknown) as raised:
        await adapter.generate(generate_request(), CallMeter())
    assert raised.value.late is not None
    answer = asyncio.ensure_future(raised.value.late)
    assert not answer.done()
    go.set()
    assert await asyncio.wait_for(answer, 5) == Generated(SN, png())
    await adapter.aclose()


async def test_closing_does_not_wait_for_late_answers(redis: Redis, serve: Serve) -> None:
    async def never(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(30)
        return web.Response()

    adapter = socket_adapter(redis, await serve(never))
    with pytest.raises(OutcomeUnknown):
        await adapter.generate(generate_request(), CallMeter())
    await asyncio.wait_for(adapter.aclose(), 2)


async def test_late_calls_are_bounded_in_number() -> None:
    late = LateCalls(calls_max=2)
    hanging = [late.run(asyncio.sleep(30), 0.01) for _ in range(4)]
    errors = await asyncio.gather(*hanging, return_exceptions=True)
    assert (
        [isinstance(e, OutcomeUnknown) and e.late is not None for e in errors].count(True) == len(late) == 2
    )
    await late.aclose()


async def test_a_free_question_that_hangs_ends_in_time(redis: Redis, serve: Serve) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    adapter = socket_adapter(redis, await serve(drip))
    with pytest.raises(Unavailable):
        await asyncio.wait_for(adapter.balance(), 2)
    await adapter.aclose()


async def test_an_answer_without_end_is_cut_off(
    redis: Redis, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antrean.provider.wire.ANSWER_BYTES_MAX", 1000)

    async def endless(request: web.Request) -> web.StreamResponse:
        return web.Response(body=b" " * 5000)

    adapter = socket_adapter(redis, await serve(endless))
    with pytest.raises(OutcomeUnknown, match="too large"):
        await adapter.generate(generate_request(), CallMeter())
    await adapter.aclose()


async def test_the_signing_service_is_probed_by_a_connection_alone(redis: Redis, serve: Serve) -> None:
    asked = []

    async def count(request: web.Request) -> web.StreamResponse:
        asked.append(request.path)
        return web.Response()

    up, down = socket_adapter(redis, await serve(count)), socket_adapter(redis, closed_port())
    await up.adapter_reachable()
    with pytest.raises(Unavailable):
        await down.adapter_reachable()
    assert asked == []
    await up.aclose()
    await down.aclose()


async def test_many_calls_at_once_share_the_slots_and_give_them_back(redis: Redis, serve: Serve) -> None:
    async def quick(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.005)
        return web.json_response({"statusCode": "00", "result": {"saldo": 7}})

    adapter = socket_adapter(redis, await serve(quick), timeout_s=10)
    assert await asyncio.gather(*(adapter.balance() for _ in range(400))) == [7] * 400
    await adapter.aclose()
