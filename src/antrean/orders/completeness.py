"""Whether every order that was ever accepted is still to be had: in Redis, or in a segment of the archive.

Each order has a number of one sequence, counted in the script that accepts it, so that there is none without an order.
A segment that was lost shows nowhere else: what is counted by state is not counted anew.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.listing import index_parts
from antrean.orders.store import OrderStore

#: Numbers read in one go.
PAGE = 10_000


@dataclass(frozen=True, slots=True)
class Gap:
    """Orders that are nowhere, by their numbers in the sequence."""

    first: int
    last: int

    @property
    def orders(self) -> int:
        """How many."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Completeness:
    """Of `accepted` orders all are there but those in `gaps`. `damaged`: parts of the archive that can not be read."""

    accepted: int
    gaps: list[Gap]
    damaged: list[str] = field(default_factory=list)


async def find_gaps(store: OrderStore) -> Completeness:
    """Look for every number up to the newest at the beginning, while work goes on; a byte of memory for each order.

    Redis is read first and once more at the end: an order that moved to the archive meanwhile is in one of the looks.
    Raises StoreUnavailable.
    """
    redis = store.scripts.redis
    accepted = int(await asked(redis.get(keys.SEQUENCE)) or 0)
    there = bytearray(accepted + 1)
    await _mark_held(store, there)
    damaged: list[str] = []
    if store.archive is not None:
        async for number in store.archive.numbers(damaged):
            if number <= accepted:
                there[number] = 1
    await _mark_held(store, there)
    gaps: list[Gap] = []
    begin = there.find(0, 1)
    while begin != -1:
        end = there.find(1, begin)
        last = accepted if end == -1 else end - 1
        gaps.append(Gap(begin, last))
        begin = -1 if end == -1 else there.find(0, end)
    return Completeness(accepted, gaps, damaged)


async def _mark_held(store: OrderStore, there: bytearray) -> None:
    async for rows in index_parts(store.scripts.redis, PAGE, len(there) - 1):
        for _, number in rows:
            there[int(number)] = 1
