"""QR pictures as the upstream sends them: base64, plain or as a data URL, checked to be a PNG."""

from __future__ import annotations

import base64
import binascii
import struct

#: Largest picture taken, in bytes and in pixels of a side. A stamp's QR has a few kilobytes.
PICTURE_BYTES_MAX = 1024 * 1024
PICTURE_SIDE_MAX = 4096

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"IEND\xaeB`\x82"


def png_from_base64(text: str) -> bytes | None:
    """The PNG in `text`; None where it holds none, or a cut or an absurd one."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    text = "".join(text.split())
    if len(text) > PICTURE_BYTES_MAX * 4 // 3 + 4:
        return None
    try:
        picture = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return picture if is_png(picture) else None


def is_png(picture: bytes) -> bool:
    """Signature, a header with a sensible size, and the end are there."""
    if len(picture) > PICTURE_BYTES_MAX or len(picture) < 45:
        return False
    if picture[:8] != _SIGNATURE or picture[12:16] != b"IHDR" or not picture.endswith(_END):
        return False
    width, height = (int(side) for side in struct.unpack(">II", picture[16:24]))
    return 0 < width <= PICTURE_SIDE_MAX and 0 < height <= PICTURE_SIDE_MAX
