"""A PDF is taken only where it can be stamped as it is, and a bad one harms nothing but itself."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antrean.orders.model import Placement
from antrean.orders.pdf import PdfChecker, PdfChecksBusy, PdfRefused, StampedUnsound
from antrean.orders.placement import PageRun, faults
from pdf_corpus import handmade, sound
from pdf_samples import (
    encrypted,
    object_stream_bomb,
    pdf,
    stamped,
    with_attachment,
    with_boxes,
    with_launch,
    with_script,
)


@pytest.fixture(name="checker")
async def _checker() -> AsyncIterator[PdfChecker]:
    async with PdfChecker(pages_max=1000, processes=1) as checker:
        yield checker


async def test_equal_pages_are_one_run(checker: PdfChecker) -> None:
    assert await checker.inspect(pdf(3)) == (PageRun(3, 0, 0, 595, 842),)
    assert await checker.inspect(pdf(1000)) == (PageRun(1000, 0, 0, 595, 842),)


@pytest.mark.parametrize("document", sound())
async def test_a_sound_pdf_is_taken_whatever_program_wrote_it(checker: PdfChecker, document: bytes) -> None:
    assert sum(run.count for run in await checker.inspect(document)) in (1, 2, 3)


async def test_what_is_seen_of_a_page_is_what_counts(checker: PdfChecker) -> None:
    assert await checker.inspect(with_boxes([100, 100, 700, 900])) == (PageRun(1, 100, 100, 700, 900),)
    assert await checker.inspect(with_boxes([700, 900, 100, 100])) == (PageRun(1, 100, 100, 700, 900),)
    cropped = await checker.inspect(with_boxes([0, 0, 600, 800], [50, 60, 900, 700]))
    assert cropped == (PageRun(1, 50, 60, 600, 700),)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"", "pdf-not-a-pdf"),
        (b"hello", "pdf-not-a-pdf"),
        (b"\x89PNG\r\n\x1a\n" + b"x" * 2000, "pdf-not-a-pdf"),
        (b"%PDF-1.7\n", "pdf-damaged"),
        (pdf()[:-7], "pdf-damaged"),
        (pdf()[: len(pdf()) // 2], "pdf-damaged"),
        (pdf()[:40] + pdf()[60:], "pdf-damaged"),
        (handmade(trailer=b"/Prev 18446744073709551616"), "pdf-damaged"),
        # Who appends a revision would give its objects numbers that are taken.
        (handmade().replace(b"/Size 4", b"/Size 3"), "pdf-damaged"),
        # A revision that was cut off: readers would show what was before it.
        (handmade() + b"3 0 obj\n<</Type/Page/Par", "pdf-damaged"),
        (handmade() + b"xref\n0 1\n", "pdf-damaged"),
        (encrypted(), "pdf-encrypted"),
        (encrypted(user="secret"), "pdf-encrypted"),
        (handmade(trailer=b"/ID[<00><00>]/Encrypt<</Filter/Adobe.PubSec/V 4>>"), "pdf-encrypted"),
        (pdf(1001), "pdf-too-many-pages"),
        (pdf(0), "pdf-without-pages"),
        (with_boxes([0, 0, 15000, 800]), "pdf-page-size"),
        (pdf(size=(10, 800)), "pdf-page-size"),
        (with_boxes([0, 0, 600, 800], [700, 900, 800, 1000]), "pdf-page-size"),
        (with_script(), "pdf-active-content"),
        (with_script(nested=True), "pdf-active-content"),
        (handmade(catalog=b"/Names<</JavaScript<</Names[(a) 3 0 R]>>>>"), "pdf-active-content"),
        (handmade(catalog=b"/Names<</EmbeddedFiles<</Names[]/Kids[3 0 R]>>>>"), "pdf-active-content"),
        # Of two openings the one is a script, in plain sight or not.
        *(
            (
                handmade(catalog=b"/%s<</S/JavaScript/JS(x)>>/OpenAction[3 0 R/Fit]%s" % (name, more)),
                "pdf-damaged",
            )
            for name in (b"OpenAction", b"Open#41ction")
            for more in (b"", b"%/OpenAction[3 0 R/Fit]\n")
        ),
        (with_launch(), "pdf-active-content"),
        (with_attachment(), "pdf-active-content"),
    ],
    ids=lambda v: v if isinstance(v, str) else "pdf",
)
async def test_a_pdf_that_can_not_be_stamped_is_refused_with_what_is_wrong(
    checker: PdfChecker, data: bytes, problem: str
) -> None:
    with pytest.raises(PdfRefused) as refused:
        await checker.inspect(data)
    assert refused.value.problem == problem
    assert await checker.inspect(pdf())


async def test_every_cut_of_a_pdf_is_refused(checker: PdfChecker) -> None:
    whole = pdf(3)
    for length in range(0, len(whole) - 6, 37):
        with pytest.raises(PdfRefused):
            await checker.inspect(whole[:length])


async def test_noise_in_a_pdf_ends_in_an_answer(checker: PdfChecker) -> None:
    rng = random.Random(7)
    whole = bytearray(pdf(3))
    refused = 0
    for _ in range(300):
        noisy = bytearray(whole)
        for _ in range(rng.randint(1, 8)):
            noisy[rng.randrange(len(noisy))] = rng.randrange(256)
        try:
            await checker.inspect(bytes(noisy))
        except PdfRefused:
            refused += 1
    assert refused > 50


async def test_a_bomb_ends_its_checker_at_most_and_the_next_pdf_is_checked(checker: PdfChecker) -> None:
    bomb = object_stream_bomb(400_000_000)
    assert len(bomb) < 500_000
    with pytest.raises(PdfRefused) as refused:
        await checker.inspect(bomb)
    assert refused.value.problem in ("pdf-too-complex", "pdf-damaged")
    assert await checker.inspect(pdf())


async def test_a_file_of_the_folder_that_it_was_started_in_is_no_module_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("pikepdf", "secrets"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    async with PdfChecker(pages_max=1000, processes=1) as checker:
        assert await checker.inspect(pdf()) == (PageRun(1, 0, 0, 595, 842),)


async def test_a_checker_that_hangs_is_ended_and_the_next_pdf_is_checked() -> None:
    async with PdfChecker(processes=1, timeout_s=5) as checker:
        await checker.inspect(pdf())
        os.kill(checker.pids[0], signal.SIGSTOP)
        with pytest.raises(PdfRefused) as refused:
            await checker.inspect(pdf())
        assert refused.value.problem == "pdf-too-complex"
        assert await checker.inspect(pdf())


async def test_the_queue_of_checks_is_bounded() -> None:
    async with PdfChecker(processes=1, waiting_max=3) as checker:
        answers = await asyncio.gather(*(checker.inspect(pdf()) for _ in range(5)), return_exceptions=True)
    assert [type(a) for a in answers].count(PdfChecksBusy) == 2
    assert [type(a) for a in answers].count(tuple) == 3


async def test_a_cancelled_check_leaves_no_answer_for_the_next_one(checker: PdfChecker) -> None:
    await checker.inspect(pdf())
    slow = asyncio.create_task(checker.inspect(pdf(1000)))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    assert await checker.inspect(pdf(2)) == (PageRun(2, 0, 0, 595, 842),)


async def test_a_stamped_pdf_shows_something_new_on_its_page(checker: PdfChecker) -> None:
    original = pdf(3)
    good = stamped(original, page=2)
    assert len(await checker.verify_stamped(original, good, 2)) == 64
    for bad, page in (
        (good, 1),
        (original, 2),
        (stamped(pdf(2), page=2), 2),
        (good[:-9], 2),
        (b"<html>", 2),
        (b"", 2),
    ):
        with pytest.raises(StampedUnsound):
            await checker.verify_stamped(original, bad, page)


async def test_drawings_that_share_their_names_with_their_page_are_each_looked_into_once(
    checker: PdfChecker,
) -> None:
    """As LibreOffice writes a page with something transparent, such as a watermark."""
    drawing = b"<</Type/XObject/Subtype/Form/BBox[0 0 9 9]/Resources 4 0 R/Length 0>>stream\n\nendstream"
    names = b"<</XObject<<" + b"".join(b"/D%d %d 0 R" % (n, n) for n in range(5, 35)) + b">>>>"
    original = handmade(resources=b"/Resources 4 0 R", more=(names, *[drawing] * 30))
    async with asyncio.timeout(3):
        await checker.verify_stamped(original, stamped(original), 1)
        with pytest.raises(StampedUnsound, match="nothing was added"):
            await checker.verify_stamped(original, original, 1)


def test_a_box_must_lie_inside_its_own_page() -> None:
    runs = (PageRun(2, 0, 0, 595, 842), PageRun(1, 100, 100, 200, 300))

    def rules(page: int, x: float, y: float) -> list[str]:
        return [f.field for f in faults(runs, Placement(page, x, y, 90, 90))]

    assert rules(1, 0, 0) == rules(2, 505, 752) == rules(3, 110, 210) == []
    assert rules(3, 0, 0) == ["placement.x", "placement.y"]
    assert rules(2, 505.1, 0) == ["placement.x"]
    assert rules(4, 0, 0) == ["placement.page"]


async def test_an_appended_revision_that_was_cut_off_is_no_stamped_document(checker: PdfChecker) -> None:
    original = pdf()
    before = int(original.rsplit(b"startxref", 1)[1].split()[0])
    added = b"9 0 obj\n<< /Type /Sig >>\nendobj\n"
    xref = b"xref\n9 1\n%010d 00000 n \ntrailer\n<< /Size 10 /Root 1 0 R /Prev %d >>\n" % (
        len(original),
        before,
    )
    revision = added + xref + b"startxref\n%d\n%%%%EOF\n" % (len(original) + len(added))
    await checker.verify_stamped(original, original + revision, 1)
    for end in (0, 1, 3, 5, 20, len(added), len(added) + 4, len(revision) - 7):
        with pytest.raises(StampedUnsound):
            await checker.verify_stamped(original, original + revision[:end], 1)
