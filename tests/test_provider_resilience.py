"""The composition: what is repeated, what is paid for it, who is blamed, and that nothing held is kept."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import Mock

import pytest
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from antrean.provider.breaker import NotAdmitted, SharedBreaker
from antrean.provider.errors import (
    OutcomeUnknown,
    ProviderError,
    QuotaExhausted,
    Rejected,
    SerialUnusable,
    Unavailable,
)
from antrean.provider.policy import BreakerState
from antrean.provider.protocol import (
    CallMeter,
    Generated,
    GenerateRequest,
    SerialPage,
    SerialRecord,
    StampRequest,
)
from antrean.provider.resilience import ResilientProvider
from antrean.provider.translate import LoginFailed, NoPicture
from antrean.workers.prober import Prober
from provider_support import PDF, SN, generate_request, make_breaker, png, stamp_request


@dataclass
class ScriptedAdapter:
    """Raises what its script holds, in order, then succeeds."""

    script: list[BaseException] = field(default_factory=list)
    token: bool = True
    login: list[BaseException] = field(default_factory=list)
    probes: int = 0
    hang: asyncio.Event | None = None
    answer_s: float | None = None

    async def _play(self, meter: CallMeter | None = None) -> None:
        if meter is not None:
            await meter.sending()
            meter.answer_s = self.answer_s
        if self.hang is not None:
            await self.hang.wait()
        if self.script:
            raise self.script.pop(0)

    async def generate(self, request: GenerateRequest, meter: CallMeter) -> Generated:
        await self._play(meter)
        return Generated(SN, png())

    async def stamp(self, request: StampRequest, meter: CallMeter) -> bytes:
        await self._play(meter)
        return PDF

    async def qr_image(self, serial_number: str, meter: CallMeter) -> bytes:
        await self._play(meter)
        return png()

    async def serial_status(self, serial_number: str) -> SerialRecord | None:
        await self._play()
        return None

    async def serial_page(self, page: int, size: int) -> SerialPage:
        await self._play()
        return SerialPage((), True)

    async def balance(self) -> int:
        await self._play()
        return 5

    async def probe(self, after_trial: bool = False) -> None:
        self.probes += 1
        await self._play()

    async def adapter_reachable(self) -> None:
        return None

    def token_ready(self) -> bool:
        return True

    async def token_held(self) -> bool:
        return self.token

    async def ensure_token(self) -> None:
        if self.login:
            raise self.login.pop(0)
        self.token = True

    async def aclose(self) -> None:
        return None


@dataclass
class Set:
    """The composition and its parts."""

    provider: ResilientProvider
    adapter: ScriptedAdapter
    upstream: SharedBreaker
    signing: SharedBreaker
    pauses: list[float]

    async def in_flight(self) -> int:
        return (await self.upstream.look())[1].in_flight + (await self.signing.look())[1].in_flight


Make = Callable[..., Set]


def compose(redis: Redis, *script: BaseException) -> Set:
    adapter, pauses = ScriptedAdapter(list(script)), []
    upstream, signing = make_breaker(redis), make_breaker(redis, name="adapter")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    provider = ResilientProvider(
        adapter, upstream, signing, slot_wait_s=1.0, rng=random.Random(1), sleep=sleep
    )
    return Set(provider, adapter, upstream, signing, pauses)


@pytest.fixture
async def make(redis: Redis) -> AsyncIterator[Make]:
    made: list[Set] = []

    def build(*script: BaseException) -> Set:
        made.append(compose(redis, *script))
        return made[-1]

    yield build
    for each in made:
        await each.provider.aclose()


async def earn_retries(each: Set, calls: int = 40) -> None:
    """Let so many calls pass that retries can be paid."""
    for _ in range(calls):
        await each.provider.balance()


async def test_a_hiccup_that_did_not_happen_is_repeated_after_a_jittered_pause(make: Make) -> None:
    each = make()
    await earn_retries(each)
    each.adapter.script = [Unavailable("refused"), Unavailable("busy", sent=True, retry_after_s=0.5)]
    meter = CallMeter()
    assert (await each.provider.generate(generate_request(), meter)).serial_number == SN
    assert meter.calls == 3
    assert 0 <= each.pauses[0] <= 0.1
    assert 0.5 <= each.pauses[1] <= 0.7


@pytest.mark.parametrize("failure", [Unavailable("busy", sent=True), OutcomeUnknown("the connection broke")])
async def test_a_failed_trial_is_told_as_one_and_not_repeated(redis: Redis, failure: ProviderError) -> None:
    each = compose(redis)
    await earn_retries(each)
    breaker = each.signing
    for _ in range(5):
        permit = await breaker.admit()
        assert permit is not None
        await breaker.settle(permit, Unavailable("refused"), 0.0)
    probed: list[None] = []

    async def well(_after_trial: bool) -> None:
        probed.append(None)

    prober = Prober("adapter", breaker, well)
    async with asyncio.timeout(5):
        while not probed:
            await prober.run_once()
            await asyncio.sleep(0.01)
    each.adapter.script = [failure]
    meter = CallMeter()
    with pytest.raises(type(failure)) as failed:
        await each.provider.stamp(stamp_request(), meter)
    assert failed.value.trial_every_s == breaker.rules.probe_interval_s
    assert (meter.calls, each.pauses) == (1, [])
    assert (await breaker.status()).state is BreakerState.OPEN
    await each.provider.aclose()


@pytest.mark.parametrize(
    ("told_s", "took_s", "counted_s"),
    [(0.25, 3.0, 0.25), (None, 3.0, 3.0), (0.25, 30.0, 30.0)],
    ids=["told", "not told", "an answer whose body came slowly"],
)
async def test_the_upstream_is_blamed_only_for_its_own_part_of_a_call(
    redis: Redis,
    monkeypatch: pytest.MonkeyPatch,
    told_s: float | None,
    took_s: float,
    counted_s: float,
) -> None:
    """The intent is written within the call, and a busy worker has queues of its own."""
    each = compose(redis)
    each.adapter.answer_s = told_s
    settled = Mock(wraps=each.upstream.settle_soon)
    monkeypatch.setattr(each.upstream, "settle_soon", settled)
    clock = itertools.count(step=took_s)
    provider = ResilientProvider(each.adapter, each.upstream, each.signing, clock=lambda: next(clock))
    await provider.generate(generate_request(), CallMeter())
    each.adapter.script = [OutcomeUnknown("lost")]
    with pytest.raises(OutcomeUnknown):
        await provider.generate(generate_request(), CallMeter())
    assert [call.args[2] for call in settled.call_args_list] == [counted_s, took_s]
    await provider.aclose()


async def test_attempts_are_bounded(make: Make) -> None:
    each = make()
    await earn_retries(each)
    each.adapter.script = [Unavailable("busy", sent=True) for _ in range(9)]
    meter = CallMeter()
    with pytest.raises(Unavailable):
        await each.provider.generate(generate_request(), meter)
    assert meter.calls == 3


async def test_without_a_budget_nothing_is_repeated_and_the_first_error_stands(make: Make) -> None:
    each = make(Unavailable("busy", sent=True))
    meter = CallMeter()
    with pytest.raises(Unavailable, match="busy"):
        await each.provider.generate(generate_request(), meter)
    assert meter.calls == 1


async def test_what_is_left_of_the_budget_and_what_was_refused_can_be_seen(make: Make) -> None:
    each = make()
    assert (await each.upstream.look())[1].retry_tokens is None
    await earn_retries(each, 10)
    each.adapter.script = [Unavailable("busy", sent=True) for _ in range(3)]
    with pytest.raises(Unavailable):
        await each.provider.generate(generate_request(), CallMeter())
    limit = (await each.upstream.look())[1]
    # Eleven calls earned 1.1 retries: one is made, the next is refused.
    assert limit.retry_tokens == pytest.approx(0.1)
    assert (limit.retries, limit.retries_refused) == (1, 1)


@pytest.mark.parametrize(
    "error",
    [
        OutcomeUnknown("lost"),
        Rejected("12", "no"),
        QuotaExhausted("none"),
        SerialUnusable("97", "used"),
        Unavailable("busy", sent=True, retry_after_s=3),
        Unavailable("busy", sent=True, retry_after_s=10),
        RuntimeError("ours"),
    ],
)
async def test_these_are_never_repeated(make: Make, error: Exception) -> None:
    each = make()
    await earn_retries(each)
    each.adapter.script = [error]
    meter = CallMeter()
    with pytest.raises(type(error)) as raised:
        await each.provider.generate(generate_request(), meter)
    assert raised.value is error
    assert meter.calls == 1
    assert await each.in_flight() == 0


async def test_while_open_no_call_is_made_and_none_is_counted(make: Make) -> None:
    each = make(*(OutcomeUnknown("lost") for _ in range(10)))
    for _ in range(10):
        with pytest.raises(OutcomeUnknown):
            await each.provider.generate(generate_request(), CallMeter())
    meter = CallMeter()
    questions: list[Any] = [
        each.provider.generate(generate_request(), meter),
        each.provider.qr_image(SN, meter),
        each.provider.serial_status(SN),
        each.provider.serial_page(1, 10),
        each.provider.balance(),
    ]
    for question in questions:
        with pytest.raises(Unavailable) as refused:
            await question
        assert refused.value.refused_by_breaker
    assert meter.calls == 0
    assert await each.provider.stamp(stamp_request(), meter) == PDF


async def test_the_signing_adapter_s_faults_open_its_own_breaker_only(make: Make) -> None:
    each = make(*(OutcomeUnknown("lost") for _ in range(10)))
    for _ in range(10):
        with pytest.raises(OutcomeUnknown):
            await each.provider.stamp(stamp_request(), CallMeter())
    assert (await each.signing.status()).state is BreakerState.OPEN
    assert (await each.upstream.status()).state is BreakerState.CLOSED


async def test_a_login_that_fails_before_a_stamp_is_the_provider_s_fault(make: Make) -> None:
    each = make()
    each.adapter.token = False
    each.adapter.login = [LoginFailed("refused", ours=True) for _ in range(5)]
    for _ in range(5):
        with pytest.raises(LoginFailed):
            await each.provider.stamp(stamp_request(), CallMeter())
    assert (await each.upstream.status()).state is BreakerState.OPEN
    assert (await each.signing.status()).calls_in_window == 0
    with pytest.raises(NotAdmitted) as refused:
        await each.provider.stamp(stamp_request(), CallMeter())
    assert not refused.value.refused_by_breaker
    assert refused.value.retry_after_s


async def test_another_worker_s_failing_login_counts_nothing(make: Make) -> None:
    each = make(*(LoginFailed("the login has just failed") for _ in range(20)))
    for _ in range(20):
        with pytest.raises(LoginFailed):
            await each.provider.generate(generate_request(), CallMeter())
    assert (await each.upstream.status()).calls_in_window == 0


async def test_an_sn_without_a_picture_holds_up_nobody_and_proves_nothing(make: Make) -> None:
    each = make(*(NoPicture("no answer to this (status 404)") for _ in range(20)))
    for _ in range(20):
        with pytest.raises(NoPicture):
            await each.provider.qr_image(SN, CallMeter())
    assert each.pauses == []
    status = await each.upstream.status()
    assert (status.state, status.calls_in_window) == (BreakerState.CLOSED, 0)


async def test_a_cancelled_call_gives_its_slot_back_and_counts_nothing(make: Make) -> None:
    each = make()
    each.adapter.hang = asyncio.Event()
    meter = CallMeter()
    calls = [asyncio.create_task(each.provider.generate(generate_request(), meter)) for _ in range(5)]
    async with asyncio.timeout(5):
        while meter.calls < 5:
            await asyncio.sleep(0.01)
    assert await each.in_flight() == 5
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert await each.in_flight() == 0
    assert (await each.upstream.status()).calls_in_window == 0


async def test_redis_away_means_no_upstream_call() -> None:
    away = Redis(unix_socket_path="/nonexistent/valkey.sock", retry=Retry(NoBackoff(), 0))
    each = compose(away)
    meter = CallMeter()
    with pytest.raises(Unavailable) as refused:
        await each.provider.generate(generate_request(), meter)
    assert refused.value.refused_by_breaker
    assert meter.calls == 0
    await Prober("provider", each.upstream, each.adapter.probe).run_once()
    assert each.adapter.probes == 0
    await away.aclose()


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (None, BreakerState.HALF_OPEN),
        (QuotaExhausted("none"), BreakerState.HALF_OPEN),
        (Unavailable("down"), BreakerState.OPEN),
    ],
)
async def test_one_free_question_of_the_fleet_finds_the_recovery(
    redis: Redis, error: ProviderError | None, state: BreakerState
) -> None:
    breaker = make_breaker(redis, open_first_s=0.01)
    adapter = ScriptedAdapter([error] if error else [])
    prober = Prober("provider", breaker, adapter.probe)
    for _ in range(5):
        permit = await breaker.admit()
        assert permit is not None
        await breaker.settle(permit, Unavailable("refused"), 0.0)
    async with asyncio.timeout(5):
        while adapter.probes == 0:
            await prober.run_once()
            await asyncio.sleep(0.01)
    assert (await breaker.status()).state is state
    await prober.run_once()
    assert adapter.probes == 1
    await breaker.aclose()
