"""An outage and the recovery from it, with real worker processes and an upstream that counts every call."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from stack import Stack, purchase, running_stack

PROBE_S = 1.0
#: Seconds that generate takes at the upstream of the steps; the more, the more calls in flight one rate needs.
ANSWER_S = 0.5
#: Share of each step's capacity that must be in use ten seconds after it, on a machine that does nothing else.
USED_LEAST = 0.9


async def state_of(stack: Stack, breaker: str = "provider") -> str:
    shown: str = (await stack.ops.get("/v1/ops/breaker")).json()["breakers"][breaker]["state"]
    return shown


async def calls(stack: Stack) -> tuple[int, int]:
    """Generates and all other calls that the upstream has counted."""
    total = (await stack.sim_state())["calls"]["total"]
    return total["generate"], sum(total.values()) - total["generate"]


async def completed(stack: Stack) -> int:
    count: int = (await stack.backlog())["by_state"].get("completed", 0)
    return count


async def held_attempts(stack: Stack) -> int:
    """Upstream calls made for all orders that wait."""
    rows = (await stack.http.get("/v1/orders?limit=500")).json()["orders"]
    return sum(row["attempts"] for row in rows if row["state"] == "queued")


async def test_four_workers_spend_nothing_on_an_outage_and_go_on_at_once_after_it() -> None:
    async with running_stack(workers=4, upstream_timeout_s="1") as stack:
        await asyncio.gather(*(stack.submit(purchase()) for _ in range(20)))
        await stack.all_completed()
        await stack.sim.put("/_sim/outage", json={"on": True, "mode": "hang"})

        async def opened() -> bool:
            await stack.submit(purchase())
            return await state_of(stack) == "open"

        await stack.until(opened)
        await asyncio.gather(*(stack.submit(purchase()) for _ in range(100)))

        async def nothing_in_hand() -> bool:
            return bool((await stack.backlog())["claimed"] == 0)

        await stack.until(nothing_in_hand)
        (generates, free), attempts, since = await calls(stack), await held_attempts(stack), time.monotonic()

        async def six_probes() -> bool:
            return (await calls(stack))[1] >= free + 6

        await stack.until(six_probes)
        (generates_after, free_after), took_s = await calls(stack), time.monotonic() - since
        assert generates_after == generates
        assert free_after - free <= took_s / PROBE_S + 1
        assert await held_attempts(stack) == attempts
        by_state = (await stack.backlog())["by_state"]
        assert by_state["queued"] >= 100
        assert by_state["attention"] == by_state["rejected"] == 0

        before = await completed(stack)
        await stack.sim.delete("/_sim/outage")
        lifted = time.monotonic()
        while await completed(stack) == before:
            assert time.monotonic() - lifted <= PROBE_S + 1
            await asyncio.sleep(0.02)
        await stack.all_completed()
        await stack.assert_books_agree()


@pytest.mark.long
async def test_a_capacity_that_comes_back_in_steps_is_used_and_never_pushed_until_it_falls_over() -> None:
    """20, 50, 100 orders a second; a fifth more in a second and nothing is answered for a while.

    One call more is a tenth of the first step: with much less, a single call would be the fifth too many.
    """
    async with running_stack(workers=2) as stack:
        await stack.fault("slow", ["generate"], delay_s=ANSWER_S)
        await stack.ops.put("/v1/ops/pause", json={"reason": "the line is filled"})
        room = asyncio.Semaphore(50)

        async def submit() -> None:
            async with room:
                await stack.submit(purchase())

        await asyncio.gather(*(submit() for _ in range(2400)))
        fault: dict[str, Any] = {}
        used = {}
        for per_s in (20, 50, 100):
            if fault:
                await stack.sim.delete(f"/_sim/faults/{fault['id']}")
            body = {"kind": "capacity", "scope": ["generate"], "per_s": per_s, "collapse": True}
            fault = (await stack.sim.post("/_sim/faults", json=body)).json()
            if per_s == 20:
                await stack.ops.delete("/v1/ops/pause")
            counts = []
            for _ in range(13):
                counts.append(await completed(stack))
                await asyncio.sleep(1)
            # From the tenth second on.
            used[per_s] = (counts[12] - counts[9]) / 3 / per_s
            assert await state_of(stack) == "closed", used
        assert min(used.values()) >= USED_LEAST, used


async def test_flapping_errors_and_slowness_cost_nothing_but_time() -> None:
    async with running_stack(workers=2) as stack:
        for _ in range(4):
            await stack.sim.put("/_sim/outage", json={"on": True, "mode": "down"})
            await asyncio.gather(*(stack.submit(purchase()) for _ in range(15)))
            await asyncio.sleep(1.2)
            await stack.sim.delete("/_sim/outage")
            await asyncio.sleep(0.8)
        await stack.fault("error", ["generate"], rate=0.5, status=503)
        await asyncio.gather(*(stack.submit(purchase()) for _ in range(30)))
        await asyncio.sleep(3)
        await stack.no_faults()
        await stack.fault("slow", ["generate"], delay_s=0.05)
        await asyncio.gather(*(stack.submit(purchase()) for _ in range(30)))
        await stack.no_faults()
        await stack.fault("slow", ["generate"], delay_s=0.5)
        await asyncio.gather(*(stack.submit(purchase()) for _ in range(30)))
        await asyncio.sleep(3)
        await stack.no_faults()
        await stack.all_completed(60)
        await stack.assert_books_agree()
        assert await state_of(stack) == "closed"
        sim = await stack.sim_state()
        assert sim["calls"]["total"]["generate"] > len(stack.accepted)
