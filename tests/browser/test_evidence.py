"""What workers and scripts write into the record is read in the reader's language."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from antrean.gateway.web_files import BUILD
from browser.desk import Desk

pytestmark = pytest.mark.asyncio(loop_scope="package")
SOURCES = Path(__file__).parents[2] / "src" / "antrean"
#: What is written as it stands, so that it is found in the code that writes it.
NOTES = (
    "accepted",
    "asking for a serial number",
    "bought",
    "being stamped",
    "done",
    "withdrawn",
    "an SN from the pool",
    "its worker went away",
    "the record stands otherwise than its worker left it",
    "answered late",
    "found on the account's list",
    "its personal data can not be decrypted",
    "the upstream's quota is used up",
    "the stamped PDF was not in order",
    "the document store is not available",
    "personal data erased, its time is over",
    "put back by ops",
    "deadline moved by ops",
    "its serial number stands in our books with another order",
    "The uploaded PDF is gone.",
    "the upstream answered with another order's SN",
    "balance watch",
    "the upstream did not answer in time",
    "the connection to the upstream broke",
    "the upstream is too busy",
    "the upstream does not take connections",
    "the upstream refuses connections",
    "the upstream does not take our token",
    "the upstream refuses our login",
)
TOLD = (
    "the account's list was too long to read to its end (5000 rows)",
    "not on the account's list, but 3 stamps left the balance that no purchase explains",
    "not on the account's list, but 3 stamps left the balance that no purchase explains"
    "; a top-up since then hides whether one does by now",
    "not on the account's list (12 rows read): not bought",
    "the account's list or balance cannot be read: the upstream did not answer in time",
    "3 stamps left the account that no order explains; purchases stop until ops decide",
    "3 stamps left the account that no order explains; purchases stop until ops decide. 2 serial numbers on the "
    "account's list are of orders that are not in these books: was a backup restored?. The account's list, which "
    "may know of them, can not be read",
    "document-missing: The uploaded PDF is gone.",
    "the upstream answered with something unreadable (status 502)",
    "ops:0123456789abcdef: deadline moved by ops",
    "personal data erased by ops:0123456789abcdef: diminta pembayar",
)
READ = """async ([path, notes]) => {
    const { evidence } = await import(path);
    return notes.map((note) => {
        const box = document.createElement("p");
        box.append(evidence(note));
        return { text: box.textContent, english: box.querySelector("[lang=en]") !== null };
    });
}"""
#: Words that no sentence in Indonesian has.
ENGLISH = re.compile(
    r"\b(the|its|was|were|not|by|account|order|stamps|upstream|bought|being|done)\b", re.IGNORECASE
)


async def test_every_note_of_the_record_has_words_in_indonesian(desk: Desk) -> None:
    code = "".join(
        path.read_text() for path in SOURCES.rglob("*") if path.suffix in (".py", ".lua") and path.is_file()
    )
    assert [note for note in NOTES if note not in code] == []
    page = await desk.open("/ops", "#key")
    notes = [*NOTES, *TOLD]
    read: list[dict[str, Any]] = await page.evaluate(READ, [f"/static/{BUILD}/evidence.js", notes])
    untold = [
        (note, said["text"])
        for note, said in zip(notes, read, strict=True)
        if said["english"] or ENGLISH.search(said["text"])
    ]
    assert untold == []


async def test_what_a_person_wrote_stays_as_it_is_and_what_nobody_knows_is_marked(desk: Desk) -> None:
    page = await desk.open("/ops", "#key")
    notes = ["cli:budi: sudah ditelepon: aman", "a new sentence", "99: pesan server"]
    read = await page.evaluate(READ, [f"/static/{BUILD}/evidence.js", notes])
    assert [said["text"] for said in read] == notes
    assert [said["english"] for said in read] == [False, True, True]
