"""Stamping: the on-premise adapter with its shared folder, and the cloud variant."""

from __future__ import annotations

import asyncio
import io
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pikepdf
import pytest

from antrean.simulator.qr import qr_png
from antrean.simulator.stamper import Placement, StampFailed, stamp_pdf
from simulated_upstream import Upstream, adapter_folder, blank_pdf, simulated, stamp_request

BOX = Placement(1, 400, 60, 490, 150)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return adapter_folder(tmp_path / "shared", blank_pdf(3), qr_png("CONTOH"))


@pytest.fixture
async def upstream(folder: Path) -> AsyncIterator[Upstream]:
    async with simulated(adapter_root=folder) as running:
        yield running


def stamped(pdf: bytes, placement: Placement = BOX, **more: Any) -> bytes:
    return stamp_pdf(pdf, qr_png("CONTOH"), placement, serial_number="CONTOH", signed_at="D:20240904", **more)


def pixels(png: bytes) -> bytes:
    """The rows of a PNG of one bit a pixel and one IDAT, whose rows are not filtered."""
    at = png.index(b"IDAT")
    raw = zlib.decompress(png[at + 4 : at + 4 + int.from_bytes(png[at - 4 : at], "big")])
    line_bytes = 1 + (int.from_bytes(png[16:20], "big") + 7) // 8
    return b"".join(raw[start + 1 : start + line_bytes] for start in range(0, len(raw), line_bytes))


async def test_a_stamped_pdf_has_its_pages_its_picture_and_a_signature_field(
    upstream: Upstream, folder: Path
) -> None:
    number = await upstream.buy()
    answer = await upstream.stamp(folder, number, visSignaturePage=2)
    assert answer == {"errorCode": "00", "status": "True", "errorMessage": ""}
    with pikepdf.open(folder / "SIGNED" / "a.pdf") as pdf:
        assert [len(page.get_images()) for page in pdf.pages] == [0, 1, 0]
        (image,) = pdf.pages[1].get_images().values()
        assert (int(image.Width), int(image.Height), int(image.BitsPerComponent)) == (174, 174, 1)
        assert image.read_bytes() == pixels(qr_png("CONTOH"))
        (field,) = pdf.Root.AcroForm.Fields
        assert pikepdf.Name.Sig == field.FT
        assert [float(edge) for edge in field.Rect] == [400, 60, 490, 150]
        assert number in str(field["/T"])
    assert (await upstream.status(number))["result"]["data"][0]["status"] == "STAMP"
    assert (await upstream.state())["stamped"] == 1


async def test_the_same_sn_on_the_same_document_again_is_harmless(upstream: Upstream, folder: Path) -> None:
    number = await upstream.buy()
    for _ in range(2):
        assert (await upstream.stamp(folder, number, retryFlag="1"))["errorCode"] == "00"
    state = await upstream.state()
    assert (state["stamped"], state["stamps_repeated"]) == (1, 1)


async def test_the_same_sn_on_another_document_answers_97(upstream: Upstream, folder: Path) -> None:
    number = await upstream.buy()
    await upstream.stamp(folder, number)
    (folder / "UNSIGNED" / "a.pdf").write_bytes(blank_pdf(1, "lain"))
    (folder / "SIGNED" / "a.pdf").unlink()
    answer = await upstream.stamp(folder, number)
    assert (answer["errorCode"], answer["status"]) == ("97", "False")
    assert not (folder / "SIGNED" / "a.pdf").exists()


async def test_an_sn_the_account_does_not_know_answers_92(upstream: Upstream, folder: Path) -> None:
    assert (await upstream.stamp(folder, "TIDAKADA"))["errorCode"] == "92"


async def test_a_bad_token_answers_01(upstream: Upstream, folder: Path) -> None:
    number = await upstream.buy()
    assert (await upstream.stamp(folder, number, jwToken="mati"))["errorCode"] == "01"


@pytest.mark.parametrize(
    "change",
    [
        {"src": "/etc/hostname"},
        {"dest": "/tmp/../etc/x.pdf"},
        {"spesimenPath": "a.png"},
        {"src": "{folder}/../x.pdf"},
        {"src": "{folder}/UNSIGNED/none.pdf"},
        {"dest": "{folder}/NOWHERE/a.pdf"},
        {"src": "{folder}/STAMP/a.png"},
        {"spesimenPath": "{folder}/UNSIGNED/a.pdf"},
        {"visSignaturePage": 4},
        {"visLLX": None},
        {"visLLX": "nan"},
        {"visLLX": 490},
        {"visLLX": 700, "visURX": 800},
        {"profileName": "lain"},
    ],
)
async def test_a_stamp_that_cannot_be_done_is_refused_and_leaves_the_sn_unstamped(
    upstream: Upstream, folder: Path, change: dict[str, Any]
) -> None:
    number = await upstream.buy()
    made = {k: v.format(folder=folder) if isinstance(v, str) else v for k, v in change.items()}
    answer = await upstream.stamp(folder, number, **made)
    assert answer["errorCode"] in ("14", "95")
    assert (await upstream.status(number))["result"]["data"][0]["status"] == "NOTSTAMP"
    assert (await upstream.stamp(folder, number))["errorCode"] == "00"
    assert [path.name for path in (folder / "SIGNED").iterdir()] == ["a.pdf"]


