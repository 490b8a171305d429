"""The QR picture of an SN. Fast, for it is made on every sale: segno chooses no mask and writes no PNG here."""

from __future__ import annotations

import struct
import zlib
from typing import Final

import segno

#: Pixels a module, and modules of quiet zone round the symbol (ISO/IEC 18004 asks for 4).
SCALE_PX: Final = 6
QUIET_MODULES: Final = 4


def qr_png(serial_number: str) -> bytes:
    """A black and white PNG of the SN.

    Version 1-L holds 25 alphanumeric characters; a longer text gets the version it needs. Any mask is legal,
    trying all eight costs four times as much. Raises ValueError where the text fits no QR code.
    """
    small = len(serial_number) <= 25 and serial_number.isascii() and serial_number.isalnum()
    code = segno.make(
        serial_number, error="l", version=1 if small else None, mask=0, micro=False, boost_error=False
    )
    quiet = "1" * QUIET_MODULES
    rows = [f"{quiet}{''.join('0' if module else '1' for module in row)}{quiet}" for row in code.matrix]
    blank = "1" * len(rows[0])
    rows = [blank] * QUIET_MODULES + rows + [blank] * QUIET_MODULES
    side_px = len(blank) * SCALE_PX
    line_bytes = (side_px + 7) // 8
    pad = "0" * (line_bytes * 8 - side_px)
    wide = {"0": "0" * SCALE_PX, "1": "1" * SCALE_PX}
    raw = b"".join(
        (b"\x00" + int("".join(map(wide.__getitem__, row)) + pad, 2).to_bytes(line_bytes, "big")) * SCALE_PX
        for row in rows
    )
    header = struct.pack(">IIBBBBB", side_px, side_px, 1, 0, 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(raw, 1)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
