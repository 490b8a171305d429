"""Long reads take turns, so that a counter that asks for many of them does not hold up the others."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from antrean.gateway.problems import Problem

#: Most long reads at one time, of all keys together; those of one key go one after another.
TOGETHER_MAX = 2
#: Most long reads of one key that wait for their turn.
WAITING_MAX = 32


class LongReads:
    """Whose turn it is. For one event loop."""

    def __init__(self, together_max: int = TOGETHER_MAX, waiting_max: int = WAITING_MAX) -> None:
        self._together = asyncio.Semaphore(together_max)
        self._waiting_max = waiting_max
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._asked: defaultdict[str, int] = defaultdict(int)

    @asynccontextmanager
    async def turn(self, key_id: str) -> AsyncIterator[None]:
        """A turn of this key's. Raises Problem 429 where too many of it wait already."""
        if self._asked[key_id] > self._waiting_max:
            raise Problem(
                "too-many-requests",
                "This key asks for too much at once. Wait for the answers.",
                headers={"Retry-After": "1"},
            )
        self._asked[key_id] += 1
        try:
            async with self._turns[key_id], self._together:
                yield
        finally:
            self._asked[key_id] -= 1
            if not self._asked[key_id]:
                del self._asked[key_id], self._turns[key_id]
