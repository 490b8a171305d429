"""The QR pictures of the SNs: in Redis beside the order as long as that is there, then in the document store.

`bought.lua` keeps a picture with its SN: one write and one sync for both, where a file of its own would cost the kernel
more than all the rest of a purchase. It goes to the document store with the order's move to the archive.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.scripts import Scripts

#: A larger picture, in bytes, goes to the document store at once.
BESIDE_MAX = 16 * 1024


class PictureFiles(Protocol):
    """The document store, as far as pictures go. Raises OSError where it can not be reached."""

    async def get_qr(self, order_id: str) -> bytes | None: ...
    async def put_qr(self, order_id: str, png: bytes) -> None: ...
    async def delete_qr(self, order_id: str) -> None: ...


def beside(png: bytes | None) -> bytes:
    """What of a picture is kept with the SN: all of it, or b"" where it is too large or there is none."""
    return png if png is not None and len(png) <= BESIDE_MAX else b""


class Pictures:
    """Pictures by order. Every method raises StoreUnavailable, and OSError for the document store."""

    def __init__(self, scripts: Scripts, files: PictureFiles) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._files = files

    async def get(self, order_id: str) -> bytes | None:
        """The picture, or None."""
        kept: bytes | None = await asked(self._redis.get(keys.PICTURE + order_id))
        return kept if kept is not None else await self._files.get_qr(order_id)

    async def keep(self, order_id: str, png: bytes) -> None:
        """Keep one that did not come with its SN."""
        if beside(png) and (await asked(self._scripts.run("picture", order_id, png)))[0] == Code.OK:
            return
        await self._files.put_qr(order_id, png)

    async def to_files(self, order_ids: Sequence[str]) -> None:
        """Before these orders leave Redis: their pictures are in the document store as well."""
        if order_ids:
            for order_id, png in zip(order_ids, await self._beside(order_ids), strict=True):
                if png is not None:
                    await self._files.put_qr(order_id, png)

    async def delete(self, order_id: str) -> None:
        """Forget it; it may be gone already."""
        await asked(self._redis.delete(keys.PICTURE + order_id))
        await self._files.delete_qr(order_id)

    async def _beside(self, order_ids: Sequence[str]) -> list[bytes | None]:
        found: list[bytes | None] = await asked(self._redis.mget([keys.PICTURE + o for o in order_ids]))
        return found
