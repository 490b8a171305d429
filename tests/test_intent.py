"""The note that a call is about to leave: with its permit where that is granted, before the call in any case, once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.orders import intent as intents
from antrean.orders.commit import Durability
from antrean.orders.fulfil import Fulfiller
from antrean.orders.intent import Intent
from antrean.orders.model import ClaimLost, Order, StoreUnavailable
from antrean.orders.states import State
from antrean.orders.turn_ends import Outcome
from antrean.provider.errors import Unavailable
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.provider.policy import BreakerState
from antrean.provider.protocol import CallMeter, Generated, GenerateRequest
from antrean.provider.resilience import ResilientProvider
from orders_support import World
from provider_support import Clock, make_breaker
from upstream_model import UpstreamModel, verify

PERMITS = "test:permits"


class Written:
    """Counts the steps that the store was asked for."""

    def __init__(self, world: World, step: str) -> None:
        self.count = 0
        real: Callable[..., Any] = getattr(world.store, step)

        async def counted(*args: Any) -> Any:
            self.count += 1
            return await real(*args)

        setattr(world.store, step, counted)


async def claimed(world: World) -> tuple[Order, Intent]:
    """An order in a worker's hands, and the intent of its turn."""
    order = await world.submit()
    claim = await world.store.claim(order.id, "w1", "claim")
    assert claim is not None
    ops = iter(f"op{n}" for n in range(100))
    return order, Intent(world.store, claim.order, lambda: next(ops), State.BUYING, "asking", lambda: 1)


async def test_with_its_permit_it_is_noted_once_and_at_once(world: World) -> None:
    order, intent = await claimed(world)
    begun = Written(world, "begin")
    await world.redis.zadd(PERMITS, {"p": 1})
    intent.with_permit(PERMITS, "p")
    assert not intent.sent
    await intent.before_send()
    assert (intent.sent, begun.count) == (True, 1)
    assert (await world.order(order.id)).state is State.BUYING


async def test_without_the_permit_nothing_is_noted_until_there_is_one(world: World) -> None:
    order, intent = await claimed(world)
    before = await world.order(order.id)
    intent.with_permit(PERMITS, "refused")
    assert intent._early is not None
    assert await intent._early[0] is False
    assert await world.order(order.id) == before
    await intent.before_send()
    assert (await world.order(order.id)).state is State.BUYING


async def test_a_note_that_became_old_while_it_waited_is_made_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order, intent = await claimed(world)
    begun = Written(world, "begin")
    await world.redis.zadd(PERMITS, {"p": 1})
    intent.with_permit(PERMITS, "p")
    now = intents._clocks()
    monkeypatch.setattr(intents, "_clocks", lambda: tuple(at + intents.INTENT_MAX_S + 1 for at in now))
    await intent.before_send()
    assert (intent.sent, begun.count) == (True, 2)
    assert (await world.order(order.id)).state is State.BUYING


async def test_one_whose_claim_is_lost_lets_nothing_leave(world: World) -> None:
    order, intent = await claimed(world)
    await world.store.cancel(order.id)
    await world.redis.zadd(PERMITS, {"p": 1})
    intent.with_permit(PERMITS, "p")
    with pytest.raises(ClaimLost):
        await intent.before_send()
    assert not intent.sent


async def test_where_the_disk_is_waited_for_it_is_noted_with_the_permit_in_hand_only(world: World) -> None:
    """WAITAOF keeps the whole connection waiting, also for a permit that is not granted."""
    _, intent = await claimed(world)
    begun = Written(world, "begin")
    world.store.sync_by(Durability(waitaof=True))
    intent.with_permit(PERMITS, "p")
    await asyncio.sleep(0)
    assert begun.count == 0
    await intent.before_send()
    assert begun.count == 1


