"""Stamping, on premise through the shared folder and in the cloud: nothing is left behind, nothing taken on trust."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from antrean.orders import ids
from antrean.provider.errors import OutcomeUnknown, Rejected, SerialUnusable, Unavailable
from antrean.provider.onpremise import OnPremiseStamper
from antrean.provider.protocol import CallMeter
from antrean.provider.wire import Wire
from provider_support import (
    ADAPTER,
    FILEUPLOAD,
    PDF,
    SN,
    STAMPSERVICE,
    ScriptedUpstream,
    png,
    scripted_adapter,
    stamp_request,
)

SIGN = "/adapter/pdfsigning/rest/docSigningZ"


@pytest.fixture
def upstream() -> ScriptedUpstream:
    return ScriptedUpstream()


def signer(shared: Path, upstream: ScriptedUpstream, answer: dict[str, Any], pdf: bytes | None = PDF) -> None:
    """A signing adapter that leaves `pdf` at `dest` and answers."""

    def sign(request: httpx.Request) -> httpx.Response:
        fields = json.loads(request.content)
        assert (shared / "UNSIGNED" / Path(fields["src"]).name).read_bytes() == PDF
        assert (shared / "STAMP" / Path(fields["spesimenPath"]).name).read_bytes() == png()
        if pdf is not None:
            (shared / "SIGNED" / Path(fields["dest"]).name).write_bytes(pdf)
        return httpx.Response(200, json=answer, extensions={"answer_s": 0.3})

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
    assert (meter.calls, meter.answer_s) == (1, 0.3)
    await adapter.stamp(stamp_request(retry=True), meter)
    assert json.loads(upstream.asked[-1].content)["retryFlag"] == "1"


@pytest.mark.parametrize("status", [None, True, 1, "1", "true", ""])
async def test_a_code_that_says_yes_is_a_yes_unless_the_status_beside_it_says_no(
    redis: Redis, upstream: ScriptedUpstream, tmp_path: Path, status: Any
) -> None:
    signer(tmp_path, upstream, {"errorCode": "00", "status": status, "errorMessage": None})
    adapter = scripted_adapter(redis, upstream, shared_dir=tmp_path)
    assert await adapter.stamp(stamp_request(), CallMeter()) == PDF


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


@pytest.mark.parametrize(
    ("pdf", "seen"),
    [(None, "not there"), (b"", "no whole PDF"), (PDF[:20], "no whole PDF"), (b"<html>", "no whole PDF")],
)
async def test_a_yes_without_a_whole_document_is_unknown_and_says_which(
    redis: Redis,
    upstream: ScriptedUpstream,
    tmp_path: Path,
    pdf: bytes | None,
    seen: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("antrean.provider.onpremise.APPEAR_S", 0.1)
    signer(tmp_path, upstream, {"errorCode": "00", "status": "True"}, pdf)
    with pytest.raises(OutcomeUnknown, match=seen):
        await scripted_adapter(redis, upstream, shared_dir=tmp_path).stamp(stamp_request(), CallMeter())


async def test_leftovers_of_ours_are_removed_and_what_is_in_use_or_others_is_not(
    upstream: ScriptedUpstream, tmp_path: Path
) -> None:
    stamper = OnPremiseStamper(Wire(upstream.transport, 5.0), ADAPTER, tmp_path)
    assert not await stamper.tidy()
    ours = ids.new_id(0)
    for folder in ("UNSIGNED", "SIGNED", "STAMP"):
        (tmp_path / folder).mkdir()
        for name, age_s in ((f"{ours}-7.pdf", 3700), (f"{ours}-8.pdf", 3500), ("theirs.pdf", 3700)):
            path = tmp_path / folder / name
            path.write_bytes(b"x")
            os.utime(path, (time.time() - age_s, time.time() - age_s))
    assert not await stamper.tidy()
    assert sorted(files_in(tmp_path)) == sorted([f"{ours}-8.pdf", "theirs.pdf"] * 3)


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


@pytest.mark.parametrize("host", ["http://backend.test", "https://files.test", "https://files.test:443"])
async def test_a_download_address_on_a_host_of_the_settings_is_followed(
    redis: Redis, upstream: ScriptedUpstream, host: str
) -> None:
    cloud(upstream, f"{host}/download/1")
    adapter = scripted_adapter(
        redis,
        upstream,
        fileupload_url=FILEUPLOAD,
        stampservice_url=STAMPSERVICE,
        download_urls=("https://files.test/",),
    )
    assert await adapter.stamp(stamp_request(), CallMeter()) == PDF


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("https://files.test/a?token=geheim", "https://files.test:443 "),
        ("http://3171234567890123.test/x", "the host that the stamp service names"),
        ("http://x y.test/", "the host that the stamp service names"),
    ],
)
async def test_a_host_that_is_not_ours_to_ask_is_told_so_that_it_can_be_allowed(
    redis: Redis, upstream: ScriptedUpstream, url: str, told: str
) -> None:
    cloud(upstream, url)
    adapter = scripted_adapter(redis, upstream, fileupload_url=FILEUPLOAD, stampservice_url=STAMPSERVICE)
    with pytest.raises(OutcomeUnknown, match=told) as refused:
        await adapter.stamp(stamp_request(), CallMeter())
    assert "geheim" not in str(refused.value)
    assert "3171234567890123" not in str(refused.value)


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


@pytest.mark.parametrize("rest", [b"2 0 obj << >> endobj startxref 9 %%EOF\n", b"%%EOF\n(signed by us)"])
async def test_a_document_that_is_still_being_written_is_waited_for(
    redis: Redis, upstream: ScriptedUpstream, tmp_path: Path, rest: bytes
) -> None:
    """Signers append to the original: an end is in it before the whole is there."""
    torn = PDF + b"1 0 obj << /Type"
    signer(tmp_path, upstream, {"errorCode": "00", "status": "True"}, torn)
    stamping = asyncio.create_task(
        scripted_adapter(redis, upstream, shared_dir=tmp_path).stamp(stamp_request(), CallMeter())
    )
    while not (found := list((tmp_path / "SIGNED").glob("*.pdf"))):
        await asyncio.sleep(0.01)
    with found[0].open("ab") as file:
        file.write(rest)
    assert await stamping == torn + rest
