"""Stamping by the on-premise adapter: a signing container that shares a folder with us.

We write `UNSIGNED/<ref>.pdf` and `STAMP/<ref>.png`, name them by the adapter's own paths, and read `SIGNED/<ref>.pdf`.
Every attempt has a name of its own, so that one that was given up can not spoil a later one. Its files are removed when
the adapter is known to be done with them; otherwise they stay for `LEFTOVER_S` seconds.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

import structlog

from antrean.provider.errors import OutcomeUnknown, ProviderError, Unavailable
from antrean.provider.protocol import CallMeter, StampRequest
from antrean.provider.signing import PDF_BYTES_MAX, check_pdf, check_ref, ends, sign, signing_fields
from antrean.provider.translate import Effect, lost
from antrean.provider.wire import Wire, reachable

log = structlog.get_logger(__name__)

SIGNING_PATH = "/adapter/pdfsigning/rest/docSigningZ"
UNSIGNED, SIGNED, STAMP = "UNSIGNED", "SIGNED", "STAMP"
#: A network folder may show a new file late: how long it is looked for after a good answer, and how often, in seconds.
APPEAR_S = 2.0
APPEAR_LOOK_S = 0.05
#: A PDF with something behind its end mark counts as whole when it has not grown for this many looks.
STILL_LOOKS = 3
#: Files of attempts with an unknown end are removed after this many seconds; no signing takes that long.
LEFTOVER_S = 3600.0
#: Files that are removed in one go.
TIDY_MAX = 1000
#: How ours are named, after an order and its fencing token. The folder may hold others'.
_OURS = re.compile(r"[0-9a-z]{26}-\d+\.(pdf|png)")


@dataclass(frozen=True, slots=True)
class _Files:
    """The three files of one attempt, by our paths, and the adapter's paths of them."""

    unsigned: Path
    signed: Path
    picture: Path
    src: str
    dest: str
    specimen: str


class OnPremiseStamper:
    """`shared_dir`: our path of the folder. `remote_dir`: the adapter's path of it; the same when empty."""

    def __init__(
        self,
        wire: Wire,
        base_url: str,
        shared_dir: Path,
        remote_dir: str = "",
    ) -> None:
        self._wire = wire
        self._base_url = base_url.rstrip("/")
        self._shared = shared_dir.absolute()
        self._remote = (remote_dir or str(self._shared)).rstrip("/")

    async def stamp(self, request: StampRequest, token: str, meter: CallMeter) -> bytes:
        """The stamped PDF. Raises ProviderError."""
        files = self._files(check_ref(request.attempt_ref))
        in_use = False
        try:
            try:
                await asyncio.to_thread(_write, files, request.pdf, request.qr_png)
            except OSError as error:
                raise Unavailable("the folder shared with the signing adapter can not be written") from error
            fields = signing_fields(request, token)
            fields.update(src=files.src, dest=files.dest, spesimenPath=files.specimen)
            await meter.sending()
            in_use = True
            try:
                await sign(self._wire, self._base_url + SIGNING_PATH, fields, token, meter)
            except OutcomeUnknown:
                raise
            except ProviderError:
                in_use = False
                raise
            pdf = await self._signed(files.signed)
            in_use = False
            return pdf
        finally:
            # Cancelled or unknown: the adapter may still be working on them.
            if not in_use:
                await asyncio.shield(asyncio.to_thread(_remove, files))

    async def reachable(self, timeout_s: float) -> None:
        """A TCP connection to the adapter. Raises Unavailable."""
        await reachable(self._base_url, timeout_s)

    def _files(self, ref: str) -> _Files:
        return _Files(
            unsigned=self._shared / UNSIGNED / f"{ref}.pdf",
            signed=self._shared / SIGNED / f"{ref}.pdf",
            picture=self._shared / STAMP / f"{ref}.png",
            src=f"{self._remote}/{UNSIGNED}/{ref}.pdf",
            dest=f"{self._remote}/{SIGNED}/{ref}.pdf",
            specimen=f"{self._remote}/{STAMP}/{ref}.png",
        )

    async def _signed(self, path: Path) -> bytes:
        size, since = -1, 0
        seen = "not there"
        for look in range(int(APPEAR_S / APPEAR_LOOK_S)):
            if look:
                await asyncio.sleep(APPEAR_LOOK_S)
            try:
                pdf = check_pdf(await asyncio.to_thread(_read, path))
            except OSError:
                continue
            except OutcomeUnknown:
                seen = "no whole PDF"
                continue
            if len(pdf) != size:
                size, since = len(pdf), look
            # A signer that appends to the original may still be writing: the original's end mark is in it already.
            if ends(pdf) or look - since >= STILL_LOOKS:
                return pdf
        raise lost(Effect.STAMPS, f"the signing adapter said yes, but the stamped document is {seen}")

    async def tidy(self) -> bool:
        """Remove what old attempts with an unknown end have left; True where there is more."""
        removed = await asyncio.to_thread(_remove_older, self._shared)
        if removed:
            log.info("leftovers removed", files=removed)
        return removed >= TIDY_MAX


def _write(files: _Files, pdf: bytes, png: bytes) -> None:
    for path in (files.unsigned, files.signed, files.picture):
        path.parent.mkdir(parents=True, exist_ok=True)
    files.signed.unlink(missing_ok=True)
    files.unsigned.write_bytes(pdf)
    files.picture.write_bytes(png)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        pdf = file.read(PDF_BYTES_MAX + 1)
    if len(pdf) > PDF_BYTES_MAX:
        raise OSError("too large")
    return pdf


def _remove(files: _Files) -> None:
    for path in (files.unsigned, files.signed, files.picture):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            log.warning("shared file not removed", error=type(error).__name__)


def _remove_older(shared: Path) -> int:
    """Remove old files; answers how many. The folder's own clock says what is old: ours may be an hour ahead."""
    removed = 0
    try:
        with tempfile.NamedTemporaryFile(dir=shared / UNSIGNED, prefix=".antrean-") as probe:
            before = Path(probe.name).stat().st_mtime - LEFTOVER_S
    except OSError:  # nothing was ever written there, or the folder is away
        return 0
    for folder in (UNSIGNED, SIGNED, STAMP):
        for path in _entries(shared / folder):
            try:
                ours = _OURS.fullmatch(path.name) and path.is_file()
                if removed < TIDY_MAX and ours and path.stat().st_mtime < before:
                    path.unlink(missing_ok=True)
                    removed += 1
            except OSError:  # another worker's, gone meanwhile, or not ours to remove
                continue
    return removed


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
