"""An endless corpus of bad PDFs, made from sound ones: cut, torn, lied to, blown up, booby-trapped. Pure, by a seed."""

from __future__ import annotations

import io
import random
import re
import zlib
from collections.abc import Callable, Iterator
from functools import cache

import pikepdf
from pikepdf import Array, Dictionary, Name, String

from pdf_samples import (
    encrypted,
    object_stream_bomb,
    pdf,
    saved,
    with_attachment,
    with_boxes,
    with_launch,
    with_script,
)

Rng = random.Random
Make = Callable[[Rng], bytes]


@cache
def sound() -> tuple[bytes, ...]:
    """PDFs that are taken as they are, of several builds."""
    return (
        pdf(),
        pdf(3),
        pdf(2, object_stream_mode=pikepdf.ObjectStreamMode.generate),
        pdf(2, linearize=True),
        with_text(),
        saved(pikepdf.open(io.BytesIO(with_text())), qdf=True),
        handmade(),
        # Numbers, a boolean and null may be objects of their own; many programs write the length of a stream so.
        handmade(
            page=b"/Contents 4 0 R",
            more=(b"<</Length 5 0 R>>stream\nq Q\nendstream", b"3", b"true", b"null"),
        ),
        handmade(kind=b""),
        handmade(resources=b""),
        # Formalities that programs get wrong and every reader does without.
        unlisted(),
        unlisted(checksum=False),
        handmade().replace(b"/Size 4", b"/Size 5"),
        handmade().replace(b"\nxref", b"\n\nxref"),
        handmade(page=b"/Contents 4 0 R", more=(b"<</Length 3>>stream \nq Q\nendstream",)),
        handmade(page=b"/Contents 4 0 R", more=(b"<</Length 3>>stream\rq Q\nendstream",)),
        handmade(page=b"/B 0 0 R"),
        re.sub(rb"\d{10}( 00000 n \ntrailer)", rb"0000000000\1", handmade(more=(b"null",))),
        # jsPDF's autoPrint, and what is left where scripts and attachments were taken out.
        handmade(catalog=b"/OpenAction[3 0 R/FitH null]/OpenAction 4 0 R", more=(b"<</S/Named/N/Print>>",)),
        handmade(catalog=b"/Names<</JavaScript<</Names[]>>/EmbeddedFiles<</Kids[]>>>>"),
    )


def with_text() -> bytes:
    """Pages with drawing and a font."""
    document = pikepdf.new()
    for number in range(2):
        document.add_blank_page(page_size=(595, 842))
        font = Dictionary(Type=Name.Font, Subtype=Name.Type1, BaseFont=Name.Helvetica)
        page = document.pages[number].obj
        page.Resources = Dictionary(Font=Dictionary(F1=font))
        page.Contents = document.make_stream(b"BT /F1 12 Tf 72 720 Td (surat) Tj ET\n" * 40)
    return saved(document)


