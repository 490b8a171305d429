"""PDFs for tests, made here: sound ones and ones with something wrong."""

from __future__ import annotations

import io
from typing import Any

import pikepdf
from pikepdf import Array, Dictionary, Name, Stream, String


def pdf(pages: int = 1, size: tuple[float, float] = (595, 842), **save: Any) -> bytes:
    """A sound PDF of blank pages."""
    document = pikepdf.new()
    for _ in range(pages):
        document.add_blank_page(page_size=size)
    return saved(document, **save)


def saved(document: pikepdf.Pdf, **save: Any) -> bytes:
    """The bytes of a document."""
    target = io.BytesIO()
    document.save(target, **save)
    return target.getvalue()


def with_boxes(media: list[float], crop: list[float] | None = None) -> bytes:
    """One page with these boxes."""
    document = pikepdf.new()
    document.add_blank_page()
    page = document.pages[0].obj
    page.MediaBox = Array(media)
    if crop is not None:
        page.CropBox = Array(crop)
    return saved(document)


def encrypted(user: str = "", owner: str = "owner") -> bytes:
    """Encrypted; with an empty user password it opens without a word."""
    return pdf(encryption=pikepdf.Encryption(user=user, owner=owner))


def with_script(*, nested: bool = False) -> bytes:
    """Runs JavaScript when it is opened."""
    document = pikepdf.new()
    document.add_blank_page()
    action = Dictionary(S=Name.JavaScript, JS=String("app.alert(1)"))
    document.Root.OpenAction = Dictionary(S=Name.GoTo, Next=Array([action])) if nested else action
    return saved(document)


def with_launch() -> bytes:
    """Starts a program from an annotation."""
    document = pikepdf.new()
    document.add_blank_page()
    link = Dictionary(Type=Name.Annot, Subtype=Name.Link, A=Dictionary(S=Name.Launch, F=String("x")))
    document.pages[0].obj.Annots = Array([link])
    return saved(document)


def with_attachment() -> bytes:
    """Carries another file."""
    document = pikepdf.new()
    document.add_blank_page()
    document.attachments["a.txt"] = b"hello"
    return saved(document)


def stamped(original: bytes, page: int = 1) -> bytes:
    """The original with a picture more on a page."""
    document = pikepdf.open(io.BytesIO(original))
    picture = Stream(document, b"\x00" * 3)
    picture.Type, picture.Subtype = Name.XObject, Name.Image
    picture.Width = picture.Height = 1
    picture.ColorSpace, picture.BitsPerComponent = Name.DeviceRGB, 8
    document.pages[page - 1].obj.Resources = Dictionary(
        XObject=Dictionary(Stamp=document.make_indirect(picture))
    )
    return saved(document)


def object_stream_bomb(inflated_bytes: int) -> bytes:
    """A few kilobytes whose object stream inflates to `inflated_bytes` bytes of white space."""
    import zlib

    head = b"1 0 "
    packer = zlib.compressobj(9)
    body = packer.compress(head)
    block = b" " * 1_000_000
    for _ in range(inflated_bytes // len(block)):
        body += packer.compress(block)
    body += packer.compress(b"<</Type/Catalog/Pages 2 0 R>>") + packer.flush()
    out = b"%PDF-1.5\n"
    stream_at = len(out)
    out += b"4 0 obj\n<</Type/ObjStm/N 1/First 4/Filter/FlateDecode/Length %d>>stream\n" % len(body)
    out += body + b"\nendstream\nendobj\n"
    xref_at = len(out)
    rows = b"".join(
        kind.to_bytes(1, "big") + where.to_bytes(4, "big") + index.to_bytes(2, "big")
        for kind, where, index in (
            (0, 0, 65535),
            (2, 4, 0),
            (2, 4, 0),
            (0, 0, 0),
            (1, stream_at, 0),
            (1, xref_at, 0),
        )
    )
    out += b"5 0 obj\n<</Type/XRef/Size 6/W[1 4 2]/Root 1 0 R/Length %d>>stream\n" % len(rows)
    return out + rows + b"\nendstream\nendobj\nstartxref\n%d\n%%%%EOF\n" % xref_at
