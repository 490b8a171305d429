"""What the upstream can take just now, read from the shared breakers and their limits."""

from __future__ import annotations

import asyncio

from redis.exceptions import RedisError

from antrean.orders.model import StoreUnavailable
from antrean.provider.breaker import SharedBreaker
from antrean.provider.policy import BreakerState
from antrean.workers.dispatcher import Capacity, Room


class BreakerCapacity:
    """Capacity by the breakers `provider` and `adapter`: nothing while open, the trials while half-open."""

    def __init__(self, provider: SharedBreaker, adapter: SharedBreaker) -> None:
        self._provider = provider
        self._adapter = adapter

    async def capacity(self) -> Capacity:
        """Raises StoreUnavailable: Redis away counts as open."""
        try:
            provider, adapter = await asyncio.gather(_room(self._provider), _room(self._adapter))
        except (RedisError, OSError) as error:
            raise StoreUnavailable("the breakers cannot be read") from error
        return Capacity(provider, adapter)


async def _room(breaker: SharedBreaker) -> Room:
    status, limit = await breaker.look()
    trial, broken = status.state is BreakerState.HALF_OPEN, status.state is not BreakerState.CLOSED
    if status.state is BreakerState.OPEN or limit.not_before is not None:
        return Room(0, False, broken, limit.baseline_s)
    return Room(breaker.rules.half_open_permits if trial else limit.limit, trial, broken, limit.baseline_s)
