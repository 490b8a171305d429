"""Out of an outage: one probe an interval for all workers, one trial at a time, and closed when that is good."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.provider.breaker import NotAdmitted, SharedBreaker
from antrean.provider.errors import OutcomeUnknown, Rejected, Unavailable
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.provider.policy import BreakerRules, BreakerState, Weight, open_time_s
from provider_support import Clock, admitted, calls, half_opened, make_breaker, opened

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


async def test_one_probe_an_interval_for_all(redis: Redis, clock: Clock) -> None:
    fleet = [make_breaker(redis, clock) for _ in range(4)]
    await opened(fleet[0])
    granted = []
    for tenth in range(300):
        clock.pass_s(0.1)
        for worker in fleet:
            if await worker.claim_probe():
                granted.append(tenth)
                await worker.probe_result(False, "still down")
    gaps = [later - earlier for earlier, later in itertools.pairwise(granted)]
    assert granted[0] < 50
    assert len(granted) >= 5
    assert all(gap == 50 for gap in gaps)
    assert (await fleet[0].status()).state is OPEN


async def test_a_flapping_upstream_is_probed_no_more_than_once_an_interval(
    breaker: SharedBreaker, clock: Clock
) -> None:
    probes = []
    await opened(breaker)
    for tenth in range(300):
        clock.pass_s(0.1)
        if await breaker.claim_probe():
            probes.append(tenth)
            await breaker.probe_result(True, "answered")
            await calls(breaker, 1, Unavailable("refused"))
    assert len(probes) >= 5
    assert all(later - earlier >= 50 for earlier, later in itertools.pairwise(probes))


async def test_half_open_lets_one_in_and_closes_when_it_is_good(breaker: SharedBreaker, clock: Clock) -> None:
    await half_opened(breaker, clock)
    permit = await admitted(breaker)
    assert permit.trial
    with pytest.raises(NotAdmitted, match="tried out"):
        await breaker.admit()
    await breaker.settle(permit, None, 0.1)
    assert (await breaker.status()).state is CLOSED


async def test_what_was_asked_for_before_an_outage_holds_nothing_back_after_it(
    redis: Redis, breaker: SharedBreaker, clock: Clock
) -> None:
    await opened(breaker)
    limit = breaker._keys[4]
    await redis.hset(limit, "hold_until", clock() + 40_000)
    clock.pass_s(5)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered")
    assert await redis.hget(limit, "hold_until") == b"0"


async def test_a_rejection_is_a_good_trial_and_a_lost_answer_is_not(
    breaker: SharedBreaker, clock: Clock
) -> None:
    await half_opened(breaker, clock)
    await calls(breaker, 1, OutcomeUnknown("lost"))
    assert (await breaker.status()).state is OPEN
    clock.pass_s(5)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered")
    await calls(breaker, 1, Rejected("12", "no"))
    assert (await breaker.status()).state is CLOSED


async def test_after_failed_trials_what_they_asked_is_probed_and_no_trial_follows_while_that_is_away(
    redis: Redis, clock: Clock
) -> None:
    """Where the login answers and the sale does not, each trial would be one more order whose outcome nobody knows."""
    fleet = [make_breaker(redis, clock) for _ in range(2)]
    breaker = fleet[0]
    await half_opened(breaker, clock)
    probes = ""
    for turn in range(29):
        if (await breaker.status()).state is HALF_OPEN:
            await calls(breaker, 1, OutcomeUnknown("lost"))
        clock.pass_s(5)
        prober = fleet[turn % 2]
        claimed = await prober.claim_probe()
        assert claimed is not None
        probes += "i" if claimed.after_trial else "p"
        await prober.probe_result(not claimed.after_trial, "answered by the login alone")
    assert probes == "ip" + 9 * "iip"

    await calls(breaker, 1, OutcomeUnknown("lost"))
    clock.pass_s(5)
    claimed = await breaker.claim_probe()
    assert claimed is not None
    assert claimed.after_trial
    await breaker.probe_result(True, "the sale answers")
    await calls(breaker, 1)
    assert (await breaker.status()).state is CLOSED
    await half_opened(breaker, clock)
    await calls(breaker, 1, OutcomeUnknown("lost"))
    clock.pass_s(5)
    for after_trial in (True, False):  # counted anew
        claimed = await breaker.claim_probe()
        assert claimed is not None
        assert claimed.after_trial is after_trial
        await breaker.probe_result(False, "still down")
        clock.pass_s(5)


async def test_a_half_open_breaker_without_orders_does_not_close_on_what_the_trial_did_not_ask(
    breaker: SharedBreaker, clock: Clock
) -> None:
    await half_opened(breaker, clock)
    await calls(breaker, 1, OutcomeUnknown("lost"))
    for after_trial in (True, False):
        clock.pass_s(5)
        claimed = await breaker.claim_probe()
        assert claimed is not None
        assert claimed.after_trial is after_trial
        await breaker.probe_result(not after_trial, "the login answers, the sale does not")
    assert (await breaker.status()).state is HALF_OPEN
    clock.pass_s(30)
    claimed = await breaker.claim_probe()
    assert claimed is not None
    assert claimed.after_trial
    await breaker.probe_result(False, "the sale is still away")
    assert (await breaker.status()).state is OPEN


async def test_a_probe_that_fails_is_no_failed_trial(breaker: SharedBreaker, clock: Clock) -> None:
    await half_opened(breaker, clock)
    for _ in range(4):
        clock.pass_s(5)
        claimed = await breaker.claim_probe()
        assert claimed is not None
        assert not claimed.after_trial
        flaps = (await breaker.status()).state is OPEN
        await breaker.probe_result(flaps, "flaps")


async def test_a_free_question_is_no_trial(breaker: SharedBreaker, clock: Clock) -> None:
    await half_opened(breaker, clock)
    with pytest.raises(NotAdmitted, match="tried out"):
        await breaker.admit(order=False)
    assert (await admitted(breaker)).trial


async def test_after_a_failed_trial_an_order_is_waited_for_longer_than_an_interval(
    breaker: SharedBreaker, clock: Clock
) -> None:
    await half_opened(breaker, clock)
    await calls(breaker, 1, OutcomeUnknown("lost"))
    clock.pass_s(5)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered")
    clock.pass_s(10)
    assert not await breaker.claim_probe()
    clock.pass_s(20)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered")
    assert (await breaker.status()).state is CLOSED


@pytest.mark.parametrize(
    "outcome", [Weight.NOTHING, asyncio.CancelledError(), Unavailable("open", refused_by_breaker=True)]
)
async def test_a_trial_that_says_nothing_leaves_it_half_open_and_gives_its_permit_back(
    breaker: SharedBreaker, clock: Clock, outcome: Any
) -> None:
    await half_opened(breaker, clock)
    await calls(breaker, 1, outcome)
    assert (await breaker.status()).state is HALF_OPEN
    assert (await admitted(breaker)).trial


async def test_the_permit_of_a_dead_worker_comes_back(redis: Redis, clock: Clock) -> None:
    dead, alive = make_breaker(redis, clock), make_breaker(redis, clock)
    await half_opened(dead, clock)
    await admitted(dead)
    with pytest.raises(NotAdmitted):
        await alive.admit()
    clock.pass_s(10.1)
    assert (await admitted(alive)).trial


async def test_an_idle_half_open_breaker_closes_by_a_second_good_probe(
    breaker: SharedBreaker, clock: Clock
) -> None:
    await half_opened(breaker, clock)
    assert not await breaker.claim_probe()
    clock.pass_s(5)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered again")
    assert (await breaker.status()).state is CLOSED


async def test_a_half_open_breaker_is_not_idle_while_calls_from_before_it_opened_hang(
    redis: Redis, clock: Clock
) -> None:
    """They take the room of the trial, and a free question that is answered does not show that the rest is well."""
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=64, start=64), lease_s=60.0))
    hanging = await admitted(breaker)
    await half_opened(breaker, clock)
    clock.pass_s(20)
    assert not await breaker.claim_probe()
    await breaker.settle(hanging, OutcomeUnknown("lost"), 30)
    clock.pass_s(4.9)
    assert not await breaker.claim_probe()  # an order has an interval, from when there is room for it
    clock.pass_s(0.1)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered again")
    assert (await breaker.status()).state is CLOSED


async def test_a_probe_result_that_comes_after_a_change_is_ignored(redis: Redis, clock: Clock) -> None:
    slow, quick = make_breaker(redis, clock), make_breaker(redis, clock)
    await opened(quick)
    clock.pass_s(5)
    assert await slow.claim_probe()
    clock.pass_s(5)
    assert await quick.claim_probe()
    await quick.probe_result(True, "answered")
    await slow.probe_result(False, "timed out")
    assert (await quick.status()).state is HALF_OPEN


@pytest.mark.parametrize("openings", range(1, 40))
def test_the_first_probe_never_waits_longer_than_an_interval(openings: int) -> None:
    rules = BreakerRules()
    times = [open_time_s(openings, chance, rules) for chance in (0.0, 0.5, 0.999)]
    assert times == sorted(times)
    assert rules.open_first_s / 2 <= times[0] < times[2] <= rules.probe_interval_s


async def test_an_interval_that_was_set_shorter_since_it_opened_holds_at_once(
    redis: Redis, clock: Clock
) -> None:
    await opened(make_breaker(redis, clock, probe_interval_s=5000, min_calls=5, open_first_s=5000))
    restarted = make_breaker(redis, clock, probe_interval_s=5)
    assert not await restarted.claim_probe()
    clock.pass_s(5)
    assert await restarted.claim_probe()
