"""Notices come at least once and not more often than needed, and an address that fails or is busy delays no other."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.notices import GIVE_UP_MS
from antrean.workers.webhooks import (
    APART_MS,
    BUSY_MS,
    CONCURRENCY_MAX,
    LEASE_MS,
    PER_ENDPOINT_MAX,
)
from receiver import Receiver
from webhook_support import Post, post_world, webhook_receiver  # noqa: F401 - fixtures

pytestmark = pytest.mark.usefixtures("noted")

HOUR_MS = 3600 * 1000


# ---- at least once, and not more often than needed


async def test_two_senders_share_the_work(world: Post, receiver: Receiver) -> None:
    for n in range(40):
        await world.cancelled(receiver.at("/"), office=f"O-{n}")
    other = world.another_sender()
    await asyncio.gather(world.sender.run_once(), other.run_once())
    await asyncio.gather(world.sender.drained(), other.drained())
    assert len(receiver.received) == len({r.id for r in receiver.received}) == 40
    await other.aclose()


async def test_a_sender_killed_between_sending_and_recording_sends_the_same_id_again(
    world: Post, receiver: Receiver, settings: Settings
) -> None:
    order = await world.cancelled(receiver.at("/"))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(Path(__file__).with_name("webhook_process.py")),
        settings.redis_url,
        str(world.now_ms),
    )

    async def kill() -> None:
        os.kill(process.pid, signal.SIGKILL)
        receiver.on_receive = None

    receiver.on_receive = kill
    assert await process.wait() == -signal.SIGKILL
    assert len(receiver.received) == 1
    await world.send()
    assert len(receiver.received) == 1  # still the dead one's, for the time of its lease
    world.now_ms += LEASE_MS + 1
    await world.send()
    first, again = receiver.received
    assert (first.id, first.body) == (again.id, again.body)
    assert again.event["data"]["order_id"] == order.id
    assert (await world.outbox.view()).pending == 0


async def test_many_notices_to_one_address_leave_room_for_others(world: Post, receiver: Receiver) -> None:
    release = asyncio.Event()
    receiver.on_receive = lambda: _wait(release)
    for _ in range(CONCURRENCY_MAX):
        await world.cancelled(receiver.at("/slow"))
    await world.sender.run_once()
    other = await world.cancelled(receiver.at("/other"), office="JKT-07")
    await world.sender.run_once()
    async with asyncio.timeout(5):
        while len(receiver.received) < PER_ENDPOINT_MAX + 1:
            await asyncio.sleep(0.01)
    assert other.id in {r.event["data"]["order_id"] for r in receiver.received}
    release.set()
    await world.sender.drained()
    while len(receiver.received) < CONCURRENCY_MAX + 1:
        world.now_ms += 10_000
        await world.send()
    assert (await world.outbox.view()).pending == 0


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def test_an_address_that_fails_gets_one_notice_at_a_time(world: Post, receiver: Receiver) -> None:
    receiver.always = 500
    for _ in range(3):
        await world.cancelled(receiver.at("/"))
    await world.send()
    assert len(receiver.received) == 3
    for _ in range(20):
        await world.cancelled(receiver.at("/"))
    await world.send()
    assert len(receiver.received) == 3
    world.now_ms += 10_000
    await world.send()
    assert len(receiver.received) == 4
    receiver.always = 204

    async def all_told() -> bool:
        return (await world.outbox.view()).pending == 0

    await world.send_until(all_told, 60_000)


async def test_a_long_queue_for_a_failing_address_is_not_read_all_the_time(
    world: Post, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, seconds, looks = 300, 5, 0
    receiver.always = 500
    for _ in range(waiting):
        await world.cancelled(receiver.at("/"))
    await world.send()
    world.now_ms += HOUR_MS
    release = asyncio.Event()
    receiver.on_receive = lambda: _wait(release)
    settle = world.outbox.settle

    async def counted(taken: Any, result: Any, **rest: Any) -> bool:
        nonlocal looks
        looks += result == "put_off"
        return await settle(taken, result, **rest)

    monkeypatch.setattr(world.outbox, "settle", counted)
    for _ in range(seconds):
        while await world.sender.run_once():
            pass
        world.now_ms += 1000
    assert looks <= waiting + seconds * 1000 / APART_MS
    release.set()


async def test_what_waits_for_others_at_an_address_does_not_wait_for_the_end_of_a_rest_that_ops_ended(
    world: Post, receiver: Receiver
) -> None:
    receiver.always = 500
    for _ in range(12):
        await world.cancelled(receiver.at("/"))
        world.now_ms += HOUR_MS
        await world.send()
    tried = len(receiver.received)
    resting = await world.cancelled(receiver.at("/"))
    await world.send()
    assert len(receiver.received) == tried
    assert await world.outbox.enable("MDN-01", receiver.url.removeprefix("http://"))
    receiver.always = 204
    release = asyncio.Event()
    receiver.on_receive = lambda: _wait(release)
    fresh = [await world.cancelled(receiver.at("/")) for _ in range(PER_ENDPOINT_MAX + 1)]
    await world.sender.run_once()
    release.set()
    await world.sender.drained()
    for _ in range(5):
        world.now_ms += BUSY_MS
        await world.send()
    told = {r.event["data"]["order_id"] for r in receiver.received[tried:]}
    assert {order.id for order in fresh} <= told
    assert resting.id not in told


async def test_a_notice_that_never_had_its_turn_at_a_failing_address_ends_after_48_hours_too(
    world: Post, receiver: Receiver
) -> None:
    receiver.always = 500
    for _ in range(60):
        await world.cancelled(receiver.at("/"))
    for _ in range(GIVE_UP_MS // HOUR_MS + 2):
        world.now_ms += HOUR_MS
        await world.send()
    view = await world.outbox.view()
    assert (view.pending, view.given_up) == (0, 60)
    assert all("status 500" in n.why for n, _ in view.dead)


async def test_a_notice_that_was_dropped_meanwhile_is_no_trouble(world: Post, receiver: Receiver) -> None:
    await world.cancelled(receiver.at("/"))
    _, [taken] = await world.outbox.take(10, LEASE_MS)
    await world.redis.delete(keys.NOTICES)
    assert await world.outbox.settle(taken, "failed", next_ms=world.now_ms, why="x") is False
    world.now_ms += LEASE_MS + 1
    assert (await world.outbox.take(10, LEASE_MS))[1] == []
    assert not await world.redis.exists(keys.NOTICES_DUE)
