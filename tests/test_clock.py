"""A clock that is wrong or is set loses no order, buys nothing twice and leaves nothing standing for long."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import redis as blocking_redis
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.lease import LEASE_MS, alone
from antrean.orders.model import StoreUnavailable
from antrean.orders.states import State
from antrean.provider.breaker import NotAdmitted
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.provider.policy import BreakerState, Weight
from antrean.provider.protocol import SerialPage, SerialRecord
from antrean.provider.token import SharedToken
from orders_support import SETTLE_S, World
from provider_support import Clock, jwt, make_breaker
from stack import Stack, purchase, running_stack

HOUR_MS = 3_600_000
HOURS = pytest.mark.parametrize("by_ms", [HOUR_MS, -HOUR_MS], ids=["forward", "back"])


@pytest.fixture
def world(redis: Redis) -> World:
    return World(redis)


# ---- Valkey's clock is set


@HOURS
async def test_the_order_of_a_dead_worker_is_free_in_seconds_after_the_clock_was_set(
    world: World, by_ms: int
) -> None:
    order = await world.submit()
    await world.beat("dead", "alive")
    claim = await world.store.claim(order.id, "dead", "op")
    assert claim is not None
    await world.store.begin(claim.order, "op2", State.BUYING, "", 1)
    world.set_clock(by_ms)
    for _ in range(8):
        await world.beat("alive")
        await world.sweep()
        world.now_ms += 1000
    assert (await world.order(order.id)).state is State.UNKNOWN


async def test_a_worker_that_beats_keeps_its_claim_through_a_clock_set_back(world: World) -> None:
    order = await world.submit()
    await world.beat("alive")
    assert await world.store.claim(order.id, "alive", "op") is not None
    world.set_clock(-HOUR_MS)
    for _ in range(8):
        await world.sweep()
        world.now_ms += 1000
        await world.beat("alive")
    assert (await world.order(order.id)).owner == "alive"


@HOURS
async def test_a_lost_job_and_a_short_wait_end_in_their_time_though_the_clock_was_set(
    world: World, by_ms: int
) -> None:
    lost, waits = await world.submit(), await world.submit()
    await world.beat("w1")
    claim = await world.store.claim(waits.id, "w1", "op")
    assert claim is not None
    await world.store.release(claim.order, "op2", "later", 0, wait_s=60)
    assert await world.store.dispatch([("buy:MDN-01", 1)], {}) == [lost.id]
    world.set_clock(by_ms)
    for _ in range(10):
        await world.sweep()
        world.now_ms += 1000
    waiting = await world.redis.zrange(keys.LANE_BUY + "MDN-01", 0, -1)
    assert sorted(waiting) == sorted([lost.id.encode(), waits.id.encode()])


@pytest.mark.parametrize("seen", [True, False], ids=["seen before", "not seen before"])
async def test_what_is_unknown_is_not_proven_unbought_by_a_clock_set_forward(
    world: World, seen: bool
) -> None:
    await world.resolver.run_once()
    order = await world.submit()
    world.upstream.lists_new = False  # the account's list lags
    world.upstream.faults["generate"] = ["lost"]
    await world.worker().run(order.id)
    if seen:
        await world.resolver.run_once()
    world.set_clock(HOUR_MS)
    for _ in range(5):
        world.now_ms += 15_000
        await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.UNKNOWN
    world.upstream.sold[0].visible = True
    world.now_ms += 15_000
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.BOUGHT
    assert len(world.upstream.sold) == 1


async def test_a_second_purchase_of_unknown_outcome_is_not_as_old_as_the_first(world: World) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = ["lost", "lost"]
    await world.worker("w1").run(order.id)
    world.upstream.sold.pop()  # the first request was lost on its way
    stalled = world.resolver
    await stalled.run_once()
    world.now_ms += int(SETTLE_S * 1000)
    # Meanwhile another worker leads, and settles it; it is bought again, and not listed yet.
    leads = world.new_resolver()
    for _ in range(12):
        world.now_ms += 15_000
        await leads.run_once()
    assert (await world.order(order.id)).state is State.QUEUED
    world.upstream.lists_new = False
    await world.worker("w2").run(order.id)
    assert (await world.order(order.id)).state is State.UNKNOWN
    for _ in range(3):
        world.now_ms += 15_000
        await stalled.run_once()
    assert (await world.order(order.id)).state is State.UNKNOWN


@pytest.mark.parametrize("led_on", [True, False], ids=["same leader", "new leader"])
async def test_what_is_unknown_is_settled_in_time_after_a_clock_set_back(world: World, led_on: bool) -> None:
    order = await world.submit()
    await world.worker().run((await world.submit()).id)
    world.upstream.faults["generate"] = ["lost"]
    await world.worker().run(order.id)
    world.upstream.sold.pop()  # the answer was lost, and the sale as well
    await world.resolver.run_once()
    world.set_clock(-HOUR_MS)
    resolver = world.resolver if led_on else world.new_resolver()
    for _ in range(int(SETTLE_S / 15) + 2):
        world.now_ms += 15_000
        await resolver.run_once()
    assert (await world.order(order.id)).state is State.QUEUED


async def test_an_open_breaker_is_probed_and_a_dead_worker_s_slot_is_free_in_seconds_after_a_clock_set_back(
    redis: Redis,
) -> None:
    clock = Clock()
    dead = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=2, start=2)))
    for _ in range(2):
        assert await dead.admit(0.1) is not None
    await dead.aclose()
    clock.pass_s(-3600)
    alive = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=2, start=2)))
    with pytest.raises(NotAdmitted):
        await alive.admit(0.1)
    clock.pass_s(6)
    for _ in range(10):
        permit = await alive.admit(0.1)
        assert permit is not None
        await alive.settle(permit, Weight.FAILURE, 0.01)
    assert (await alive.status()).state is BreakerState.OPEN
    assert not await alive.claim_probe()
    clock.pass_s(-3600)
    assert await alive.claim_probe()
    await alive.aclose()


async def test_leases_of_the_dead_that_a_clock_set_back_made_hours_long_end_in_their_time(
    redis: Redis, world: World
) -> None:
    token = SharedToken(redis, "test:", "account", wait_s=1.0)
    logins: list[str] = []

    async def login() -> str:
        logins.append("once")
        return jwt(iat=0, exp=86400)

    names = (keys.LEADER, keys.LEASE + "archive", token._lock, token._failed)
    for name in names:
        await redis.set(name, "dead", px=HOUR_MS)
    assert not await world.store.lead("alive", 2000)
    assert 0 < await redis.pttl(keys.LEADER) <= 2000
    with pytest.raises(StoreUnavailable):
        async with alone(world.scripts, "archive", wait_s=0.1):
            pass
    assert 0 < await redis.pttl(keys.LEASE + "archive") <= LEASE_MS
    await token.get(login)
    assert logins == ["once"]


# ---- the upstream's clock is another


async def test_an_sn_is_found_behind_the_first_page_though_the_upstream_s_clock_is_hours_behind(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await world.submit()
    world.upstream.faults["generate"] = ["lost"]
    await world.worker().run(order.id)
    world.now_ms += 1000
    for n in range(250):  # others buy on
        world.upstream.sell(f"other-{n}.pdf")
    sold_ms = world.now_ms - 3 * HOUR_MS

    async def page(number: int, size: int) -> SerialPage:
        rows = [
            SerialRecord(
                sale.serial_number,
                "NOTSTAMP",
                sale.file,
                datetime.fromtimestamp((sold_ms + 100 * n) / 1000, UTC).isoformat(),
            )
            for n, sale in reversed(list(enumerate(world.upstream.sold)))
        ]
        first = (number - 1) * size
        return SerialPage(tuple(rows[first : first + size]), first + size >= len(rows))

    monkeypatch.setattr(world.upstream, "serial_page", page)
    world.now_ms += int(SETTLE_S * 1000)
    await world.resolver.run_once()
    assert (await world.order(order.id)).state is State.BOUGHT


# ---- real processes


async def _workers(stack: Stack, count: int) -> bool:
    url = Settings(_env_file=None, data_dir=stack.folder / "data").effective_redis_url
    with blocking_redis.Redis.from_url(url, protocol=2) as client:
        return bool(client.zcard(keys.WORKERS) == count)


async def test_workers_whose_clocks_are_an_hour_ahead_and_behind_buy_each_order_once() -> None:
    async with running_stack(workers=1) as stack:
        await stack.fault("slow", ["generate", "stamp"], delay_s=0.2)
        await stack.fault("lost_answer", ["generate"], rate=0.3)
        env = stack.children("worker")[0].environ()
        script = str(Path(__file__).with_name("shifted_worker.py"))
        with (stack.folder / "shifted.log").open("ab") as log:
            shifted = [
                subprocess.Popen([sys.executable, script, str(by_s)], env=env, stdout=log, stderr=log)
                for by_s in (3600, -3600)
            ]
        try:
            await stack.until(lambda: _workers(stack, 3))
            bodies = [await stack.affix_body() for _ in range(4)] + [purchase() for _ in range(20)]
            await asyncio.gather(*(stack.submit(body) for body in bodies))
            # A token that is no longer taken is renewed, whoever holds it for how long.
            await stack.fault("token_end")
            await stack.until_hit("lost_answer", 1)
            psutil.Process(stack.children("worker")[0].pid).kill()
            await stack.no_faults()
            await stack.all_completed(90)
            await stack.assert_books_agree()
        finally:
            for process in shifted:
                process.kill()
                process.wait(10)


@pytest.mark.long
async def test_a_valkey_that_stood_still_in_a_drain_loses_and_doubles_nothing() -> None:
    """As on a host that was paused: it wakes with its clock seconds ahead, and every lease is over."""
    async with running_stack() as stack:
        await stack.fault("slow", ["generate", "stamp"], delay_s=0.3)
        bodies = [await stack.affix_body() for _ in range(5)] + [purchase() for _ in range(25)]
        await asyncio.gather(*(stack.submit(body) for body in bodies))
        valkey = stack.children("valkey")[0]
        valkey.send_signal(signal.SIGSTOP)
        await asyncio.sleep(8)  # longer than the lease of a worker's claims
        valkey.send_signal(signal.SIGCONT)
        await stack.no_faults()
        await stack.all_completed(90)
        await stack.assert_books_agree()
