"""The shared breaker: opens on what counts and on nothing else; ops may force it."""

from __future__ import annotations

import asyncio
from typing import Any

import pybreaker
import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from antrean.provider.breaker import NotAdmitted, Permit, SharedBreaker
from antrean.provider.errors import (
    OutcomeUnknown,
    ProviderError,
    QuotaExhausted,
    Rejected,
    SerialUnusable,
    Unavailable,
)
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.provider.policy import (
    BreakerRules,
    BreakerState,
    Weight,
    Window,
    far_from_opening,
    weigh,
)
from provider_support import Clock, admitted, calls, half_opened, make_breaker, opened

CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


@pytest.mark.parametrize(
    ("error", "weight"),
    [
        (None, Weight.SUCCESS),
        (Rejected("12", "no"), Weight.SUCCESS),
        (QuotaExhausted("none left"), Weight.SUCCESS),
        (SerialUnusable("97", "used"), Weight.SUCCESS),
        (OutcomeUnknown("lost"), Weight.FAILURE),
        (Unavailable("busy", sent=True), Weight.FAILURE),
        (Unavailable("refused"), Weight.REFUSED),
        (Unavailable("open", refused_by_breaker=True), Weight.NOTHING),
        (asyncio.CancelledError(), Weight.NOTHING),
        (RuntimeError(), Weight.NOTHING),
    ],
)
def test_only_the_error_tree_decides_what_counts(error: BaseException | None, weight: Weight) -> None:
    assert weigh(error) is weight


async def test_half_of_ten_calls_failing_opens_it(breaker: SharedBreaker) -> None:
    await calls(breaker, 5)
    await calls(breaker, 4, OutcomeUnknown("lost"))
    assert (await breaker.status()).state is CLOSED
    await calls(breaker, 1, OutcomeUnknown("lost"))
    status = await breaker.status()
    assert status.state is OPEN
    assert status.reason == "5 of 10 calls failed"
    assert status.next_probe_at is not None


@pytest.mark.parametrize(
    ("window", "far"),
    [
        (Window(0, 0, 0), True),
        (Window(3, 2, 0), True),
        (Window(3, 3, 0), False),  # of ten, 2.5 are half of what opens it
        (Window(100, 24, 0), True),
        (Window(100, 25, 0), False),
        (Window(100, 0, 39), True),
        (Window(100, 0, 40), False),
    ],
)
def test_far_from_opening_is_half_of_what_opens_it(window: Window, far: bool) -> None:
    assert far_from_opening(window, BreakerRules()) is far


async def test_free_answers_do_not_hide_that_no_order_gets_through(breaker: SharedBreaker) -> None:
    for failed in range(10):
        assert (await breaker.status()).state is CLOSED, failed
        await calls(breaker, 1, OutcomeUnknown("lost"))
        if failed < 9:
            for _ in range(5):
                await breaker.settle(await admitted(breaker), None, 0.1, order=False)
    status = await breaker.status()
    assert (status.state, status.failure_rate, status.calls_in_window) == (OPEN, 1.0, 10)


async def test_free_questions_that_fail_hold_no_orders_back_while_these_get_through(
    breaker: SharedBreaker,
) -> None:
    for _ in range(10):
        await calls(breaker, 1)
        for _ in range(5):
            await breaker.settle(await admitted(breaker), Unavailable("broken", sent=True), 0.1, order=False)
    status = await breaker.status()
    assert (status.state, status.failure_rate, status.calls_in_window) == (CLOSED, 0.0, 10)


async def test_where_no_order_is_called_for_free_questions_tell_of_an_outage(breaker: SharedBreaker) -> None:
    for _ in range(10):
        assert (await breaker.status()).state is CLOSED
        await breaker.settle(await admitted(breaker), OutcomeUnknown("hangs"), 0.1, order=False)
    assert (await breaker.status()).state is OPEN


async def test_too_few_calls_do_not_open_it(breaker: SharedBreaker) -> None:
    await calls(breaker, 9, OutcomeUnknown("lost"))
    assert (await breaker.status()).state is CLOSED


