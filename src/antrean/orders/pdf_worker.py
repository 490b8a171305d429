"""The process in which PDFs are opened: `python -m antrean.orders.pdf_worker`. Started and bounded by `pdf.py`.

It reads requests from standard input and answers on standard output, one at a time, until its input ends:

    {"op": "inspect", "sizes": [n], "pages_max": 1000}\\n  n bytes      → {"runs": [[count, x0, y0, x1, y1], …]}
    {"op": "verify", "sizes": [n, m], "page": 1}\\n  n bytes, m bytes   → {}
    {"op": "draw", "sizes": [n], "page": 1, "width_px": 900}\\n  n bytes  → {"png": "<base64>", "rotation": 90}
    each                                                              → {"problem": "pdf-encrypted", "message": "…"}

A PDF that makes it use too much memory or time ends this process, not the one that asks. It has none of our
secrets: its environment is emptied of settings, and it opens no file and no connection.
"""

from __future__ import annotations

import base64
import io
import json
import re
import resource
import sys
from collections.abc import Iterator
from typing import Any

import pikepdf
from PIL.Image import Dither, Quantize

#: Address space of this process, in bytes; pikepdf itself takes about 150 MB of it.
MEMORY_BYTES = 1024**3
#: Processor time for one request, in seconds.
CPU_S = 5
#: A page's side, in points: Acrobat's own upper bound (200 inch), and less than any paper.
SIDE_MIN, SIDE_MAX = 20.0, 14_400.0
#: `startxref` and `%%EOF` stand within this many bytes of the end, as readers expect them.
TAIL_BYTES = 1024
#: Nesting of direct objects beyond this is refused; qpdf's own bound is 499.
DEPTH_MAX = 100
#: Numbers of objects that are said to be there and are not; a signer may keep a table of as many.
GAP_MAX = 1000
#: A page's picture: how many pixels it has at most, and how many colours.
PICTURE_PIXELS_MAX = 2_000_000
PICTURE_COLOURS = 64

#: Names that active content can not do without; a cheap look before the exact one.
_SUSPICIOUS = re.compile(rb"/(JavaScript|JS|Launch|EmbeddedFiles?|EF|XFA|FileAttachment|RichMedia)\b")

#: What qpdf warns of where only a formality is left out or written oddly, and readers show the same without a repair:
#: no names of kinds; a newline before the table of objects; a blank after `stream`; an object that is said to stand at
#: 0, or has the number 0 (it is none); an appended table that does not list itself (PDFBox, iText, pypdf); no checksum
#: at the end of packed objects (Acrobat Reader, macOS), which are warned of on their own where they are cut.
_HARMLESS = re.compile(
    r"/Type key should be /Pages? but is not|setting missing or invalid /Type entry|Resources is missing or invalid"
    r"|extraneous whitespace seen before xref"
    r"|stream keyword followed by (carriage return only|extraneous whitespace)"
    r"|object has offset 0|treating bad indirect reference \(0 \d+ R\) as null"
    r"|xref entry for the xref stream itself is missing"
    r"|input stream is complete but output may still be valid"
)
_COUNTED = re.compile(
    r"reported number of objects \((\d+)\) is not one plus the highest object number \((\d+)\)"
)
#: jsPDF's autoPrint writes a second /OpenAction after the first, which is a place in the document.
_OPENED_TWICE = re.compile(r"dictionary has duplicated key /OpenAction;")
_OPENS_A_PLACE = re.compile(rb"/OpenAction\s*(\[[^]<>()]*\]|\d+ \d+ R)")
_ESCAPED = re.compile(rb"#([0-9A-Fa-f]{2})")
#: The beginning of a revision (ISO 32000-1, 7.5.6).
_REVISION = re.compile(rb"\d\s+\d+\s+obj\b|\bxref\b")


class Refused(Exception):
    """A PDF that is not taken: the problem's name and words for a person."""

    def __init__(self, problem: str, message: str) -> None:
        super().__init__(message)
        self.problem = problem
        self.message = message


