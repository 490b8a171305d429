"""Real processes killed and stopped in the middle: every 202 is there afterwards, bought once, and the books agree."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator

import psutil
import pytest
import pytest_asyncio
import redis as blocking_redis

import kill_point
from antrean.config.settings import Settings
from stack import Stack, purchase, running_stack

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def burst(stack: Stack, count: int, affixes: int = 0) -> list[asyncio.Task[dict[str, object]]]:
    """Submissions on their way."""
    bodies = [await stack.affix_body() for _ in range(affixes)]
    bodies += [purchase() for _ in range(count - affixes)]
    return [asyncio.create_task(stack.submit(body)) for body in bodies]


async def state_is(stack: Stack, state: str, least: int = 1) -> None:
    async def reached() -> bool:
        return bool((await stack.backlog())["by_state"].get(state, 0) >= least)

    await stack.until(reached)


async def test_a_worker_killed_at_each_named_point_buys_nothing_twice_and_loses_nothing() -> None:
    async with running_stack(workers=1) as stack:
        # Affixes that are bought and wait for their stamp, for the points of stamping.
        forced = "/v1/ops/breaker/adapter/override"
        await stack.ops.put(forced, json={"state": "open", "reason": "test", "expires_in_s": 300})
        to_stamp = [await stack.submit(await stack.affix_body()) for _ in kill_point.STAMP_STEPS * 2]
        await state_is(stack, "bought", len(to_stamp))
        worker = psutil.Process(stack.kill("worker", signal.SIGSTOP))
        await stack.ops.delete(forced)
        to_buy = [await stack.submit(purchase()) for _ in kill_point.PURCHASE_STEPS * 2]

        steps = (*kill_point.STAMP_STEPS, *kill_point.PURCHASE_STEPS)
        points = [f"{when}-{step}" for step in steps for when in ("before", "after")]
        turns = "".join(
            f"{order['id']} {point}\n" for order, point in zip([*to_stamp, *to_buy], points, strict=True)
        )
        deaths = await asyncio.create_subprocess_exec(
            sys.executable, kill_point.__file__, env=worker.environ(), stdin=asyncio.subprocess.PIPE
        )
        await asyncio.wait_for(deaths.communicate(turns.encode()), 120)
        assert deaths.returncode == 0
        worker.send_signal(signal.SIGCONT)
        await stack.all_completed(90)
        await stack.assert_books_agree()


async def test_a_stopped_worker_that_wakes_after_its_claims_are_gone_buys_nothing_twice() -> None:
    async with running_stack(workers=1) as stack:
        await stack.fault("slow", ["generate"], delay_s=0.5)
        await asyncio.gather(*await burst(stack, 20, affixes=4))
        await state_is(stack, "buying", 2)
        pid = stack.kill("worker", signal.SIGSTOP)
        await asyncio.sleep(8)  # longer than the lease of a worker's claims
        psutil.Process(pid).send_signal(signal.SIGCONT)
        await stack.no_faults()
        await stack.all_completed(90)
        await stack.assert_books_agree()


@pytest_asyncio.fixture(scope="module", loop_scope="module", name="stack")
async def _stack() -> AsyncIterator[Stack]:
    """One stack for the tests after this: each ends with all completed and the books right.

    The drain that is to be disturbed comes first, while the limit of calls in flight is still low.
    """
    async with running_stack() as running:
        yield running


async def test_rq_s_keys_deleted_in_the_middle_of_a_drain_stop_nothing(stack: Stack) -> None:
    await stack.fault("slow", ["generate"], delay_s=0.2)
    await asyncio.gather(*await burst(stack, 60))
    url = Settings(_env_file=None, data_dir=stack.folder / "data").effective_redis_url
    client = blocking_redis.Redis.from_url(url, protocol=2)
    deleted = 0
    for _ in range(5):
        await asyncio.sleep(0.2)
        for key in client.scan_iter("rq:*"):
            deleted += client.delete(key)
    client.close()
    assert deleted > 0
    await stack.no_faults()
    await stack.all_completed(90)
    await stack.assert_books_agree()


async def test_workers_killed_while_buying_and_while_stamping_buy_nothing_twice(stack: Stack) -> None:
    before = len(stack.accepted)
    await stack.fault("slow", ["generate", "stamp"], delay_s=0.7)
    for number, state in enumerate(("buying", "stamping", "buying")):
        await asyncio.gather(*await burst(stack, 12, affixes=6))
        await state_is(stack, state)
        old = {c.pid for c in stack.children("worker")}
        for pid in old if number == 2 else list(old)[:1]:
            psutil.Process(pid).kill()
        await stack.until(lambda old=old: _replaced(stack, old))  # type: ignore[misc]
    await stack.no_faults()
    await stack.all_completed(90)
    await stack.assert_books_agree()
    assert len(stack.accepted) == before + 36


async def _replaced(stack: Stack, old: set[int]) -> bool:
    now = {c.pid for c in stack.children("worker")}
    return len(now) == 2 and now != old


async def test_lost_and_late_answers_are_settled_and_nothing_is_bought_twice(stack: Stack) -> None:
    for kind, more, affixes in (("lost_answer", {}, 0), ("late_answer", {"delay_s": 5}, 4)):
        before = await stack.fault_hits(kind)
        await stack.fault(kind, ["generate"], rate=0.3, **more)
        await asyncio.gather(*await burst(stack, 30, affixes))
        await stack.until_hit(kind, before + 2)
        await stack.no_faults()
    await stack.all_completed(90)
    await stack.assert_books_agree()


async def test_gateway_and_valkey_killed_in_a_burst_lose_no_accepted_order(stack: Stack) -> None:
    before = len(stack.accepted)
    tasks = await burst(stack, 150, affixes=6)
    await asyncio.sleep(0.2)
    stack.kill("gateway")
    tasks += [asyncio.create_task(stack.submit(purchase())) for _ in range(150)]
    await asyncio.sleep(0.5)
    stack.kill("valkey")
    await asyncio.gather(*tasks)
    assert len(stack.accepted) == len(set(stack.accepted.values())) == before + 300
    await stack.all_completed(90)
    await stack.assert_books_agree()
