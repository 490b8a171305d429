"""Which document store is ours, as Redis remembers it: an empty folder under a disk that is not mounted answers as
readily as the real one, and says of every document that it is gone."""

from __future__ import annotations

import secrets
from typing import NamedTuple

from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.asking import asked


class Mark(NamedTuple):
    """The store's own id, which lies in it, and the URL that it was known by when it was last claimed."""

    id: str
    url: str


class StoreMark:
    """The mark in Redis. `url`: the setting. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis, url: str) -> None:
        self._redis = redis
        self.url = url

    async def read(self) -> Mark | None:
        """None where no store has been claimed yet."""
        mark, url = await asked(self._redis.hmget(keys.DOCUMENT_STORE, "id", "url"))  # type: ignore[misc, unused-ignore]
        return None if mark is None else Mark(mark.decode(), (url or b"").decode())

    async def held(self, mark: str) -> bool:
        """Whether a gateway that is at work keeps documents in the store of this id."""
        held = await asked(self._redis.get(keys.DOCUMENT_STORE_HELD))
        return held is not None and held.decode() == mark

    async def hold(self, mark: str) -> None:
        """A gateway that is at work, this one, keeps documents in it."""
        await asked(self._redis.set(keys.DOCUMENT_STORE_HELD, mark, px=keys.DOCUMENT_STORE_HELD_MS))

    async def let_go(self) -> None:
        """This gateway stops. Another one that keeps documents there says so again within seconds."""
        await asked(self._redis.delete(keys.DOCUMENT_STORE_HELD))

    async def write(self, mark: str) -> None:
        """This store, by our URL, is ours from now on."""
        await asked(self._redis.hset(keys.DOCUMENT_STORE, mapping={"id": mark, "url": self.url}))  # type: ignore[misc, unused-ignore]

    @staticmethod
    def new() -> str:
        """An id for a store that has none."""
        return secrets.token_hex(16)
