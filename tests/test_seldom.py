"""A trouble that lasts is said when it begins and when its reason changes, and then once a minute."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from antrean.orders.seldom import AGAIN_S, REASONS_MAX, Seldom
from antrean.provider.errors import Unavailable
from antrean.workers import keeper
from antrean.workers.keeper import Keeper, Loop
from orders_support import World

PATIENCE_S = 10


def test_a_reason_is_said_when_it_is_new_and_then_once_a_minute() -> None:
    now_s = 100.0
    trouble = Seldom(lambda: now_s)
    assert not trouble.over()
    said = []
    for why in ("away", "away", "refused", "away", "refused"):
        said.append(trouble.due(why))
        now_s += 1
    assert said == [True, False, True, False, False]
    now_s = 100.0 + AGAIN_S
    assert (trouble.due("away"), trouble.due("refused"), trouble.due("away")) == (True, False, False)


def test_once_it_is_over_the_next_is_said_at_once() -> None:
    trouble = Seldom(lambda: 1.0)
    assert trouble.due("away")
    assert (trouble.over(), trouble.over()) == (True, False)
    assert trouble.due("away")


def test_reasons_that_are_all_different_take_no_more_room_than_a_few() -> None:
    trouble = Seldom(lambda: 1.0)
    assert all(trouble.due(str(n)) for n in range(10 * REASONS_MAX))
    assert len(trouble._said_s) <= REASONS_MAX


async def test_a_step_that_waits_on_and_on_is_said_once_for_each_reason(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "AWAY_PAUSE_S", 0)
    stop = asyncio.Event()
    reasons = iter(["the upstream is not available"] * 5 + ["Redis refuses: NOREPLICAS"] * 5)

    async def step() -> bool:
        why = next(reasons, "")
        if not why:
            stop.set()
            await asyncio.Event().wait()
        raise Unavailable(why)

    with capture_logs() as lines:
        loops = [Loop("probe", step, 0, leader_only=False)]
        await asyncio.wait_for(Keeper(world.store, "w1", loops).run(stop), PATIENCE_S)
    waits = [line["why"] for line in lines if line["event"] == "step waits"]
    assert waits == ["the upstream is not available", "Redis refuses: NOREPLICAS"]