async def test_a_link_out_of_the_shared_folder_is_not_followed(upstream: Upstream, folder: Path) -> None:
    outside = folder.parent / "outside.pdf"
    outside.write_bytes(blank_pdf())
    (folder / "UNSIGNED" / "link.pdf").symlink_to(outside)
    number = await upstream.buy()
    answer = await upstream.stamp(folder, number, src=str(folder / "UNSIGNED" / "link.pdf"))
    assert answer["errorCode"] == "14"


async def test_one_sn_for_two_documents_at_once_goes_on_one(upstream: Upstream, folder: Path) -> None:
    other = folder / "UNSIGNED" / "b.pdf"
    other.write_bytes(blank_pdf(1, "b"))
    number = await upstream.buy()
    both = [{}, {"src": str(other), "dest": str(folder / "SIGNED" / "b.pdf")}]
    answers = await asyncio.gather(*(upstream.stamp(folder, number, **change) for change in both))
    assert sorted(answer["errorCode"] for answer in answers) == ["00", "97"]


async def test_the_adapter_may_know_the_folder_by_another_path(folder: Path) -> None:
    async with simulated(adapter_root=folder, adapter_remote_root="/sharefolder") as upstream:
        number = await upstream.buy()
        ours = stamp_request(folder, number, upstream.token)
        theirs = {
            name: str(ours[name]).replace(str(folder), "/sharefolder")
            for name in ("src", "dest", "spesimenPath")
        }
        assert (await upstream.stamp(folder, number, **theirs))["errorCode"] == "00"
        assert (await upstream.stamp(folder, number))["errorCode"] == "14"
    assert (folder / "SIGNED" / "a.pdf").exists()


async def test_done_may_be_the_number_0(upstream: Upstream, folder: Path) -> None:
    await upstream.call("PUT", f"{upstream.origin}/_sim/modes", json={"stamp_code": "number"})
    assert (await upstream.stamp(folder, await upstream.buy()))["errorCode"] == 0


async def test_the_cloud_variant_uploads_stamps_and_gives_the_pdf(upstream: Upstream, folder: Path) -> None:
    form = aiohttp.FormData()
    form.add_field("token", upstream.token)
    form.add_field("file", blank_pdf(2), filename="surat.pdf", content_type="application/pdf")
    _, uploaded = await upstream.call("POST", f"{upstream.urls['fileupload']}/uploaddoc2", data=form)
    assert (uploaded["statusCode"], uploaded["name"]) == ("00", "surat.pdf")

    body = stamp_request(folder, await upstream.buy(), upstream.token)
    body |= {"docId": uploaded["id"], "onPrem": False, "visSignaturePage": "2"}
    url = f"{upstream.urls['stampservice']}/keystamp/adapter/docSigningZ"
    _, answer = await upstream.call("POST", url, json=body)
    assert answer["errorCode"] == "00"
    async with upstream.http.get(answer["urlFile"]) as response:
        assert response.content_type == "application/pdf"
        content = await response.read()
    with pikepdf.open(io.BytesIO(content)) as pdf:
        assert [len(page.get_images()) for page in pdf.pages] == [0, 1]


async def test_an_upload_needs_a_good_token_and_a_file(upstream: Upstream) -> None:
    url = f"{upstream.urls['fileupload']}/uploaddoc2"
    for fields, code in (({"token": "mati", "file": "x"}, "01"), ({"token": upstream.token}, "14")):
        form = aiohttp.FormData(default_to_multipart=True)
        for name, value in fields.items():
            form.add_field(name, value)
        assert (await upstream.call("POST", url, data=form))[1]["statusCode"] == code
    assert (await upstream.call("POST", url, data=b"x"))[0] == 400


def test_a_document_keeps_its_own_form_and_annotations() -> None:
    once = stamped(blank_pdf())
    twice = stamped(once, Placement(1, 10, 10, 90, 90))
    with pikepdf.open(io.BytesIO(twice)) as pdf:
        assert len(pdf.Root.AcroForm.Fields) == 2
        assert len(pdf.pages[0].Annots) == 2
        assert len(pdf.pages[0].get_images()) == 2


def test_a_locked_pdf_needs_its_password() -> None:
    locked = io.BytesIO()
    with pikepdf.open(io.BytesIO(blank_pdf())) as pdf:
        pdf.save(locked, encryption=pikepdf.Encryption(user="buka", owner="buka"))
    with pytest.raises(StampFailed, match="terkunci"):
        stamped(locked.getvalue())
    assert stamped(locked.getvalue(), password="buka").startswith(b"%PDF")


@pytest.mark.parametrize("picture", [b"", b"GIF89a", qr_png("X")[:60], qr_png("X")[:-40]])
def test_a_picture_that_is_no_whole_png_is_refused(picture: bytes) -> None:
    with pytest.raises(StampFailed, match="Spesimen"):
        stamp_pdf(blank_pdf(), picture, BOX, serial_number="X", signed_at="D:20240904")
