"""Group commit: one write for many, durable before the answer, and a lost answer is never taken for a yes or a no."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from antrean.orders import keys
from antrean.orders.commit import BATCH_MAX, ON_THE_WAY_MAX, Durability, GroupCommit
from antrean.orders.layout import READS, NewerLayout
from antrean.orders.model import StoreUnavailable
from antrean.orders.scripts import Scripts
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from orders_support import VAULT, World, new_order

pytestmark = pytest.mark.usefixtures("noted")

WAITAOF = Durability(waitaof=True)


class Counting(Scripts):
    """Counts the writes and the size of each; may lose the answer of one, or answer WAITAOF with other counts."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.sizes: list[int] = []
        self.synced = 0
        self.lose_next = False
        self.break_next = False
        self.waitaof: list[int] | None = None

    async def run(self, name: str, *args: Any) -> Any:
        answer = await super().run(name, *args)
        if self.lose_next:
            self.lose_next = False
            raise RedisConnectionError("answer lost")
        return answer

    async def run_many(self, name: str, calls: Any, *tail: Any) -> list[Any]:
        if self.break_next:
            self.break_next = False
            raise TypeError("a fault of ours")
        answers = await super().run_many(name, calls, *tail)
        self.sizes.append(len(calls))
        self.synced += len(calls) if tail else 0
        if self.lose_next:
            self.lose_next = False
            raise RedisConnectionError("answer lost")
        if tail and self.waitaof is not None:
            answers[-1] = self.waitaof
        return answers


def store_with(redis: Redis, durability: Durability | None = None) -> tuple[OrderStore, Counting]:
    scripts = Counting(redis)
    world = World(redis)
    return OrderStore(scripts, GroupCommit(scripts, "submit", durability), world.limits, vault=VAULT), scripts


async def test_what_arrives_together_is_written_together(redis: Redis) -> None:
    store, scripts = store_with(redis, WAITAOF)
    await store.submit(new_order())
    scripts.sizes.clear()
    await asyncio.gather(*(store.submit(new_order()) for _ in range(300)))
    assert sum(scripts.sizes) == 300
    assert len(scripts.sizes) <= 5
    assert max(scripts.sizes) <= BATCH_MAX


@pytest.mark.parametrize("durability", [Durability(), WAITAOF])
async def test_a_lost_answer_is_neither_yes_nor_no_and_the_same_key_finds_the_order(
    redis: Redis, durability: Durability
) -> None:
    store, scripts = store_with(redis, durability)
    await store.submit(new_order())
    scripts.lose_next = True
    new = new_order(idempotency_key="once")
    with pytest.raises(StoreUnavailable):
        await store.submit(new)
    order, replayed, _ = await store.submit(new)
    assert replayed
    assert await redis.zcard(keys.INDEX_ALL) == 2
    assert (await store.get(order.id)) == order


async def test_a_fault_of_ours_leaves_nobody_waiting(redis: Redis) -> None:
    store, scripts = store_with(redis, WAITAOF)
    scripts.break_next = True
    with pytest.raises(StoreUnavailable, match="TypeError"):
        await asyncio.wait_for(store.submit(new_order()), 5)
    await store.submit(new_order())


@pytest.mark.parametrize("durability", [Durability(), WAITAOF])
async def test_why_the_server_refuses_is_told_to_all_however_their_orders_went(
    redis: Redis, durability: Durability
) -> None:
    store, _ = store_with(redis, durability)
    await redis.set(keys.LAYOUT, READS + 1)
    orders = (store.submit(new_order()) for _ in range(ON_THE_WAY_MAX + 2))
    done = await asyncio.gather(*orders, return_exceptions=True)
    assert {type(d) for d in done} == {NewerLayout}


async def test_waitaof_that_does_not_confirm_is_not_accepted(redis: Redis) -> None:
    store, scripts = store_with(redis, WAITAOF)
    await store.submit(new_order())
    for counts in ([0, 0], [0, 1]):
        scripts.waitaof = counts
        with pytest.raises(StoreUnavailable, match="not confirmed"):
            await store.submit(new_order())


async def test_replicas_that_are_asked_for_must_have_it_too(redis: Redis) -> None:
    store, _ = store_with(redis, Durability(replicas=1, timeout_ms=50))
    with pytest.raises(StoreUnavailable, match="not confirmed"):
        await store.submit(new_order())


@pytest.mark.parametrize("durability", [Durability(), WAITAOF])
async def test_one_caller_that_goes_away_does_not_take_the_others_along(
    redis: Redis, durability: Durability
) -> None:
    store, _ = store_with(redis, durability)
    tasks = [asyncio.create_task(store.submit(new_order())) for _ in range(20)]
    await asyncio.sleep(0)
    tasks[3].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert sum(isinstance(d, tuple) for d in done) == 19


@pytest.mark.parametrize("durability", [Durability(), WAITAOF])
async def test_of_a_caller_that_goes_away_before_its_order_leaves_nothing_is_written(
    redis: Redis, durability: Durability
) -> None:
    store, _ = store_with(redis, durability)
    many = ON_THE_WAY_MAX + BATCH_MAX + 1
    tasks = [asyncio.create_task(store.submit(new_order())) for _ in range(many)]
    await asyncio.sleep(0)
    tasks[-1].cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(d) for d in done if isinstance(d, BaseException)] == [asyncio.CancelledError]
    assert await redis.zcard(keys.INDEX_ALL) == many - 1


@pytest.mark.parametrize(("before", "after"), [(WAITAOF, Durability()), (Durability(), WAITAOF)])
async def test_those_who_wait_while_the_server_s_way_to_sync_changes_are_accepted_by_the_new_one(
    redis: Redis, before: Durability, after: Durability
) -> None:
    store, scripts = store_with(redis, before)
    many = ON_THE_WAY_MAX + 50
    tasks = [asyncio.create_task(store.submit(new_order())) for _ in range(many)]
    await asyncio.sleep(0)
    store.sync_by(after)
    done = await asyncio.gather(*tasks, return_exceptions=True)
    assert [d for d in done if isinstance(d, BaseException)] == []
    # Those that had left were synced as before; those that had not, as is right now.
    assert scripts.synced == (many - ON_THE_WAY_MAX if after is WAITAOF else 0)


@pytest.mark.parametrize("durability", [Durability(), WAITAOF])
async def test_too_many_waiting_are_refused_at_once(redis: Redis, durability: Durability) -> None:
    scripts = Scripts(redis)
    commit = GroupCommit(scripts, "submit", durability, waiting_max=5)
    store = OrderStore(scripts, commit, World(redis).limits, vault=VAULT)
    done = await asyncio.gather(*(store.submit(new_order()) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(d, StoreUnavailable) for d in done) == 5


async def test_what_is_repeated_on_another_connection_is_written_anew_so_that_its_answer_waits_for_the_disk(
    redis: Redis,
) -> None:
    """WAITAOF knows what its own connection has written, and of a new one nothing."""
    world = World(redis)
    await world.beat("w1")
    new = new_order()
    order = (await world.store.submit(new)).order
    claim = await world.store.claim(order.id, "w1", "op")
    assert claim is not None

    async def written() -> int:
        return int((await redis.info("persistence"))["rdb_changes_since_last_save"])

    for step in (
        lambda: world.store.submit(new),
        lambda: world.store.begin(claim.order, "op2", State.BUYING, "asking", 1),
        lambda: world.store.begin(claim.order, "op2", State.BUYING, "asking", 1),
    ):
        before = await written()
        await step()
        assert await written() > before
    assert (await redis.ttl((await redis.keys(f"{keys.IDEMPOTENCY}*"))[0])) > 0