def handmade(
    *,
    kids: bytes = b"[3 0 R]",
    count: bytes = b"1",
    box: bytes = b"[0 0 595 842]",
    page: bytes = b"",
    catalog: bytes = b"",
    shift: int = 0,
    startxref: bytes | None = None,
    trailer: bytes = b"",
    extra: bytes = b"",
    kind: bytes = b"/Type/Page",
    resources: bytes = b"/Resources<<>>",
    more: tuple[bytes, ...] = (),
) -> bytes:
    """A PDF written by hand, so that each part of it can lie."""
    bodies = [
        b"<</Type/Catalog/Pages 2 0 R" + catalog + b">>",
        b"<</Type/Pages/Kids" + kids + b"/Count " + count + b">>",
        b"<<" + kind + b"/Parent 2 0 R" + resources + b"/MediaBox" + box + page + b">>",
        *more,
    ]
    out = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
    offsets = []
    for number, body in enumerate(bodies, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    out += extra
    at = len(out)
    size = len(bodies) + 1
    out += b"xref\n0 %d\n0000000000 65535 f \n" % size
    out += b"".join(b"%010d 00000 n \n" % max(offset + shift, 0) for offset in offsets)
    out += b"trailer\n<</Size %d/Root 1 0 R" % size + trailer + b">>\nstartxref\n"
    return out + (str(at).encode() if startxref is None else startxref) + b"\n%%EOF\n"


def unlisted(*, checksum: bool = True) -> bytes:
    """Its table is a stream, and the table does not list that stream."""
    body, _, _ = handmade().rpartition(b"xref\n0 4")
    offsets = [0] + [body.index(b"%d 0 obj" % number) for number in (1, 2, 3)]
    table = b"".join(bytes([offset > 0]) + offset.to_bytes(4, "big") + b"\0" for offset in offsets)
    packed = zlib.compress(table)[: None if checksum else -4]
    head = b"<</Type/XRef/Size 5/Index[0 4]/W[1 4 1]/Root 1 0 R/Filter/FlateDecode/Length %d>>" % len(packed)
    tail = b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + b"4 0 obj\n" + head + b"stream\n" + packed + tail


# ---- damage


def cut(rng: Rng) -> bytes:
    """The end is missing."""
    whole = rng.choice(sound())
    return whole[: rng.randrange(len(whole) - 7)]


def torn(rng: Rng) -> bytes:
    """A piece is missing from the middle."""
    whole = rng.choice(sound())
    start = rng.randrange(8, len(whole) - 1)
    return whole[:start] + whole[start + rng.randint(1, 200) :]


def noisy(rng: Rng) -> bytes:
    """Some bytes are others."""
    whole = bytearray(rng.choice(sound()))
    for _ in range(rng.randint(1, 30)):
        whole[rng.randrange(len(whole))] = rng.randrange(256)
    return bytes(whole)


def doubled(rng: Rng) -> bytes:
    """A piece stands there twice."""
    whole = rng.choice(sound())
    start = rng.randrange(len(whole))
    piece = whole[start : start + rng.randint(1, 500)]
    return whole[:start] + piece * rng.randint(2, 20) + whole[start:]


def renumbered(rng: Rng) -> bytes:
    """Numbers of all kinds (lengths, offsets, references, counts) are replaced by bad ones."""
    whole = rng.choice(sound())
    odd = [
        b"0",
        b"-1",
        b"1",
        b"999999999",
        b"2147483648",
        b"18446744073709551616",
        b"1e9",
        b"0.5",
        b"/X",
        b"null",
    ]
    spots = list(re.finditer(rb"\b\d+\b", whole))
    for spot in sorted(rng.sample(spots, min(rng.randint(1, 4), len(spots))), key=lambda s: -s.start()):
        whole = whole[: spot.start()] + rng.choice(odd) + whole[spot.end() :]
    return whole


def two_in_one(rng: Rng) -> bytes:
    """One file after another."""
    return rng.choice(sound()) + rng.choice(sound())


def not_one(rng: Rng) -> bytes:
    """Something else under a PDF's name."""
    return rng.choice(
        [
            b"",
            b"%PDF-1.7\n",
            rng.randbytes(rng.randint(1, 5000)),
            b"%PDF-1.7\n" + rng.randbytes(3000) + b"\nstartxref\n0\n%%EOF\n",
            b"<html><body>%PDF</body></html>" * rng.randint(1, 50),
            b"\x89PNG\r\n\x1a\n" + rng.randbytes(500),
            b"PK\x03\x04" + rng.randbytes(500),
        ]
    )


# ---- lies


def broken_xref(rng: Rng) -> bytes:
    """The table of contents is wrong."""
    return rng.choice(
        [
            handmade(shift=rng.choice([-3, 5, 40, 100_000])),
            handmade(startxref=rng.choice([b"-1", b"0", b"99999999", b"1" * 40, b"abc", b""])),
            handmade(trailer=b"/Prev " + rng.choice([b"0", b"15", b"-5", b"999999"])),
            handmade(trailer=b"/Size 999999999"),
            handmade(trailer=b"/XRefStm 17"),
            handmade(trailer=b"/Root 9 0 R"),
        ]
    )


def pages_in_a_circle(rng: Rng) -> bytes:
    """The tree of pages is none."""
    return rng.choice(
        [
            handmade(kids=b"[2 0 R]"),
            handmade(kids=b"[3 0 R 2 0 R]", count=b"2"),
            handmade(kids=b"[1 0 R]"),
            handmade(kids=b"2 0 R"),
            handmade(kids=b"[" + b"3 0 R " * rng.randint(2, 3000) + b"]", count=b"%d" % rng.randint(1, 4000)),
            handmade(count=rng.choice([b"-1", b"99999999999", b"(x)", b"2 0 R"])),
            handmade(kids=b"[]", count=b"0"),
        ]
    )


def absurd_page(rng: Rng) -> bytes:
    """A page of a size that no paper has."""
    side = rng.choice(
        [b"0", b"-1", b"1e400", b"99999999999999999999", b"14401", b"19", b"(a)", b"null", b"/N"]
    )
    return rng.choice(
        [
            handmade(box=b"[0 0 " + side + b" 842]"),
            handmade(box=b"[0 0 595 " + side + b"]"),
            handmade(box=b"[0 0 595]"),
            handmade(box=b"[0 0 595 842 1 1]"),
            handmade(box=b"595"),
            handmade(page=b"/UserUnit " + side),
            handmade(page=b"/CropBox[0 0 " + side + b" 10]"),
            handmade(page=b"/Rotate " + side),
            with_boxes([0, 0, 600, 800], [700, 900, 800, 1000]),
        ]
    )


def many_pages(rng: Rng) -> bytes:
    """More pages than are taken."""
    return _many(rng.choice([1001, 1500]))


@cache
def _many(pages: int) -> bytes:
    return pdf(pages)


# ---- bombs


def deep(rng: Rng) -> bytes:
    """Nested beyond reason."""
    levels = rng.choice([150, 450, 600, 20_000, 200_000])
    left, right = rng.choice([(b"[", b"]"), (b"<</A", b">>")])
    return handmade(catalog=b"/JS" + left * levels + (b" 1" if left != b"[" else b"") + right * levels)


def bomb(rng: Rng) -> bytes:
    """A few kilobytes that become hundreds of megabytes."""
    return rng.choice([_object_bomb, _content_bomb, _nested_bomb])()


@cache
def _object_bomb() -> bytes:
    return object_stream_bomb(400_000_000)


@cache
def _content_bomb() -> bytes:
    document = pikepdf.new()
    document.add_blank_page()
    packed = zlib.compress(b"q Q " * 50_000_000, 9)
    stream = pikepdf.Stream(document, packed)
    stream.Filter = Name.FlateDecode
    document.pages[0].obj.Contents = document.make_indirect(stream)
    return saved(document)


@cache
def _nested_bomb() -> bytes:
    document = pikepdf.new()
    document.add_blank_page()
    packed = zlib.compress(zlib.compress(b"\0" * 300_000_000, 9), 9)
    stream = pikepdf.Stream(document, packed)
    stream.Filter = Array([Name.FlateDecode, Name.FlateDecode])
    document.pages[0].obj.Contents = document.make_indirect(stream)
    return saved(document)


# ---- traps


def trap(rng: Rng) -> bytes:
    """Active content, in one of the places where it can hide."""
    script = Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))
    document = pikepdf.new()
    document.add_blank_page()
    root, page = document.Root, document.pages[0].obj
    where = rng.randrange(9)
    if where == 0:
        root.AA = Dictionary(WC=script)
    elif where == 1:
        page.AA = Dictionary(O=script)
    elif where == 2:
        root.Names = Dictionary(JavaScript=Dictionary(Names=Array([String("x"), script])))
    elif where == 3:
        field = Dictionary(FT=Name.Tx, T=String("f"), AA=Dictionary(K=script))
        root.AcroForm = Dictionary(Fields=Array([document.make_indirect(field)]))
    elif where == 4:
        root.AcroForm = Dictionary(Fields=Array(), XFA=document.make_stream(b"<xdp/>"))
    elif where == 5:
        page.Annots = Array([Dictionary(Type=Name.Annot, Subtype=Name.RichMedia)])
    elif where == 6:
        page.Annots = Array(
            [Dictionary(Type=Name.Annot, Subtype=Name.FileAttachment, FS=Dictionary(F=String("a")))]
        )
    elif where == 7:
        root.OpenAction = Dictionary(S=Name.GoTo, D=Array([]), Next=Array([script]))
    else:
        return rng.choice([with_script(), with_script(nested=True), with_launch(), with_attachment()])
    compress = rng.choice([pikepdf.ObjectStreamMode.generate, pikepdf.ObjectStreamMode.disable])
    return saved(document, object_stream_mode=compress)