def open_pdf(data: bytes) -> pikepdf.Pdf:
    """Open without repairing anything. Raises Refused."""
    if b"%PDF-" not in data[:TAIL_BYTES]:
        raise Refused("pdf-not-a-pdf", "The file is not a PDF.")
    tail = data[-TAIL_BYTES:]
    has_end = b"%%EOF" in tail and b"startxref" in tail
    # Readers would show what was there before a revision that has no end.
    if not has_end or _REVISION.search(tail, tail.rindex(b"%%EOF")):
        raise Refused("pdf-damaged", "The PDF is damaged or was cut off: its end is missing.")
    try:
        pdf = pikepdf.open(io.BytesIO(data), attempt_recovery=False, suppress_warnings=True)
    except pikepdf.PasswordError:
        raise Refused("pdf-encrypted", "The PDF is encrypted. Save it without a password.") from None
    except (pikepdf.PdfError, ValueError) as error:  # ValueError: a number beyond 64 bits
        if "encryption" in str(error):  # for the holders of certificates, for one
            raise Refused("pdf-encrypted", "The PDF is encrypted. Save it without.") from None
        raise Refused("pdf-damaged", "The PDF is damaged and can not be read without repair.") from None
    if pdf.is_encrypted:
        raise Refused("pdf-encrypted", "The PDF is encrypted, if with an empty password. Save it without.")
    return pdf


def inspect(data: bytes, pages_max: int) -> list[list[float]]:
    """Runs of equal page boxes. Raises Refused."""
    pdf = open_pdf(data)
    try:
        count = len(pdf.pages)
        if count == 0:
            raise Refused("pdf-without-pages", "The PDF has no page.")
        if count > pages_max:
            raise Refused("pdf-too-many-pages", f"The PDF has {count} pages; at most {pages_max} are taken.")
        runs: list[list[float]] = []
        for number, page in enumerate(pdf.pages, 1):
            box = _visible_box(page, number)
            if runs and runs[-1][1:] == box:
                runs[-1][0] += 1
            else:
                runs.append([1, *box])
        _refuse_active_content(pdf)
        for warning in pdf.get_warnings():
            refuse_damage(str(warning), data)
    except (pikepdf.PdfError, ValueError, TypeError, KeyError, IndexError):
        raise Refused("pdf-damaged", "The PDF is damaged: its pages can not be read.") from None
    return runs


def refuse_damage(warning: str, data: bytes) -> None:
    """Raises Refused unless what qpdf warns of is harmless."""
    if _HARMLESS.search(warning):
        return
    if counted := _COUNTED.search(warning):
        if 0 < int(counted[1]) - int(counted[2]) <= GAP_MAX:
            return
        # Who appends a revision gives new objects the numbers from that one on: pyHanko then blanks a page.
        raise Refused(
            "pdf-damaged",
            "The PDF is damaged: it has more objects than it says, and a stamp could overwrite some.",
        )
    if _OPENED_TWICE.search(warning) and "object stream" not in warning:
        # Readers differ in which of the two they take, so that each of them must be harmless, however it is spelt.
        spelt = _ESCAPED.sub(lambda found: bytes.fromhex(found[1].decode()), data)
        if len(_OPENS_A_PLACE.findall(spelt)) == spelt.count(b"/OpenAction") > 1:
            return
    raise Refused("pdf-damaged", "The PDF is damaged: parts of it can not be read.")


def verify(original: bytes, stamped: bytes, page: int) -> None:
    """The stamped PDF has the original's pages and something new to see on the stamped one. Raises Refused."""
    before, after = open_pdf(original), open_pdf(stamped)
    try:
        if len(before.pages) != len(after.pages):
            raise Refused("pdf-unsound", f"it has {len(after.pages)} pages, the original {len(before.pages)}")
        if page > len(after.pages):
            raise Refused("pdf-unsound", "it lacks the page that was to be stamped")
        old, new = _marks(before.pages[page - 1]), _marks(after.pages[page - 1])
        added = any(n > o for o, n in zip(old, new, strict=True)) or _drawn_anew(before, after, page)
    except (pikepdf.PdfError, ValueError, TypeError, KeyError, IndexError, AttributeError):
        raise Refused("pdf-unsound", "its pages can not be read") from None
    if not added and not _revised(original, stamped):
        raise Refused("pdf-unsound", f"nothing was added to page {page}")


