"""Tickets for many readers: those who look at one ticket at about the same time share one look-up."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from antrean.gateway.cached import Cached
from antrean.gateway.ranks import Ranks
from antrean.orders.model import Order
from antrean.orders.store import OrderStore

#: How old what a reader sees may be, in seconds.
SHARED_S = 0.25
#: Tickets remembered; the one not asked for longest gives way.
TICKETS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Ticket:
    """The order behind a token, and how many stand before it in its lane (None: it waits in none)."""

    order: Order
    rank: int | None


class Tickets:
    """Looks tokens up; what was looked up within SHARED_S is not asked for again, be it an order or none."""

    def __init__(self, store: OrderStore, ranks: Ranks) -> None:
        self._store = store
        self._ranks = ranks
        self._cache: OrderedDict[tuple[str, bool], Cached[Ticket | None]] = OrderedDict()

    async def of(self, token: str, *, old: bool = False) -> Ticket | None:
        """The ticket, or None where there is none in Redis, or with `old` in the archive. Raises StoreUnavailable."""
        cached = self._cache.get((token, old))
        if cached is None:
            cached = self._cache[token, old] = Cached(lambda: self._look(token, old), SHARED_S)
            if len(self._cache) > TICKETS_MAX:
                self._cache.popitem(last=False)
        else:
            self._cache.move_to_end((token, old))
        return await cached.get()

    async def _look(self, token: str, old: bool) -> Ticket | None:
        order = await (self._store.by_old_ticket(token) if old else self._store.by_ticket(token))
        return Ticket(order, await self._ranks.of(order)) if order else None
