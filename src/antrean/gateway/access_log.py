"""Notes who looks at personal data. No reader waits for that: entries are collected and written a moment later."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable

import structlog
from redis.asyncio import Redis

from antrean.gateway.keys import Principal
from antrean.orders import accesses
from antrean.orders.accesses import Access, What
from antrean.orders.model import StoreUnavailable
from antrean.orders.seldom import Seldom

log = structlog.get_logger(__name__)

#: How often entries are written, in seconds. A gateway that is killed may lose the entries of this span.
WRITE_EVERY_S = 0.2
#: Entries in one write, and entries held while Redis is away; beyond that the oldest go, and the log says so.
BATCH_MAX = 1000
WAITING_MAX = 50_000
#: When the same key looks at the same order again within this time, in ms, no new entry is made: a page that refreshes
#: itself would push everybody else out of the list.
AGAIN_MS = 60_000
REMEMBERED_MAX = 20_000


class AccessLog:
    """One for each gateway."""

    def __init__(self, redis: Redis, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._redis = redis
        self._now_ms = now_ms
        self._waiting: deque[Access] = deque()
        self._seen: OrderedDict[tuple[str, str, What], int] = OrderedDict()
        self._dropped = 0
        self._writing = asyncio.Lock()

    def note(self, principal: Principal, order_id: str, what: What) -> None:
        """Somebody sees something of a person."""
        now_ms = self._now_ms()
        actor = principal.actor
        look = (order_id, actor, what)
        last_ms = self._seen.get(look)
        if last_ms is not None and now_ms - last_ms < AGAIN_MS:
            return
        self._seen[look] = now_ms
        self._seen.move_to_end(look)
        if len(self._seen) > REMEMBERED_MAX:
            self._seen.popitem(last=False)
        self._waiting.append(Access(order_id, now_ms, actor, what))
        if len(self._waiting) > WAITING_MAX:
            self._waiting.popleft()
            self._dropped += 1

    async def run(self) -> None:
        """Write until cancelled."""
        trouble = Seldom()
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            try:
                await self.flush()
            except StoreUnavailable as error:
                if trouble.due(str(error)):
                    log.warning(
                        "accesses are not written just now", waiting=len(self._waiting), why=str(error)
                    )

    async def flush(self) -> None:
        """Write all that waits. Raises StoreUnavailable; what may not have been written is written again."""
        async with self._writing:
            while self._waiting:
                batch = [self._waiting[n] for n in range(min(BATCH_MAX, len(self._waiting)))]
                await accesses.write(self._redis, batch)
                for access in batch:
                    # The oldest may have been dropped meanwhile.
                    if self._waiting and self._waiting[0] is access:
                        self._waiting.popleft()
        if self._dropped:
            log.error("accesses to personal data were not recorded", accesses=self._dropped)
            self._dropped = 0
