"""What the upstream can take just now, read from the shared breakers and their limits."""

from __future__ import annotations

import asyncio

from redis.exceptions import RedisError

from antrean.orders.model import StoreUnavailable
from antrean.provider.breaker import SharedBreaker
from antrean.provider.policy import BreakerState
from antrean.workers.dispatcher import Capacity


class BreakerCapacity:
    """Capacity by the breakers `provider` and `adapter`: nothing while open, the trials while half-open."""

    def __init__(self, provider: SharedBreaker, adapter: SharedBreaker) -> None:
        self._provider = provider
        self._adapter = adapter

    async def capacity(self) -> Capacity:
        """Raises StoreUnavailable: Redis away counts as open."""
        try:
            (provider, trial), (adapter, adapter_trial) = await asyncio.gather(
                _room(self._provider), _room(self._adapter)
            )
        except (RedisError, OSError) as error:
            raise StoreUnavailable("the breakers cannot be read") from error
        return Capacity(provider, adapter, trial, adapter_trial)


async def _room(breaker: SharedBreaker) -> tuple[int, bool]:
    status, limit = await breaker.look()
    if status.state is BreakerState.OPEN or limit.not_before is not None:
        return 0, False
    if status.state is BreakerState.HALF_OPEN:
        return breaker.rules.half_open_permits, True
    return limit.limit, False