@pytest.mark.parametrize("free_answers", [0, 2])
async def test_calls_that_all_fail_open_it_however_far_apart_they_end(
    breaker: SharedBreaker, clock: Clock, free_answers: int
) -> None:
    for _ in range(10):
        assert (await breaker.status()).state is CLOSED
        for _ in range(free_answers):
            await breaker.settle(await admitted(breaker), None, 0.1, order=False)
        await calls(breaker, 1, OutcomeUnknown("lost"))
        clock.pass_s(31)
    status = await breaker.status()
    assert (status.state, status.reason) == (OPEN, "10 calls in a row failed")


@pytest.mark.parametrize(
    ("outcome", "state"), [(Unavailable("too busy", sent=True), CLOSED), (OutcomeUnknown("reset"), OPEN)]
)
async def test_a_burst_turned_away_by_a_server_that_is_full_does_not_open_it(
    redis: Redis, clock: Clock, outcome: ProviderError, state: BreakerState
) -> None:
    """At 200 orders a second ten refusals come before the next good answer; an outage goes on longer than an answer."""
    breaker = make_breaker(redis, clock, limits=LimitRules(PaceBounds(limit_max=64, start=40)))
    for _ in range(5):
        permits = [await admitted(breaker) for _ in range(20)]
        clock.pass_s(0.2)
        for permit in permits:
            await breaker.settle(permit, None, 0.2)
    permits = [await admitted(breaker) for _ in range(20)]
    for permit in permits[:-1]:
        await breaker.settle(permit, outcome, 0.001)
    assert (await breaker.status()).state is state
    clock.pass_s(0.25)
    await breaker.settle(permits[-1], outcome, 0.25)
    assert (await breaker.status()).state is OPEN


async def test_five_refused_connections_in_a_row_open_it_at_once(breaker: SharedBreaker) -> None:
    await calls(breaker, 4, Unavailable("refused"))
    await calls(breaker, 1)
    await calls(breaker, 4, Unavailable("refused"))
    assert (await breaker.status()).state is CLOSED
    await calls(breaker, 1, Unavailable("refused"))
    assert (await breaker.status()).state is OPEN


async def test_slow_calls_open_it(breaker: SharedBreaker) -> None:
    await calls(breaker, 2)
    await calls(breaker, 8, None, 21.0)
    status = await breaker.status()
    assert status.state is OPEN
    assert status.reason == "8 of 10 calls were slow"


@pytest.mark.parametrize(
    "error", [Rejected("12", "no"), QuotaExhausted("none"), SerialUnusable("92", "used")]
)
async def test_an_answer_that_says_no_never_opens_it(breaker: SharedBreaker, error: ProviderError) -> None:
    await calls(breaker, 50, error)
    assert (await breaker.status()).state is CLOSED


async def test_failures_older_than_the_window_are_forgotten(breaker: SharedBreaker, clock: Clock) -> None:
    await calls(breaker, 9, OutcomeUnknown("lost"))
    clock.pass_s(31)
    await calls(breaker, 9)
    await calls(breaker, 1, OutcomeUnknown("lost"))
    status = await breaker.status()
    assert (status.state, status.calls_in_window) == (CLOSED, 10)


async def test_open_lets_no_call_in_and_is_a_pybreaker_error_underneath(breaker: SharedBreaker) -> None:
    await opened(breaker)
    with pytest.raises(NotAdmitted) as refused:
        await breaker.admit(1.0)
    assert refused.value.refused_by_breaker
    assert isinstance(refused.value.__cause__, pybreaker.CircuitBreakerError)


async def test_a_call_from_before_a_change_does_not_move_it(breaker: SharedBreaker, clock: Clock) -> None:
    early = [await admitted(breaker) for _ in range(20)]
    await half_opened(breaker, clock)
    for permit in early[:10]:
        await breaker.settle(permit, None, 0.1)
    assert (await breaker.status()).state is HALF_OPEN
    for permit in early[10:]:
        await breaker.settle(permit, Unavailable("refused"), 0.1)
    assert (await breaker.status()).state is HALF_OPEN
    await calls(breaker, 1)
    status = await breaker.status()
    assert (status.state, status.calls_in_window) == (CLOSED, 0)


