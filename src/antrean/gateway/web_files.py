"""The files of the pages, read once: bytes, gzip where it pays, ETags, and one build name for all of them.

Pages name their files as `/static/{build}/…`, and modules import each other by relative names, so a browser may
keep a file for good: with any change the build's name changes, and with it every address.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib import resources

from aiohttp import web

from antrean.gateway.exchange import known_tags

#: Smaller files gain nothing from gzip.
GZIP_BYTES_MIN = 700
#: What the pages carry in place of the build's name.
PLACE = b"{build}"

_TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "csv": "text/csv",
    "woff2": "font/woff2",
    "txt": "text/plain",
}
_KEEP = "public, max-age=31536000, immutable"


@dataclass(frozen=True, slots=True)
class WebFile:
    """One file, ready to be sent."""

    body: bytes
    packed: bytes | None
    content_type: str
    etag: str

    @classmethod
    def of(cls, name: str, body: bytes) -> WebFile:
        """Made from a name, for its type, and the bytes."""
        content_type = _TYPES[name.rpartition(".")[2]]
        pays = len(body) >= GZIP_BYTES_MIN and content_type != "font/woff2"
        packed = gzip.compress(body, 9, mtime=0) if pays else None
        return cls(body, packed, content_type, hashlib.sha256(body).hexdigest()[:20])

    def response(self, request: web.Request, *, keep: bool, status: int = 200) -> web.Response:
        """The answer: 304 where the browser has it. `keep`: under an address that names the build."""
        takes_gzip = self.packed is not None and "gzip" in request.headers.get("Accept-Encoding", "")
        etag = f'"{self.etag}-gz"' if takes_gzip else f'"{self.etag}"'
        headers = {"ETag": etag, "Cache-Control": _KEEP if keep else "no-cache"}
        if self.packed is not None:
            headers["Vary"] = "Accept-Encoding"
        if status == 200 and etag in known_tags(request):
            # With its type, by which the policy is chosen: a browser takes the headers of a 304 for the page's own.
            return web.Response(status=304, content_type=self.content_type, headers=headers)
        if takes_gzip:
            headers["Content-Encoding"] = "gzip"
        return web.Response(
            body=self.packed if takes_gzip else self.body,
            status=status,
            content_type=self.content_type,
            charset=None if self.content_type == "font/woff2" else "utf-8",
            headers=headers,
        )


def _read() -> dict[str, bytes]:
    folder = resources.files("antrean.gateway").joinpath("web")
    return {entry.name: entry.read_bytes() for entry in folder.iterdir() if entry.is_file()}


def _name_of(sources: dict[str, bytes]) -> str:
    digest = hashlib.sha256()
    for name, body in sorted(sources.items()):
        digest.update(b"%s %d\n" % (name.encode(), len(body)))
        digest.update(body)
    return digest.hexdigest()[:12]


_sources = _read()
#: Names this very set of files.
BUILD = _name_of(_sources)
#: All files by name; the pages among them carry the build's name already.
FILES = {name: WebFile.of(name, body.replace(PLACE, BUILD.encode())) for name, body in _sources.items()}
