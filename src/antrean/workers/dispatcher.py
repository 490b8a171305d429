"""Decides who is next and hands that many to RQ as can be taken up soon: what waits in RQ cannot be re-ordered."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from redis.exceptions import RedisError
from rq import Queue

from antrean.orders import fairness
from antrean.orders.holding import BALANCE, QUOTA
from antrean.orders.model import StoreUnavailable
from antrean.orders.score import minutes_until
from antrean.orders.situation import Situation
from antrean.orders.store import OrderStore
from antrean.workers.jobs import job_for
from antrean.workers.prober import QuotaTrial

log = structlog.get_logger(__name__)

#: Beyond the calls that may be in flight, this share of them is kept ready, so that no slot waits for us: the more the
#: quicker the answers are, since our own part of a turn takes as long whatever they take.
READY_SHARE = 0.5
READY_SHARE_MAX = 1.0
READY_S = 0.05
READY_MIN = 2
#: With more offices than this in line a plan serves for several steps: so many times the orders that have room just
#: now. A look at 4,800 offices keeps the server busy for 16 ms, measured.
MANY_OFFICES = 200
PLAN_AHEAD = 8


@dataclass(frozen=True, slots=True)
class Room:
    """What one upstream can take.

    `calls`: that may be in flight now; 0: nothing may be sent. `trial`: half-open, exactly that many. `broken`: the
    breaker is not closed, which is more than being asked to wait for a moment. `call_s`: the round trip of a call
    without load, in seconds; 0: not known.
    """

    calls: int
    trial: bool = False
    broken: bool = False
    call_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Capacity:
    """The room at the provider and at the signing adapter."""

    provider: Room
    adapter: Room


class CapacitySource(Protocol):
    """Who knows what the upstream can take."""

    async def capacity(self) -> Capacity:
        """Raises ProviderError where that cannot be known; nothing is dispatched then."""
        ...


def with_ready(limit: int, call_s: float = 0.0) -> int:
    """Orders under way that keep `limit` calls of `call_s` seconds in flight: before and after its call a turn has
    other work, of about READY_S seconds (Little's law). `call_s` 0: not known. Pure."""
    share = READY_S / call_s if call_s > 0 else 0.0
    return _and_share(limit, min(max(share, READY_SHARE), READY_SHARE_MAX))


def most_turns(limit_max: int) -> int:
    """The most that `with_ready` answers up to this limit. Pure."""
    return _and_share(limit_max, READY_SHARE_MAX)


def _and_share(limit: int, share: float) -> int:
    return limit + max(READY_MIN, int(limit * share))


def _target(room: Room) -> int:
    if room.calls <= 0:
        return 0
    return room.calls if room.trial else with_ready(room.calls, room.call_s)


def shared_lanes(s: Situation, capacity: Capacity, trial: bool) -> tuple[list[tuple[str, int]], int]:
    """What to take from the lanes that no office owns: pictures of what is bought, stamps; and how many purchases may
    follow. `trial`: one may try although the quota is said to be used up. Pure."""
    take: list[tuple[str, int]] = []
    if "paused" in s.holds:
        return take, 0
    to_stamp = min(s.stamp, _target(capacity.adapter) - s.stamping)
    if to_stamp > 0:
        take.append(("trial:stamp" if capacity.adapter.trial else "stamp", to_stamp))
    slots = _target(capacity.provider) - s.buying
    to_fetch = min(s.fetch, slots)
    if to_fetch > 0:
        take.append(("trial:fetch" if capacity.provider.trial else "fetch", to_fetch))
        slots -= to_fetch
    if BALANCE in s.holds:
        return take, 0
    if QUOTA in s.holds:
        slots = min(slots, 1) if trial and not s.buying else 0
    return take, max(slots, 0)


def offices_plan(s: Situation, slots: int) -> fairness.Plan:
    """Whose purchases are next. Pure."""
    lanes = {
        office: fairness.Lane(lane.waiting, minutes_until(lane.head_score, s.now_ms))
        for office, lane in s.offices.items()
    }
    return fairness.plan(lanes, s.weights, dict(s.fairness), slots)


class Dispatcher:
    """One step looks, plans, takes from the lanes and enqueues.

    A look at all offices and a plan over them cost in proportion to these. With many in line a plan is made for more
    orders than have room, and the next steps take from it. All that was planned has its turn, since the state of
    fairness has moved on past it; an urgent order that comes meanwhile waits for no more than that.
    """

    def __init__(
        self,
        store: OrderStore,
        source: CapacitySource,
        enqueue: Callable[[list[str]], Awaitable[None]],
        trial: QuotaTrial | None = None,
    ) -> None:
        self._store = store
        self._source = source
        self._enqueue = enqueue
        self._trial = trial or QuotaTrial()
        self._many = False
        #: Offices whose turn it is, the next one first.
        self._planned: deque[str] = deque()

    async def run_once(self) -> bool:
        """One step; True where something was dispatched. Raises StoreUnavailable, ProviderError."""
        situation = await self._store.situation(offices=not self._many)
        if not (self._many or situation.offices or situation.stamp or situation.fetch):
            return False
        take, slots = shared_lanes(situation, await self._source.capacity(), self._trial.granted)
        state: dict[str, str] | None = None
        if len(self._planned) < slots:
            state = await self._plan(situation, slots)
        turns = Counter(self._planned.popleft() for _ in range(min(slots, len(self._planned))))
        take += [(f"buy:{office}", count) for office, count in turns.items()]
        if turns:
            self._trial.granted = False
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

    async def _plan(self, situation: Situation, slots: int) -> dict[str, str]:
        """Plan for what is not planned yet; answers the new state of fairness."""
        if self._many:
            situation = await self._store.situation()
        self._many = len(situation.offices) > MANY_OFFICES
        wanted = slots * (PLAN_AHEAD if self._many else 1) - len(self._planned)
        plan = offices_plan(situation, wanted)
        self._planned.extend(office for office, count in plan.take for _ in range(count))
        return plan.state


def enqueuer(queue: Queue) -> Callable[[list[str]], Awaitable[None]]:
    """Puts a turn of each order on the RQ queue, in that order, in one write."""

    def enqueue(order_ids: list[str]) -> None:
        with queue.connection.pipeline(transaction=False) as pipe:
            queue.enqueue_many([job_for(order_id) for order_id in order_ids], pipeline=pipe)
            pipe.execute()

    return lambda order_ids: asyncio.to_thread(enqueue, order_ids)
