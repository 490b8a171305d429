"""A release leaves records of a layout that it does not know alone, and says what to do; nothing is lost by that."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from antrean.config.checkup import examine
from antrean.config.durability import Level
from antrean.config.settings import Settings
from antrean.orders import keys, layout
from antrean.orders.commit import GroupCommit
from antrean.orders.layout import NewerLayout
from antrean.orders.model import StoreUnavailable
from antrean.orders.scripts import Scripts
from antrean.orders.store import OrderStore
from antrean.orders.submitting import Limits
from layout import dump
from orders_support import VAULT, World, new_order
from stack import Stack, free_ports, purchase, running_stack

NEXT = str(Path(__file__).with_name("next_release.py"))
TOO_OLD = 3
LATER = str(layout.READS + 1)


async def test_no_script_touches_anything_in_a_database_of_a_newer_layout(redis: Redis) -> None:
    world = World(redis)
    waiting = await world.submit()
    await redis.set(keys.LAYOUT, layout.READS + 1)
    before = await dump(redis)
    worker = world.worker()
    for step in (
        world.store.claim(waiting.id, "w1", "op"),
        world.store.cancel(waiting.id),
        world.store.beat("w1"),
        world.store.situation(),
        world.store.found(waiting.id, "SN", "found"),
        world.sweep(),
    ):
        with pytest.raises(NewerLayout, match=f"layout {layout.READS + 1}.*Start the release that wrote it"):
            await step
    with pytest.raises(StoreUnavailable):
        await world.store.submit(new_order())
    with pytest.raises(StoreUnavailable):
        await worker.run(waiting.id)
    assert await dump(redis) == before
    assert world.upstream.sold == []


async def test_the_first_stored_record_raises_the_number_and_a_look_does_not(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    await World(redis).submit()
    assert await redis.get(keys.LAYOUT) == b"%d" % layout.WRITES
    from antrean.orders import scripts

    later = layout.WRITES + 1
    monkeypatch.setattr(layout, "READS", later + 1)
    monkeypatch.setattr(layout, "WRITES", later)
    monkeypatch.setattr(scripts, "SOURCES", scripts._sources())
    of_next = Scripts(redis)
    store = OrderStore(of_next, GroupCommit(of_next, "submit"), Limits(), vault=VAULT)
    await store.situation()
    assert await redis.get(keys.LAYOUT) == b"%d" % (later - 1)
    await store.submit(new_order())
    assert await redis.get(keys.LAYOUT) == b"%d" % later
    await redis.set(keys.LAYOUT, later + 1)
    await store.submit(new_order())
    assert await redis.get(keys.LAYOUT) == b"%d" % (later + 1)  # never lowered


async def test_doctor_tells_the_layout_and_fails_on_a_newer_one(redis: Redis, settings: Settings) -> None:
    async def finding() -> tuple[Level, str]:
        (found,) = [f for f in await examine(settings) if f.check == "layout of the data"]
        return found.level, f"{found.seen} {found.advice}"

    assert (await finding())[0] is Level.OK
    await redis.set(keys.LAYOUT, layout.READS + 1)
    level, words = await finding()
    assert level is Level.FAIL
    assert "Start the release that wrote it" in words


async def test_a_fleet_that_meets_a_newer_release_ends_with_a_clear_word_and_that_one_finishes_everything() -> (
    None
):
    async with running_stack(workers=1) as stack:
        await stack.ops.put("/v1/ops/pause", json={"reason": "a newer release comes"})
        await asyncio.gather(*(stack.submit(purchase()) for _ in range(20)))
        env = stack.children("worker")[0].environ()
        (port,) = free_ports(1)
        with (stack.folder / "next.log").open("ab") as log:
            later = [
                subprocess.Popen(
                    [sys.executable, NEXT, LATER, LATER, command],
                    env=env | {"ANTREAN_HTTP_PORT": str(port)},
                    stdout=log,
                    stderr=log,
                )
                for command in ("gateway", "worker")
            ]
        try:
            for client in (stack.http, stack.ops):
                client.base_url = httpx.URL(f"http://127.0.0.1:{port}")
            await stack.ready()
            # Side by side until the newer one stores its first record.
            assert await _ended(stack) == set()
            await stack.submit(purchase())

            async def all_ended() -> bool:
                return await _ended(stack) == {"gateway", "worker-1"}

            await stack.until(all_ended, 30)
            refused = _antrean(stack, env, "orders", "list")
            assert refused.returncode == TOO_OLD
            assert f"has layout {LATER}" in refused.stderr
            assert "restore a backup from before" in refused.stderr
            await stack.ops.delete("/v1/ops/pause")
            await stack.all_completed(60)
            await stack.assert_books_agree()
        finally:
            for process in later:
                process.terminate()
            for process in later:
                process.wait(30)
        assert stack.process is not None
        stack.process.terminate()
        await asyncio.to_thread(stack.process.wait, 60)
        up = _antrean(stack, stack.env, "up")
        assert up.returncode == TOO_OLD
        assert f"has layout {LATER}" in up.stderr


async def _ended(stack: Stack) -> set[str]:
    """Children of `up` that ended because they are too old."""
    told = [json.loads(line) for line in stack.log().splitlines() if line.startswith("{")]
    return {t["child"] for t in told if t["event"] == "child_died" and t["code"] == TOO_OLD}


def _antrean(stack: Stack, env: dict[str, str], *argv: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antrean", *argv]
    return subprocess.run(
        command, env=env, cwd=stack.folder, capture_output=True, text=True, timeout=60, check=False
    )
