"""Decides who is next and hands that many to RQ as can be taken up soon: what waits in RQ cannot be re-ordered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from redis.exceptions import RedisError
from rq import Queue

from antrean.orders import fairness
from antrean.orders.model import StoreUnavailable
from antrean.orders.score import minutes_until
from antrean.orders.situation import Situation
from antrean.orders.store import OrderStore
from antrean.workers.jobs import job_for

log = structlog.get_logger(__name__)

#: Beyond the calls that may be in flight, this share of them is kept ready, so that no slot waits for us.
READY_SHARE = 0.5
READY_MIN = 2


@dataclass(frozen=True, slots=True)
class Capacity:
    """Calls that may be in flight now; 0: nothing may be sent. `trial`: half-open, exactly that many."""

    provider: int
    adapter: int
    provider_trial: bool = False
    adapter_trial: bool = False


class CapacitySource(Protocol):
    """Who knows what the upstream can take."""

    async def capacity(self) -> Capacity:
        """Raises ProviderError where that cannot be known; nothing is dispatched then."""
        ...


def _target(limit: int, trial: bool) -> int:
    if limit <= 0:
        return 0
    return limit if trial else limit + max(READY_MIN, int(limit * READY_SHARE))


def lanes_plan(s: Situation, capacity: Capacity) -> tuple[list[tuple[str, int]], dict[str, str]]:
    """What to take from which lane: pictures of what is bought, stamps, then purchases by fairness. Pure."""
    take: list[tuple[str, int]] = []
    state = dict(s.fairness)
    if "paused" in s.holds:
        return take, state
    to_stamp = min(s.stamp, _target(capacity.adapter, capacity.adapter_trial) - s.stamp_load)
    if to_stamp > 0:
        take.append(("stamp", to_stamp))
    slots = _target(capacity.provider, capacity.provider_trial) - (s.dispatched + s.claimed - s.stamp_load)
    to_fetch = min(s.fetch, slots)
    if to_fetch > 0:
        take.append(("fetch", to_fetch))
        slots -= to_fetch
    if slots > 0 and s.offices and not ({"quota_exhausted", "balance_unexplained"} & s.holds.keys()):
        lanes = {
            office: fairness.Lane(lane.waiting, minutes_until(lane.head_score, s.now_ms))
            for office, lane in s.offices.items()
        }
        plan = fairness.plan(lanes, s.weights, state, slots)
        take.extend((f"buy:{office}", n) for office, n in plan.take)
        state = plan.state
    return take, state


class Dispatcher:
    """One step looks, plans, takes from the lanes and enqueues."""

    def __init__(
        self, store: OrderStore, source: CapacitySource, enqueue: Callable[[list[str]], Awaitable[None]]
    ) -> None:
        self._store = store
        self._source = source
        self._enqueue = enqueue

    async def run_once(self) -> bool:
        """One step; True where something was dispatched. Raises StoreUnavailable, ProviderError."""
        situation = await self._store.situation()
        if not (situation.offices or situation.stamp or situation.fetch):
            return False
        take, state = lanes_plan(situation, await self._source.capacity())
        if not take:
            return False
        order_ids = await self._store.dispatch(take, state)
        if not order_ids:
            return False
        try:
            await self._enqueue(order_ids)
        except (RedisError, OSError) as error:
            # The sweeper puts them back: they are dispatched and have no job.
            raise StoreUnavailable("RQ's queue cannot be written") from error
        log.debug("dispatched", orders=len(order_ids))
        return True


def enqueuer(queue: Queue) -> Callable[[list[str]], Awaitable[None]]:
    """Puts a turn of each order on the RQ queue, in that order, in one write."""

    def enqueue(order_ids: list[str]) -> None:
        with queue.connection.pipeline(transaction=False) as pipe:
            queue.enqueue_many([job_for(order_id) for order_id in order_ids], pipeline=pipe)
            pipe.execute()

    return lambda order_ids: asyncio.to_thread(enqueue, order_ids)