def _revised(original: bytes, stamped: bytes) -> bool:
    """A signer may also append a revision (ISO 32000-1, 7.5.6) and leave the page's own objects as they are.

    One that was cut off begins with an object's number, as every revision does, and has no end: what a reader shows is
    the original. What else a signer leaves behind it, such as a comment, is its own affair.
    """
    body = original.rstrip()
    revision = stamped[len(body) :].strip()
    if not stamped.startswith(body) or not revision:
        return False
    if revision[:1].isdigit() or revision.startswith(b"xref"):
        return b"startxref" in revision and b"%%EOF" in revision
    return True


def draw(data: bytes, number: int, width_px: int) -> dict[str, Any]:
    """The picture of a page as a reader shows it, in few colours: it is to find a free place on. Raises Refused."""
    # Asked for seldom beside the checks, and it costs memory: a process that never draws does without it.
    import pypdfium2

    try:
        pdf = pypdfium2.PdfDocument(data)
        page = pdf[number - 1]
        width, height = page.get_size()
        scale = min(width_px / width, (PICTURE_PIXELS_MAX / (width * height)) ** 0.5)
        picture = page.render(scale=scale, may_draw_forms=False).to_pil().convert("RGB")
        rotation = page.get_rotation()
    except (pypdfium2.PdfiumError, ValueError, ZeroDivisionError):
        raise Refused("pdf-damaged", "The page can not be drawn.") from None
    buffer = io.BytesIO()
    picture.quantize(PICTURE_COLOURS, method=Quantize.FASTOCTREE, dither=Dither.NONE).save(buffer, "PNG")
    return {"png": base64.b64encode(buffer.getvalue()).decode(), "rotation": rotation}


def _visible_box(page: pikepdf.Page, number: int) -> list[float]:
    media, crop = _normal(page.mediabox), _normal(page.cropbox)
    box = [
        max(media[0], crop[0]),
        max(media[1], crop[1]),
        min(media[2], crop[2]),
        min(media[3], crop[3]),
    ]
    unit = float(page.obj.get("/UserUnit", 1))
    for low, high in ((0, 2), (1, 3)):
        for side in ((box[high] - box[low]) * unit, (media[high] - media[low]) * unit):
            if not SIDE_MIN <= side <= SIDE_MAX:
                raise Refused(
                    "pdf-page-size",
                    f"Page {number} has a side of {side:g} points; from {SIDE_MIN:g} to {SIDE_MAX:g} are taken.",
                )
    return [round(v, 3) for v in box]


def _normal(box: Any) -> list[float]:
    x0, y0, x1, y1 = (float(v) for v in box)
    return [min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)]


def _refuse_active_content(pdf: pikepdf.Pdf) -> None:
    for thing in pdf.objects:
        if not isinstance(thing, pikepdf.Object):
            continue  # a number, a boolean or null that has an object of its own, such as the length of a stream
        head = thing.stream_dict if isinstance(thing, pikepdf.Stream) else thing
        if _SUSPICIOUS.search(head.unparse(resolved=True)):
            for found in _dictionaries(head, 0):
                _refuse_active_dictionary(found)


def _refuse_active_dictionary(found: pikepdf.Dictionary) -> None:
    if "/JS" in found or _holds(found, "/JavaScript") or found.get("/S") == "/JavaScript":
        raise Refused("pdf-active-content", "The PDF holds JavaScript. Print it to a new PDF first.")
    if found.get("/S") == "/Launch":
        raise Refused("pdf-active-content", "The PDF starts programs. Print it to a new PDF first.")
    if "/XFA" in found:
        raise Refused("pdf-active-content", "The PDF is an XFA form. Print it to a new PDF first.")
    if (
        _holds(found, "/EmbeddedFiles")
        or "/EF" in found
        or found.get("/Subtype") in ("/FileAttachment", "/RichMedia")
    ):
        raise Refused("pdf-active-content", "The PDF holds other files. Save it without attachments.")