def locked(rng: Rng) -> bytes:
    """Encrypted, with a password or with none."""
    return encrypted(user=rng.choice(["", "", "secret"]), owner=rng.choice(["", "owner"]))


#: What a kind must be answered with: some problems, or None where a few of it may be sound by luck.
KINDS: dict[Make, frozenset[str] | None] = {
    cut: frozenset({"pdf-damaged", "pdf-not-a-pdf"}),
    torn: None,
    noisy: None,
    doubled: None,
    renumbered: None,
    two_in_one: None,
    not_one: frozenset({"pdf-damaged", "pdf-not-a-pdf"}),
    broken_xref: None,
    pages_in_a_circle: None,
    absurd_page: None,
    many_pages: frozenset({"pdf-too-many-pages"}),
    deep: frozenset({"pdf-too-complex", "pdf-damaged", "pdf-active-content"}),
    bomb: None,
    trap: frozenset({"pdf-active-content"}),
    locked: frozenset({"pdf-encrypted"}),
}
#: Kinds that cost seconds of processor time each: a few of them are enough.
COSTLY: dict[Make, int] = {bomb: 4, many_pages: 4, deep: 20}


def corpus(count: int, seed: int) -> Iterator[tuple[Make, bytes]]:
    """`count` PDFs, all kinds in turn; of the costly ones at most as many as COSTLY says."""
    rng = random.Random(seed)
    made = 0
    left = dict(COSTLY)
    while made < count:
        for kind in KINDS:
            if left.get(kind, 1) == 0:
                continue
            if kind in left:
                left[kind] -= 1
            yield kind, kind(rng)
            made += 1
