"""The one composition of policies around an adapter, from the outside in:

    retry( breaker( limiter( adapter )))

    retry     tenacity: short hiccups of calls that provably did not happen, full jitter, Retry-After, bounded in
              number and time, paid from the fleet's retry budget
    breaker   one for `provider` (login, generate, picture, questions), one for `adapter` (signing)
    limiter   the fleet's limit of calls in flight; taken in the same step as the breaker's permit
    adapter   speaks to the upstream; translates its errors

An OutcomeUnknown is never repeated here. A call that was cancelled, or stopped by its own intent, gives back what
it held and counts as neither good nor bad.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, stop_before_delay
from tenacity.stop import stop_base

from antrean.provider.breaker import NotAdmitted, Permit, SharedBreaker
from antrean.provider.errors import (
    OutcomeUnknown,
    ProviderError,
    QuotaExhausted,
    Rejected,
    SerialUnusable,
    Unavailable,
)
from antrean.provider.policy import Weight
from antrean.provider.protocol import (
    CallMeter,
    Generated,
    GenerateRequest,
    Provider,
    SerialPage,
    SerialRecord,
    StampRequest,
)
from antrean.provider.translate import LoginFailed, NoPicture

T = TypeVar("T")


#: Calls for orders. Only they may be trials of a half-open breaker, since a server may answer free questions and do
#: nothing else. The pace follows those whose round trip shows the load.
ORDER_CALLS = frozenset({"generate", "stamp", "qr_image"})
TIMED = frozenset({"generate", "stamp"})


class Adapter(Provider, Protocol):
    """A provider that can also be probed, and that gets its token in a step of its own."""

    async def probe(self, after_trial: bool = False) -> None:
        """One free call. `after_trial`: to the host that the last, failed trial called. Raises ProviderError."""
        ...

    async def adapter_reachable(self) -> None:
        """Whether the signing service takes connections. Raises Unavailable."""
        ...

    def token_ready(self) -> bool:
        """Whether a call could leave at once: a token is in memory."""
        ...

    async def token_held(self) -> bool:
        """Whether a call could be made without a login. Raises Unavailable."""
        ...

    async def ensure_token(self) -> None:
        """Log in where nobody has. Raises Unavailable."""
        ...


#: Called for every call that ended, with its name, its outcome and its duration in seconds. Must not raise.
Watch = Callable[[str, str, float], None]


def unwatched(_call: str, _outcome: str, _took_s: float) -> None:
    """Nobody watches."""


def outcome_name(outcome: BaseException | Weight | None) -> str:
    """`ok`, the kind of error, or `dropped` where the call was given up by its caller."""
    match outcome:
        case None:
            return "ok"
        case OutcomeUnknown():
            return "unknown"
        case Unavailable():
            return "unavailable"
        case QuotaExhausted():
            return "quota_exhausted"
        case Rejected():
            return "rejected"
        case SerialUnusable():
            return "serial_unusable"
        case _:
            return "dropped"


@dataclass(frozen=True, slots=True)
class RetryRules:
    """At most `attempts` in all, and none begun later than `total_s` seconds after the first.

    The pause before a repetition is drawn from [0, min(pause_max_s, pause_first_s doubled each time)] and added to what
    Retry-After asks. A call that asks for more than `asked_max_s` is not repeated here.
    """

    attempts: int = 3
    total_s: float = 5.0
    pause_first_s: float = 0.1
    pause_max_s: float = 1.0
    asked_max_s: float = 2.0


class ResilientProvider:
    """Implements `Provider`. `slot_wait_s`: longest wait for a slot of the limit, in seconds."""

    def __init__(
        self,
        adapter: Adapter,
        provider_breaker: SharedBreaker,
        adapter_breaker: SharedBreaker,
        *,
        retry: RetryRules | None = None,
        slot_wait_s: float = 5.0,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        watch: Watch = unwatched,
    ) -> None:
        self._watch = watch
        self._adapter = adapter
        self._provider = provider_breaker
        self._signing = adapter_breaker
        self._rules = retry or RetryRules()
        self._slot_wait_s = slot_wait_s
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._clock = clock
        self._sleep = sleep

    async def generate(self, request: GenerateRequest, meter: CallMeter) -> Generated:
        """See Provider. Repeated only while it provably did not happen."""
        return await self._through(
            self._provider, "generate", lambda: self._adapter.generate(request, meter), meter
        )

    async def stamp(self, request: StampRequest, meter: CallMeter) -> bytes:
        """See Provider. A token is had first, under the provider's breaker: a failing login is not the adapter's."""
        await self._have_token()
        return await self._through(self._signing, "stamp", lambda: self._adapter.stamp(request, meter), meter)

    async def qr_image(self, serial_number: str, meter: CallMeter) -> bytes:
        """See Provider."""
        return await self._through(
            self._provider, "qr_image", lambda: self._adapter.qr_image(serial_number, meter)
        )

    async def serial_status(self, serial_number: str) -> SerialRecord | None:
        """See Provider."""
        return await self._through(
            self._provider, "serial_status", lambda: self._adapter.serial_status(serial_number)
        )

    async def serial_page(self, page: int, size: int) -> SerialPage:
        """See Provider."""
        return await self._through(
            self._provider, "serial_page", lambda: self._adapter.serial_page(page, size)
        )

    async def balance(self) -> int:
        """See Provider."""
        return await self._through(self._provider, "balance", self._adapter.balance)

    async def aclose(self) -> None:
        """Close connections."""
        await self._adapter.aclose()
        await self._provider.aclose()
        await self._signing.aclose()

    async def _have_token(self) -> None:
        if await self._adapter.token_held():
            return
        try:
            await self._through(self._provider, "login", self._adapter.ensure_token)
        except NotAdmitted as error:
            # The refusal is not from the signing breaker, which the caller watches, so it is told how long to wait.
            wait_s = error.retry_after_s or self._provider.rules.probe_interval_s
            raise NotAdmitted(
                "no token can be had while the upstream is away", retry_after_s=wait_s
            ) from error

    async def _through(
        self, gate: SharedBreaker, name: str, call: Callable[[], Awaitable[T]], meter: CallMeter | None = None
    ) -> T:
        last: ProviderError | None = None

        async def attempt() -> T:
            nonlocal last
            permit = await self._permit(gate, name, meter, last)
            try:
                return await self._call(gate, name, permit, call, meter)
            except ProviderError as error:
                last = error
                raise

        retrying = AsyncRetrying(
            stop=self._stop(),
            wait=self._pause_s,
            retry=retry_if_exception(self._is_hiccup),
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return await retrying(attempt)
        except _BudgetSpent as spent:
            raise spent.last from None

    async def _permit(
        self, gate: SharedBreaker, name: str, meter: CallMeter | None, last: ProviderError | None
    ) -> Permit:
        """The right to make one call; `last`: what the call before it raised, where this one repeats it."""
        intent = meter.intent if meter is not None and name == "generate" else None
        permit = await gate.admit(
            self._slot_wait_s,
            retry=last is not None,
            order=name in ORDER_CALLS,
            # A call that has to log in first would be noted too early.
            asked=intent.with_permit if intent is not None and self._adapter.token_ready() else None,
        )
        if permit is None:
            assert last is not None
            raise _BudgetSpent(last)
        return permit

    async def _call(
        self,
        gate: SharedBreaker,
        name: str,
        permit: Permit,
        call: Callable[[], Awaitable[T]],
        meter: CallMeter | None,
    ) -> T:
        """Make the call that `permit` allows, and settle it whatever comes of it."""
        started = self._clock()
        outcome: BaseException | Weight | None = Weight.NOTHING
        try:
            result = await call()
        except LoginFailed as error:
            # A failing login says nothing about the signing adapter, and counts once.
            outcome = error if gate is self._provider and error.ours else Weight.NOTHING
            raise
        except NoPicture:
            # One SN that the upstream does not know must not hold up all others, nor prove that it is well.
            raise
        except ProviderError as error:
            if permit.trial:
                error.trial_every_s = gate.rules.probe_interval_s
            outcome = error
            raise
        else:
            outcome = None
            return result
        finally:
            took_s = self._clock() - started
            self._watch(name, outcome_name(outcome), took_s)
            answer_s = meter.answer_s if outcome is None and meter is not None else None
            if answer_s is not None and took_s < gate.rules.slow_call_s:
                # Writing the intent and waiting in our own queues say nothing about the upstream, so they do not
                # count. A body that came slowly does.
                took_s = answer_s
            is_order = name in ORDER_CALLS
            settling = gate.settle_soon(permit, outcome, took_s, timed=name in TIMED, order=is_order)
            if outcome is not None:
                # What comes next (a repetition, a turn given back) asks the breaker that this may have moved.
                await asyncio.shield(settling)

    def _stop(self) -> stop_base:
        return stop_after_attempt(self._rules.attempts) | stop_before_delay(self._rules.total_s)

    def _is_hiccup(self, error: BaseException) -> bool:
        return (
            isinstance(error, Unavailable)
            and not isinstance(error, NotAdmitted | LoginFailed)
            and not error.refused_by_breaker
            and not error.trial_every_s  # the breaker is open again: there is nothing to repeat
            and (error.retry_after_s or 0.0) <= self._rules.asked_max_s
        )

    def _pause_s(self, state: RetryCallState) -> float:
        rules = self._rules
        error = state.outcome.exception() if state.outcome else None
        asked_s = (error.retry_after_s or 0.0) if isinstance(error, Unavailable) else 0.0
        return asked_s + self._rng.uniform(
            0.0, min(rules.pause_max_s, rules.pause_first_s * 2.0 ** (state.attempt_number - 1))
        )


class _BudgetSpent(Exception):
    """The retry budget is spent: what happened last stands."""

    def __init__(self, last: ProviderError) -> None:
        super().__init__()
        self.last = last