def _holds(found: pikepdf.Dictionary, name: str) -> bool:
    """Whether there is anything in this tree of names: what was taken out often leaves an empty one."""
    tree = found.get(name)
    if not isinstance(tree, pikepdf.Dictionary):
        return tree is not None
    return any(
        not isinstance(branch, pikepdf.Array) or len(branch) > 0
        for branch in (tree.get(key) for key in ("/Names", "/Kids"))
        if branch is not None
    )


def _dictionaries(thing: Any, depth: int) -> Iterator[pikepdf.Dictionary]:
    """Every dictionary in this object that is not an object of its own."""
    if depth > DEPTH_MAX:
        raise Refused("pdf-too-complex", "The PDF is nested too deeply.")
    if isinstance(thing, pikepdf.Dictionary):
        yield thing
        children: Any = [thing[key] for key in thing.keys()]  # noqa: SIM118 - iterating resolves the values
    elif isinstance(thing, pikepdf.Array):
        children = thing
    else:
        return
    for child in children:
        if isinstance(child, pikepdf.Object) and not child.is_indirect:
            yield from _dictionaries(child, depth + 1)


def _marks(page: pikepdf.Page) -> tuple[int, int]:
    """How many images and annotations (a signature's field among them) a page has."""
    annotations = page.obj.get("/Annots")
    return _images(page.resources), 0 if annotations is None else len(annotations)


def _drawn_anew(before: pikepdf.Pdf, after: pikepdf.Pdf, page: int) -> bool:
    """Whether the page's drawing itself is longer than it was."""
    old, new = (
        sum(len(stream.read_bytes()) for stream in _contents(pdf.pages[page - 1])) for pdf in (before, after)
    )
    return new > old


def _contents(page: pikepdf.Page) -> list[pikepdf.Object]:
    contents = page.obj.get("/Contents")
    if contents is None:
        return []
    return list(contents) if isinstance(contents, pikepdf.Array) else [contents]


def _images(resources: Any) -> int:
    """Images by their names, those inside drawings too. Each drawing is looked into once.

    LibreOffice gives a page and all its transparent drawings one dictionary of resources, which names them all.
    """
    count = 0
    waiting, seen = [resources], set()
    while waiting:
        things = waiting.pop().get("/XObject")
        for name in () if things is None else things.keys():
            thing = things[name]
            kind = thing.get("/Subtype")
            if kind == "/Image":
                count += 1
            elif kind == "/Form" and thing.objgen not in seen:
                seen.add(thing.objgen)
                inner = thing.get("/Resources")
                if inner is not None and not (inner.is_indirect and inner.objgen in seen):
                    seen.add(inner.objgen)
                    waiting.append(inner)
    return count


def answer(request: dict[str, Any], parts: list[bytes]) -> dict[str, Any]:
    """The answer to one request."""
    try:
        if request["op"] == "inspect":
            return {"runs": inspect(parts[0], request["pages_max"])}
        if request["op"] == "draw":
            return draw(parts[0], request["page"], request["width_px"])
        verify(parts[0], parts[1], request["page"])
        return {}
    except Refused as refused:
        return {"problem": refused.problem, "message": refused.message}
    except (MemoryError, RecursionError):
        return {"problem": "pdf-too-complex", "message": "The PDF needs more memory than is given to it."}


def main() -> None:
    """Serve until standard input ends."""
    for what, bound in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (bound, bound))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    sink.write(b"{}\n")
    sink.flush()
    while line := source.readline():
        used = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = int(used.ru_utime + used.ru_stime) + 1 + CPU_S
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, resource.RLIM_INFINITY))
        request = json.loads(line)
        parts = [source.read(size) for size in request["sizes"]]
        sink.write(json.dumps(answer(request, parts)).encode() + b"\n")
        sink.flush()


if __name__ == "__main__":
    main()
