"""Many orders from a file: every row is checked before anything is sent, and no row is ever ordered twice."""

from __future__ import annotations

import csv
import io

import pytest
from playwright.async_api import FilePayload, Page, expect

from browser.desk import Desk, no_longer_kept

pytestmark = pytest.mark.asyncio(loop_scope="package")
HEADINGS = ["jenis_dokumen", "nomor_dokumen", "tanggal", "nomor_identitas", "nama"]
ROWS = 300
#: Line of the file → what it says instead, and the words for it.
BAD: dict[int, tuple[list[str], str]] = {
    5: (["4b", "SK-5", "04/09/2024", "127101010190000", "Siti"], "NIK harus tepat 16 angka"),
    40: (["4b", "SK-40", "31/02/2024", "1271010101900001", "Siti"], "tidak ada di kalender"),
    41: (["4b", "SK-41", "04/09/2024", "1,27101E+15", "Siti"], "lembar kerja"),
    120: (["4b", "", "04/09/2024", "1271010101900001", "Siti"], "Harus diisi"),
    200: (["4b", "SK-200", "04/09/2024", "1271014501900000", "Siti"], "0000"),
    301: (["kertas 4b", "SK-301", "04/09/2099", "1271010101900001", ""], "masa depan"),
}


def payload(rows: list[list[str]], separator: str = ";") -> FilePayload:
    """A file as a spreadsheet saves it here: semicolons, a byte-order mark, CRLF."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator, lineterminator="\r\n").writerows([HEADINGS, *rows])
    return {
        "name": "pesanan.csv",
        "mimeType": "text/csv",
        "buffer": b"\xef\xbb\xbf" + text.getvalue().encode(),
    }


def good(line: int) -> list[str]:
    """A row that is right."""
    dates = ("04/09/2024", "4-9-2024", "2024-09-04", "4 September 2024")
    return ["4b", f"SK-{line}", dates[line % 4], "1271010101900001", f"Pemohon, Baris {line}"]


async def bring(page: Page, file: FilePayload) -> None:
    """Open the dialog and choose the file."""
    if await page.locator("dialog.batch").count() == 0:
        await page.click("#batch")
    await page.set_input_files("#csv", [file])


async def leave(page: Page) -> None:
    """Close the dialog; it goes a moment after it has closed."""
    await page.keyboard.press("Escape")
    await expect(page.locator("dialog.batch")).to_have_count(0)


async def test_of_300_rows_the_bad_ones_are_named_and_the_good_ones_ordered_once(desk: Desk) -> None:
    rows = [BAD[line][0] if line in BAD else good(line) for line in range(2, ROWS + 2)]
    page = await desk.counter()
    await bring(page, payload(rows))
    dialog = page.locator("dialog.batch")
    await expect(dialog).to_contain_text(f"{ROWS - len(BAD)} baris benar")
    await expect(dialog).to_contain_text(f"{len(BAD)} baris salah")
    for line, (_, words) in BAD.items():
        row = dialog.locator("tbody tr").filter(has=page.get_by_role("rowheader", name=str(line), exact=True))
        await expect(row).to_contain_text(words)
    assert await desk.orders() == []
    async with page.expect_download() as download:
        await dialog.get_by_role("button", name="Unduh baris yang salah").click()
    kept = (await (await download.value).path()).read_text("utf-8-sig")
    assert list(csv.reader(io.StringIO(kept), delimiter=";"))[1:] == [row for row, _ in BAD.values()]

    await dialog.get_by_role("button", name="Kirim 294").click()
    await expect(dialog).to_contain_text("294 pesanan diterima, nomor 1 sampai 294")
    assert len(await desk.orders()) == ROWS - len(BAD)
    sent = [call for call in desk.api_calls() if call.startswith("POST")]
    assert sent == ["POST /v1/batches"] * 3
    await no_longer_kept(page, "outbox", desk.stack)
    await leave(page)

    # The corrected file, whole: only what is new in it is ordered.
    await bring(page, payload([good(line) for line in range(2, ROWS + 2)]))
    await dialog.get_by_role("button", name="Kirim 300").click()
    await expect(dialog).to_contain_text(
        "6 pesanan diterima, nomor 295 sampai 300. 294 sudah ada sebelumnya."
    )
    assert len(await desk.orders()) == ROWS


async def test_the_faults_of_a_row_are_told_in_the_order_of_the_form(desk: Desk) -> None:
    page = await desk.counter()
    await bring(page, payload([["kertas 4b", "", "31/02/2024", "12", ""]]))
    fields = page.locator("dialog.batch tbody li b")
    await expect(fields).to_have_text(
        ["Nomor identitas", "Nama lengkap", "Nomor dokumen", "Tanggal dokumen", "Kode jenis"]
    )


async def test_where_all_rows_are_refused_no_numbers_are_made_up(desk: Desk) -> None:
    page = await desk.counter()
    rows = b"nomor_dokumen,tanggal,nomor_identitas,nama,tenggat\n" + b"".join(
        f"SK-{n},4/9/2024,1271010101900001,Siti,31/12/2099\n".encode() for n in (1, 2)
    )
    await bring(page, {"name": "x.csv", "mimeType": "text/csv", "buffer": rows})
    dialog = page.locator("dialog.batch")
    await dialog.get_by_role("button", name="Kirim 2").click()
    await expect(dialog.get_by_role("status")).to_have_text(
        "Tidak ada pesanan baru. 2 ditolak; lihat di daftar pesanan."
    )


async def test_a_row_that_stands_there_twice_is_named_and_sent_once_unless_it_is_asked_for(
    desk: Desk,
) -> None:
    page = await desk.counter()
    rows = [good(2), good(3), good(2), good(5)]
    await bring(page, payload(rows))
    dialog = page.locator("dialog.batch")
    await expect(dialog.locator(".notice")).to_contain_text("1 baris sama persis")
    await expect(dialog.locator(".notice")).to_contain_text("4 = 2.")
    await dialog.get_by_role("button", name="Kirim 3").click()
    await expect(dialog.get_by_role("status")).to_contain_text("3 pesanan diterima")
    await leave(page)
    await bring(page, payload(rows))
    await dialog.get_by_label("Kirim juga").check()
    await dialog.get_by_role("button", name="Kirim 4").click()
    await expect(dialog.get_by_role("status")).to_contain_text("1 pesanan diterima, nomor 4.")
    numbers = [o["document"]["number"] for o in await desk.orders()]
    assert sorted(numbers) == ["SK-2", "SK-2", "SK-3", "SK-5"]


async def test_of_a_file_without_a_fault_nothing_is_said_but_how_many_there_are(desk: Desk) -> None:
    page = await desk.counter()
    await bring(page, payload([good(2), good(3)]))
    result = page.locator("dialog.batch .result")
    await expect(result).to_have_text(
        "pesanan.csv2 baris benarKirim 2 baris yang benarUnduh baris yang salahSemua baris dapat dikirim."
    )


async def test_a_file_of_another_kind_is_refused_in_plain_words(desk: Desk) -> None:
    page = await desk.counter()
    await bring(page, {"name": "x.csv", "mimeType": "text/csv", "buffer": b"a,b\n1,2\n"})
    await expect(page.locator("dialog.batch .notice")).to_contain_text("Judul kolom tidak dikenal")
    await bring(page, payload([]))
    await expect(page.locator("dialog.batch .notice")).to_contain_text("tidak berisi baris")
    answer = await desk.context.request.get(
        desk.base + str(await page.locator("dialog.batch a").get_attribute("href"))
    )
    example = await answer.body()
    await bring(page, {"name": "contoh.csv", "mimeType": "text/csv", "buffer": example})
    await expect(page.locator("dialog.batch")).to_contain_text("2 baris benar")


async def test_a_file_that_can_not_be_read_any_more_is_said_to_be_so(desk: Desk) -> None:
    page = await desk.counter()
    # As of a stick that was pulled out.
    await page.evaluate(
        "() => { Blob.prototype.arrayBuffer = async () => { throw new DOMException('', 'NotReadableError'); }; }"
    )
    await bring(page, payload([good(2)]))
    await expect(page.locator("dialog.batch .notice")).to_contain_text("tidak dapat dibaca")


async def test_cancelled_rows_that_come_again_are_named_and_ordered_when_asked_for(desk: Desk) -> None:
    await desk.outage(True)
    page = await desk.counter()
    file = payload([good(2), good(3)])
    await bring(page, file)
    dialog = page.locator("dialog.batch")
    await dialog.get_by_role("button", name="Kirim 2").click()
    await expect(dialog.get_by_role("status")).to_contain_text("2 pesanan diterima")
    order = next(o for o in await desk.orders() if o["document"]["number"] == "SK-3")

    async def cancelled() -> bool:
        # A worker that looked before the outage may have it in hand for a moment.
        own = {"Authorization": f"Bearer {desk.key}"}
        return (await desk.stack.http.post(f"/v1/orders/{order['id']}/cancel", headers=own)).is_success

    await desk.stack.until(cancelled)
    for outcome in ("1 pesanan diterima, nomor 3.", "1 sudah ada sebelumnya."):
        await leave(page)
        await bring(page, file)
        await dialog.get_by_role("button", name="Kirim 2").click()
        await expect(dialog.get_by_role("status")).to_have_text(
            "Tidak ada pesanan baru. 1 sudah ada sebelumnya. "
            "1 pernah dipesan lalu dibatalkan; tidak dipesan lagi secara otomatis."
        )
        await dialog.get_by_role("button", name="Pesan lagi 1").click()
        await expect(dialog.get_by_role("status")).to_contain_text(outcome)
    stand = sorted((o["document"]["number"], o["state"]) for o in await desk.orders())
    assert stand == [("SK-2", "queued"), ("SK-3", "cancelled"), ("SK-3", "queued")]
    await desk.outage(False)
