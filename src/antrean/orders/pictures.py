"""The QR pictures of the SNs: in Redis while the order is there, then in the document store.

They are kept by SN and not by order, since an order may get another SN (`replay.lua`). `bought.lua` keeps a picture
with its SN, so one write and one sync serve both; a file of its own cost the kernel nearly as much CPU as the rest of
a purchase. The picture goes to the document store when its order is archived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.model import Order, StoreUnavailable
from antrean.orders.scripts import Scripts

#: A larger picture, in bytes, goes to the document store at once.
BESIDE_MAX = 16 * 1024
#: Pictures put into the document store at one time.
PUTS = 16


class PictureFiles(Protocol):
    """The document store, as far as pictures go. Raises OSError where it can not be reached."""

    async def get_qr(self, name: str) -> bytes | None: ...
    async def put_qr(self, name: str, png: bytes) -> None: ...
    async def delete_qr(self, name: str) -> None: ...


def beside(png: bytes | None) -> bytes:
    """What is kept of a picture with its SN: all of it, or b"" where it is too large or missing."""
    return png if png is not None and len(png) <= BESIDE_MAX else b""


class Pictures:
    """Every method raises StoreUnavailable, and OSError for the document store."""

    def __init__(self, scripts: Scripts, files: PictureFiles) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._files = files

    async def get(self, order: Order) -> bytes | None:
        """The picture of the order's SN, or None."""
        if order.serial_number is None:
            return None
        kept: bytes | None = await asked(self._redis.get(keys.PICTURE + order.serial_number))
        # Layout 1 named the files by the order that had bought the SN.
        for name in (order.serial_number, order.id, order.purchase_order_id):
            if kept is None and name is not None:
                kept = await self._files.get_qr(name)
        return kept

    async def keep(self, order_id: str, serial_number: str, png: bytes) -> None:
        """Keep a picture that did not come with its SN."""
        if beside(png):
            code, *_ = await asked(self._scripts.run("picture", order_id, serial_number, png))
            if code != Code.MISSING:
                return
        await self._files.put_qr(serial_number, png)

    async def to_files(self, serial_numbers: Sequence[str]) -> None:
        """Copy the pictures of these SNs into the document store, before their orders leave Redis.

        Raises StoreUnavailable where one can not be put there.
        """
        if not serial_numbers:
            return
        found = await asked(self._redis.mget([keys.PICTURE + sn for sn in serial_numbers]))
        pairs = ((sn, png) for sn, png in zip(serial_numbers, found, strict=True) if png is not None)

        async def lane() -> None:
            for serial_number, png in pairs:
                await self._files.put_qr(serial_number, png)

        done = await asyncio.gather(*(lane() for _ in range(PUTS)), return_exceptions=True)
        for error in filter(None, done):
            if isinstance(error, OSError):
                raise StoreUnavailable(
                    f"a picture can not be put into the document store: {error}"
                ) from error
            raise error

    async def delete(self, order: Order) -> None:
        """Forget the file of an SN that this order bought; it may be gone already. `erase.lua` does the rest."""
        if order.serial_number is not None and order.owns_serial:
            await self._files.delete_qr(order.serial_number)
        await self._files.delete_qr(order.id)
