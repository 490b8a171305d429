"""Puts the QR picture of an SN on a PDF, with a signature field at the same box. Pure: bytes in, bytes out.

The signature field carries no cryptographic signature, and its /Name says so.
"""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

import pikepdf
from pikepdf import Array, Dictionary, Name, Pdf, Stream, String

#: Largest side of a picture, in pixels.
PICTURE_SIDE_MAX_PX: Final = 4_096
_PNG_MAGIC: Final = b"\x89PNG\r\n\x1a\n"
#: PNG colour types without alpha, with their channels (PNG specification, 11.2.2).
_CHANNELS: Final = {0: 1, 2: 3, 3: 1}
SIGNER_NAME: Final = "Antrean simulator - bukan e-meterai asli (not a real stamp)"


class StampFailed(Exception):
    """The PDF or the picture cannot be used; the message says which."""


@dataclass(frozen=True, slots=True)
class Placement:
    """A box in PDF points, origin lower left, on a page counted from 1."""

    page: int
    llx: float
    lly: float
    urx: float
    ury: float


def stamp_pdf(
    pdf: bytes,
    picture: bytes,
    placement: Placement,
    *,
    serial_number: str,
    signed_at: str,
    reason: str = "",
    location: str = "",
    password: str = "",
) -> bytes:
    """The stamped PDF. `picture`: a PNG without alpha; `signed_at`: a PDF date. Raises StampFailed."""
    try:
        document = pikepdf.open(io.BytesIO(pdf), password=password)
    except pikepdf.PasswordError as error:
        raise StampFailed("PDF terkunci (docpass)") from error
    except pikepdf.PdfError as error:
        raise StampFailed("PDF tidak dapat dibaca") from error
    with document:
        if not 1 <= placement.page <= len(document.pages):
            raise StampFailed(
                f"Halaman {placement.page} tidak ada; dokumen ini {len(document.pages)} halaman"
            )
        page = document.pages[placement.page - 1]
        _check_box(placement, page)
        _draw(document, page, _image(document, picture), placement)
        value = Dictionary(
            Type=Name.Sig,
            Filter=Name("/Adobe.PPKLite"),
            SubFilter=Name("/adbe.pkcs7.detached"),
            Name=String(SIGNER_NAME),
            Reason=String(reason),
            Location=String(location),
            M=String(signed_at),
            Contents=String(b"\x00" * 32),
            ByteRange=Array([0, 0, 0, 0]),
        )
        _add_signature_field(document, page, placement, f"e-meterai {serial_number}", value)
        stamped = io.BytesIO()
        try:
            document.save(stamped)
        except (pikepdf.PdfError, RuntimeError) as error:
            raise StampFailed("PDF tidak dapat ditulis") from error
    return stamped.getvalue()


def _check_box(box: Placement, page: pikepdf.Page) -> None:
    # Any two opposite corners make a rectangle (ISO 32000-1, 7.9.5).
    edges = [float(edge) for edge in page.mediabox.as_list()]
    left, right, bottom, top = *sorted(edges[0::2]), *sorted(edges[1::2])
    if not (box.llx < box.urx and box.lly < box.ury):
        raise StampFailed("Kotak meterai kosong")
    if box.urx <= left or box.llx >= right or box.ury <= bottom or box.lly >= top:
        raise StampFailed("Kotak meterai di luar halaman")


def _draw(document: Pdf, page: pikepdf.Page, image: Any, box: Placement) -> None:
    name = page.add_resource(image, Name.XObject)
    # What is there may leave any matrix behind, so it goes between q and Q.
    page.contents_add(b"q\n", prepend=True)
    page.contents_add(
        f"\nQ\nq {box.urx - box.llx:.4f} 0 0 {box.ury - box.lly:.4f} {box.llx:.4f} {box.lly:.4f} cm"
        f" {name} Do Q\n".encode()
    )


def _add_signature_field(
    document: Pdf, page: pikepdf.Page, box: Placement, title: str, value: Dictionary
) -> None:
    appearance = Stream(
        document, b"", Type=Name.XObject, Subtype=Name.Form, BBox=[0, 0, box.urx - box.llx, box.ury - box.lly]
    )
    widget = document.make_indirect(
        Dictionary(
            Type=Name.Annot,
            Subtype=Name.Widget,
            FT=Name.Sig,
            T=String(title),
            F=132,  # print, locked
            Rect=Array([box.llx, box.lly, box.urx, box.ury]),
            P=page.obj,
            V=document.make_indirect(value),
            AP=Dictionary(N=appearance),
        )
    )
    if Name.Annots not in page.obj:
        page.obj.Annots = Array()
    page.obj.Annots.append(widget)
    if Name.AcroForm not in document.Root:
        document.Root.AcroForm = Dictionary(Fields=Array())
    form = document.Root.AcroForm
    if Name.Fields not in form:
        form.Fields = Array()
    form.Fields.append(widget)
    form.SigFlags = 3  # signatures exist, append only


def _image(document: Pdf, png: bytes) -> Any:
    """An image XObject made of the PNG's own data: PDF's predictor 15 is PNG's filter, so nothing is decoded."""
    width, height, depth, colour, palette, data = _read_png(png)
    channels = _CHANNELS[colour]
    if palette is not None:
        space: Any = Array([Name.Indexed, Name.DeviceRGB, len(palette) // 3 - 1, String(palette)])
    else:
        space = Name.DeviceGray if channels == 1 else Name.DeviceRGB
    return Stream(
        document,
        data,
        Type=Name.XObject,
        Subtype=Name.Image,
        Width=width,
        Height=height,
        BitsPerComponent=depth,
        ColorSpace=space,
        Filter=Name.FlateDecode,
        DecodeParms=Dictionary(Predictor=15, Colors=channels, BitsPerComponent=depth, Columns=width),
    )


def _read_png(png: bytes) -> tuple[int, int, int, int, bytes | None, bytes]:
    if not png.startswith(_PNG_MAGIC):
        raise StampFailed("Spesimen bukan PNG")
    at = len(_PNG_MAGIC)
    header: tuple[int, ...] | None = None
    palette: bytes | None = None
    data = b""
    while at + 12 <= len(png):
        length, kind = struct.unpack_from(">I4s", png, at)
        body = png[at + 8 : at + 8 + length]
        if kind == b"IHDR" and length == 13:
            header = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = body
        elif kind == b"IDAT":
            data += body
        at += 12 + length
    if header is None:
        raise StampFailed("Spesimen PNG rusak")
    width, height, depth, colour, _, _, interlaced = header
    if (
        colour not in _CHANNELS
        or interlaced
        or not (0 < width <= PICTURE_SIDE_MAX_PX and 0 < height <= PICTURE_SIDE_MAX_PX)
    ):
        raise StampFailed("Spesimen PNG berlapis alfa, berselang-seling, atau terlalu besar")
    if colour == 3 and not palette:
        raise StampFailed("Spesimen PNG rusak")
    expected_bytes = height * (1 + (width * _CHANNELS[colour] * depth + 7) // 8)
    try:
        unpacked = zlib.decompressobj().decompress(data, expected_bytes + 1)
    except zlib.error as error:
        raise StampFailed("Spesimen PNG rusak") from error
    if len(unpacked) != expected_bytes:
        raise StampFailed("Spesimen PNG rusak")
    return width, height, depth, colour, palette if colour == 3 else None, data
