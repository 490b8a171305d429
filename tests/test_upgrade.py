"""Orders that an earlier version left behind are read and finished by this one; none is lost, none bought twice."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

import layout
from antrean.orders.states import State
from antrean.orders.turn_ends import Outcome
from orders_support import SETTLE_S, World, new_order
from upstream_model import Sold


@pytest.mark.parametrize("name", sorted(path.stem for path in layout.FOLDER.glob("*.json")))
async def test_what_an_earlier_version_wrote_is_finished(redis: Redis, name: str) -> None:
    notes = await layout.load(redis, name)
    ids = notes["orders"]
    world = World(redis, now_ms=notes["now_ms"])
    world.upstream.sold = [Sold(serial, file, stamped) for serial, file, stamped in notes["sold"]]
    world.documents.kept.update({key: layout.raw(value) for key, value in notes["documents"].items()})
    expected = {"stamped": "completed"}
    for state, order_id in ids.items():
        assert (await world.order(order_id)).state == expected.get(state, state)
    await world.assert_books_balance()

    # A terminal that repeats itself gets its old order.
    deadline_ms = (await world.order(ids["queued"])).deadline_ms
    again, replayed, *_ = await world.store.submit(
        new_order(idempotency_key="queued", deadline_ms=deadline_ms)
    )
    assert (again.id, replayed) == (ids["queued"], True)

    # Its worker is gone: what it was buying is asked about, not bought again.
    world.now_ms += 60_000
    await world.beat("new")
    await world.sweep()
    assert (await world.order(ids["buying"])).state is State.UNKNOWN
    await world.resolver.run_once()
    world.now_ms += int(SETTLE_S * 1000) + 1000
    await world.beat("new")
    await world.resolver.run_once()
    await world.store.replay(ids["attention"], "auto", "ops: looked at it")
    await world.resolver.run_once()

    worker = world.worker("new")
    for _ in range(3):
        for order_id in ids.values():
            if not (order := await world.order(order_id)).terminal:
                assert await worker.run(order_id) in (Outcome.COMPLETED, Outcome.BOUGHT), order.state
    ends = {state: (await world.order(order_id)) for state, order_id in ids.items()}
    assert {order.state for order in ends.values()} == {State.COMPLETED}
    serials = [order.serial_number for order in ends.values()]
    assert len(set(serials)) == len(serials) == len(world.upstream.sold)
    await world.assert_books_balance()
    assert (await world.totals())["held"] == 0
