"""The times that were promised, and how they turned out: ranges given to some orders in line, kept until these end.

A sample of the line stands for all orders. Their real waits, as shares of the promised middle, make the next ranges
as wide as they must be (`eta.estimate`). Promises during which the line stopped are left out: stops are kept in
course.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum

import orjson
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.eta import Range
from antrean.orders.states import TERMINAL, State

#: Ratios of real wait to promised middle that are kept.
RATIOS_MAX = 200
#: Promises that are watched at one time.
OPEN_MAX = 150


class Turned(StrEnum):
    """How a promise turned out."""

    WITHIN = "within"
    EARLY = "early"
    LATE = "late"


@dataclass(frozen=True, slots=True)
class Promise:
    """A range given to one order; times in ms since the epoch. `held`: the line was held meanwhile."""

    made_ms: int
    earliest_ms: int
    latest_ms: int
    middle_s: float
    held: bool = False

    @classmethod
    def of(cls, span: Range, now_ms: int) -> Promise:
        """What `span` promises at `now_ms`."""
        earliest_ms, latest_ms = (now_ms + int(s * 1000) for s in (span.earliest_s, span.latest_s))
        return cls(now_ms, earliest_ms, latest_ms, span.middle_s)

    def turned(self, done_ms: int) -> Turned:
        """How it turned out for an order completed at `done_ms`."""
        if done_ms < self.earliest_ms:
            return Turned.EARLY
        return Turned.LATE if done_ms > self.latest_ms else Turned.WITHIN

    def ratio(self, done_ms: int) -> float:
        """The real wait as a share of the promised middle."""
        return max(done_ms - self.made_ms, 0) / 1000 / self.middle_s


class Promises:
    """The promises in Redis. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def open(self) -> dict[str, Promise]:
        """Those whose order has not ended yet, by order id."""
        raw = await asked(self._redis.hgetall(keys.PROMISES))
        return {order_id.decode(): Promise(**orjson.loads(kept)) for order_id, kept in raw.items()}

    async def keep(self, promises: dict[str, Promise]) -> None:
        """Keep them, new or changed."""
        if promises:
            pairs = [
                x for item in promises.items() for x in (item[0], orjson.dumps(asdict(item[1])).decode())
            ]
            await asked(self._redis.hset(keys.PROMISES, items=pairs))

    async def ended(self, order_ids: Sequence[str]) -> dict[str, tuple[State, int]]:
        """Of these orders, those that have come to their end, or are gone: the state, and when (ms)."""
        pipe = self._redis.pipeline(transaction=False)
        for order_id in order_ids:
            pipe.hmget(keys.ORDER + order_id, "state", "upd")
        found: dict[str, tuple[State, int]] = {}
        for order_id, (state, updated) in zip(order_ids, await asked(pipe.execute()), strict=True):
            if state is None:
                found[order_id] = (State.CANCELLED, 0)
            elif State(state.decode()) in TERMINAL:
                found[order_id] = (State(state.decode()), int(updated))
        return found

    async def close(self, order_id: str, turned: Turned | None, ratio: float | None) -> None:
        """Count how it turned out, and forget it. `turned` None: the order was not completed, so it says nothing."""
        pipe = self._redis.pipeline(transaction=True)
        pipe.hdel(keys.PROMISES, order_id)
        if turned is not None:
            pipe.hincrby(keys.PROMISES_KEPT, turned.value, 1)
        if ratio is not None:
            pipe.lpush(keys.PROMISE_RATIOS, f"{ratio:.4f}")
            pipe.ltrim(keys.PROMISE_RATIOS, 0, RATIOS_MAX - 1)
        await asked(pipe.execute())

    async def ratios(self) -> tuple[float, ...]:
        """Real waits by promised middle, of the last promises that were not interrupted."""
        return tuple(float(r) for r in await asked(self._redis.lrange(keys.PROMISE_RATIOS, 0, -1)))

    async def kept(self) -> dict[Turned, int]:
        """How many turned out in which way, since Redis' data began."""
        raw = await asked(self._redis.hgetall(keys.PROMISES_KEPT))
        return {turned: int(raw.get(turned.value.encode(), 0)) for turned in Turned}