async def test_one_that_was_long_on_its_way_is_not_acted_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process was stopped meanwhile: the sweeper may have given the order away."""
    _, intent = await claimed(world)
    begin = world.store.begin

    async def slow(*args: Any) -> bool:
        noted = await begin(*args)
        now = intents._clocks()
        monkeypatch.setattr(intents, "_clocks", lambda: tuple(at + intents.INTENT_MAX_S + 1 for at in now))
        return noted

    monkeypatch.setattr(world.store, "begin", slow)
    with pytest.raises(ClaimLost):
        await intent.before_send()
    assert not intent.sent


async def test_a_repetition_in_the_same_permit_is_noted_for_itself(world: World) -> None:
    """After code 01 the call leaves a second time."""
    _, intent = await claimed(world)
    begun = Written(world, "begin")
    await world.redis.zadd(PERMITS, {"p": 1})
    intent.with_permit(PERMITS, "p")
    await intent.before_send()
    await intent.before_send()
    assert begun.count == 2


async def test_where_calls_begin_in_turn_nothing_is_noted_before_the_turn(redis: Redis) -> None:
    breaker = make_breaker(redis, Clock())
    told: list[str] = []
    for outcome in (None, Unavailable("too busy", sent=True), None):
        permit = await breaker.admit(asked=lambda _permits, name: told.append(name))
        assert permit is not None
        await breaker.settle(permit, outcome, 0.2)
    assert len(told) == 2


class Adapter:
    """Sells from the model. `ready`: whether a token is in memory."""

    def __init__(self, upstream: UpstreamModel, ready: bool) -> None:
        self._upstream = upstream
        self._ready = ready

    def token_ready(self) -> bool:
        return self._ready

    async def generate(self, request: GenerateRequest, meter: CallMeter) -> Generated:
        if not self._ready:
            raise Unavailable("the login fails")
        return await self._upstream.generate(request, meter)

    async def aclose(self) -> None:
        """Nothing is open."""


def guarded(world: World, redis: Redis, ready: bool = True) -> ResilientProvider:
    """The model behind a breaker, and a limit of one call in flight."""
    limits = LimitRules(PaceBounds(limit_max=1, start=1))
    breakers = [make_breaker(redis, Clock(), name=name, limits=limits) for name in ("provider", "adapter")]
    return ResilientProvider(Adapter(world.upstream, ready), *breakers, slot_wait_s=10)  # type: ignore[arg-type]


async def test_one_that_waits_for_a_slot_is_noted_when_it_has_one(world: World, redis: Redis) -> None:
    worker = Fulfiller(world.store, guarded(world, redis), world.documents, verify, "w1")
    answering, free = asyncio.Event(), asyncio.Event()

    async def hold(_: str) -> None:
        answering.set()
        await free.wait()

    world.upstream.before_answer = hold
    first, second = [await world.submit() for _ in range(2)]
    begun = Written(world, "begin")
    turns = [asyncio.create_task(worker.run(first.id))]
    await answering.wait()
    turns.append(asyncio.create_task(worker.run(second.id)))
    while begun.count < 4:  # it has asked again and again
        await asyncio.sleep(0.01)
    assert (await world.order(second.id)).state is State.QUEUED
    assert len((await world.order(second.id)).history) == len(second.history)
    world.upstream.before_answer = None
    free.set()
    assert await asyncio.gather(*turns) == [Outcome.COMPLETED] * 2
    assert len(world.upstream.sold) == 2


@pytest.mark.parametrize("why", ["open", "no token"])
async def test_one_that_can_not_leave_is_not_noted(world: World, redis: Redis, why: str) -> None:
    provider = guarded(world, redis, ready=why == "open")
    if why == "open":
        await provider._provider.override(BreakerState.OPEN, "away", "ops", 60)
    worker = Fulfiller(world.store, provider, world.documents, verify, "w1")
    order = await world.submit()
    assert await worker.run(order.id) is Outcome.RELEASED
    after = await world.order(order.id)
    assert after.state is State.QUEUED
    assert not [entry for entry in after.history if entry.state is State.BUYING]


# ---- the last write of a purchase, which leaves with the one before it


@pytest.mark.parametrize("lost", ["nothing", "the first answer", "both answers"])
async def test_a_purchase_ends_once_whichever_answer_is_lost(
    world: World, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await world.submit()
    for step in ("bought", "complete")[: {"nothing": 0, "the first answer": 1, "both answers": 2}[lost]]:
        _lose_one_answer(world, step, monkeypatch)
    assert await world.worker().run(order.id) is Outcome.COMPLETED
    after = await world.order(order.id)
    assert (after.state, after.calls, len(world.upstream.sold)) == (State.COMPLETED, 1, 1)
    assert [entry.state for entry in after.history].count(State.COMPLETED) == 1
    await world.assert_books_balance()


async def test_a_purchase_whose_sn_is_another_order_s_is_not_ended(world: World) -> None:
    await world.worker().run((await world.submit()).id)
    world.upstream.faults["generate"] = ["foreign"]
    order = await world.submit()
    assert await world.worker().run(order.id) is Outcome.UNKNOWN
    assert (await world.order(order.id)).state is State.UNKNOWN


def _lose_one_answer(world: World, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real: Callable[..., Any] = getattr(world.store, step)
    told = iter([False])

    async def losing(*args: Any) -> Any:
        answer = await real(*args)
        if not next(told, True):
            raise StoreUnavailable("the answer was lost")
        return answer

    monkeypatch.setattr(world.store, step, losing)