async def test_what_opened_it_is_shown_for_as_long_as_the_window_is_and_not_counted_again(
    breaker: SharedBreaker, clock: Clock
) -> None:
    await calls(breaker, 4)
    await calls(breaker, 6, OutcomeUnknown("lost"))
    status = await breaker.status()
    assert (status.state, status.calls_in_window, status.failure_rate) == (OPEN, 10, 0.6)
    clock.pass_s(5)
    assert await breaker.claim_probe()
    await breaker.probe_result(True, "answered")
    assert (await breaker.status()).calls_in_window == 0


async def test_settling_twice_counts_once(breaker: SharedBreaker) -> None:
    permit = await admitted(breaker)
    await breaker.settle(permit, OutcomeUnknown("lost"), 0.1)
    await breaker.settle(permit, OutcomeUnknown("lost"), 0.1)
    assert (await breaker.status()).calls_in_window == 1


async def test_an_override_rules_until_it_ends_and_is_remembered(
    breaker: SharedBreaker, clock: Clock
) -> None:
    await breaker.override(OPEN, "maintenance at night", "ops-1", 60)
    status = await breaker.status()
    assert status.state is OPEN
    assert status.override is not None
    assert (status.override.reason, status.override.actor) == ("maintenance at night", "ops-1")
    with pytest.raises(NotAdmitted):
        await breaker.admit()
    clock.pass_s(30)
    assert not await breaker.claim_probe()
    clock.pass_s(31)
    assert await breaker.admit() is not None
    assert (await breaker.status()).override is None
    assert [change.kind for change in await breaker.history()] == ["override_ended", "override"]


async def test_forced_closed_it_stays_closed_whatever_fails_and_lifting_gives_the_old_state_back(
    breaker: SharedBreaker,
) -> None:
    await opened(breaker)
    await breaker.override(CLOSED, "we know better", "ops-1", 60)
    await calls(breaker, 20, Unavailable("refused"))
    assert (await breaker.status()).state is CLOSED
    assert await breaker.lift_override("ops-2")
    assert not await breaker.lift_override("ops-2")
    assert (await breaker.status()).state is OPEN
    last = (await breaker.history(1))[0]
    assert (last.kind, last.actor, last.reason) == ("override_lifted", "ops-2", "we know better")
    await breaker.override(CLOSED, "we know better", "ops-1", 60)
    await breaker.lift_override("ops-2", "we did not")
    assert (await breaker.history(1))[0].reason == "we did not"


async def test_the_last_thousand_changes_are_kept(breaker: SharedBreaker) -> None:
    for number in range(502):
        await breaker.override(OPEN, f"number {number}", "ops-1", 60)
        await breaker.lift_override("ops-1")
    history = await breaker.history(2000)
    assert len(history) == 1000
    assert history[1].reason == "number 501"


async def test_listeners_of_pybreaker_hear_of_changes_failures_and_successes(
    redis: Redis, clock: Clock
) -> None:
    class Listener(pybreaker.CircuitBreakerListener):
        heard: list[str]

        def __init__(self) -> None:
            self.heard = []

        def failure(self, cb: pybreaker.CircuitBreaker, exc: BaseException) -> None:
            self.heard.append("failure")

        def success(self, cb: pybreaker.CircuitBreaker) -> None:
            self.heard.append("success")

        def state_change(self, cb: Any, old_state: Any, new_state: Any) -> None:
            self.heard.append(f"{old_state.name} > {new_state.name}")

    breaker, listener = make_breaker(redis, clock), Listener()
    breaker.machine.add_listener(listener)
    await half_opened(breaker, clock)
    await calls(breaker, 1)
    expected = ["failure"] * 5 + ["closed > open", "open > half-open", "success", "half-open > closed"]
    assert listener.heard == expected


async def test_redis_away_means_open() -> None:
    away = Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    breaker = make_breaker(away)
    with pytest.raises(NotAdmitted) as refused:
        await breaker.admit(1.0)
    assert refused.value.refused_by_breaker
    assert breaker.machine.current_state == pybreaker.STATE_OPEN
    assert not await breaker.claim_probe()
    await breaker.settle(Permit("x", "1", "0", False), None, 0.1)
    await away.aclose()
