"""What many ask for at once is looked up once, and never shown older than it may be."""

from __future__ import annotations

import asyncio

from antrean.gateway.cached import Cached


async def test_those_who_ask_at_once_share_a_look_and_a_look_begun_before_a_change_is_not_shown_after_it() -> (
    None
):
    begun: list[asyncio.Future[str]] = []

    async def load() -> str:
        begun.append(asyncio.get_running_loop().create_future())
        return await begun[-1]

    cached = Cached(load, ttl_s=60)
    early = [asyncio.create_task(cached.get()) for _ in range(3)]
    await asyncio.sleep(0)
    cached.forget()
    late = asyncio.create_task(cached.get())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(begun) == 2
    begun[1].set_result("after")
    assert await late == "after"
    begun[0].set_result("before")
    assert [await task for task in early] == ["before"] * 3
    assert await cached.get() == "after"
    assert len(begun) == 2
