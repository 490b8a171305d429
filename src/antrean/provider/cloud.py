"""Stamping in the cloud: upload the PDF, have it signed, download the result.

The answer names a URL to download from. It is followed only to scheme, host and port of a URL in our own settings:
an upstream's answer must not be able to send us anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import urljoin, urlsplit

from antrean.provider.connection import PORTS
from antrean.provider.errors import Rejected, Unavailable
from antrean.provider.protocol import CallMeter, StampRequest
from antrean.provider.signing import PDF_BYTES_MAX, check_pdf, check_ref, sign, signing_fields
from antrean.provider.translate import Effect, lost
from antrean.provider.wire import Wire, reachable

UPLOAD_PATH = "/uploaddoc2"
SIGNING_PATH = "/keystamp/adapter/docSigningZ"
#: Longest document id that is passed on.
DOCUMENT_ID_MAX = 200
#: A host that an error may name: it holds nothing that could be somebody's identity number.
_TELLABLE = re.compile(r"(?!.*\d{6})[a-z0-9.-]{1,100}", re.ASCII)


class CloudStamper:
    """Base URLs `fileupload` and `stampservice`; `download_urls`: others that a PDF may be fetched from."""

    def __init__(
        self, wire: Wire, fileupload_url: str, stampservice_url: str, download_urls: Iterable[str] = ()
    ) -> None:
        self._wire = wire
        self._fileupload = fileupload_url.rstrip("/")
        self._stampservice = stampservice_url.rstrip("/")
        self._origins = {_origin(url) for url in (fileupload_url, stampservice_url, *download_urls)}

    async def stamp(self, request: StampRequest, token: str, meter: CallMeter) -> bytes:
        """The stamped PDF. Raises ProviderError."""
        name = f"{check_ref(request.attempt_ref)}.pdf"
        uploaded = await self._wire.ask(
            "POST",
            self._fileupload + UPLOAD_PATH,
            Effect.FREE,
            token=token,
            data={"token": token},
            files={"file": (name, request.pdf, "application/pdf")},
        )
        document_id = uploaded.get("id")
        if not isinstance(document_id, str | int) or not 0 < len(str(document_id)) <= DOCUMENT_ID_MAX:
            raise Unavailable("the upload was answered without an id", sent=True)
        fields = signing_fields(request, token)
        fields.update(docId=document_id, onPrem=False)
        await meter.sending()
        answer = await sign(self._wire, self._stampservice + SIGNING_PATH, fields, token, meter)
        url = self._download_url(answer.get("urlFile"))
        try:
            return check_pdf(await self._wire.download(url, PDF_BYTES_MAX))
        except (Unavailable, Rejected) as error:
            raise lost(Effect.STAMPS, f"stamped, but not downloaded: {error.message}") from error

    async def reachable(self, timeout_s: float) -> None:
        """A TCP connection to the stamp service. Raises Unavailable."""
        await reachable(self._stampservice, timeout_s)

    def _download_url(self, url: object) -> str:
        if not isinstance(url, str) or not url.strip():
            raise lost(Effect.STAMPS, "the stamp service names no document")
        try:
            absolute = urljoin(self._stampservice + "/", url.strip())
        except ValueError:
            absolute = ""
        origin = _origin(absolute)
        if origin is None or origin not in self._origins:
            raise lost(Effect.STAMPS, f"stamped, but {_where(origin)} is not ours to ask for the document")
        return absolute


def _where(origin: tuple[str, str, int] | None) -> str:
    """The origin in words, so that an operator can allow it in the settings."""
    if origin is None or not _TELLABLE.fullmatch(origin[1]):
        return "the host that the stamp service names"
    return f"{origin[0]}://{origin[1]}:{origin[2]} (not among the download URLs in the settings)"


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None where it is no http(s) URL, or names a user."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
            return None
        return (parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme])
    except ValueError:
        return None
