"""The shared breaker: one state for all workers of all hosts, moved by Lua, judged by `policy`, shown by pybreaker.

    admit ──▶ Permit ──▶ (the call) ──▶ settle ──▶ judge ──▶ move
    claim_probe ──▶ (one free question) ──▶ probe_result ──▶ move

Scripts count and hand out leases atomically. The decision is made here, by the pure rules, and written by a script
that accepts one decision per epoch: several workers may come to the same one, and only the first counts. Where a
worker dies in between, the next call decides. Redis away means open: no permit, no call.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pybreaker
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

from antrean.provider import scripts
from antrean.provider.breaker_status import BreakerStatus, Change, LimitStatus, read_status
from antrean.provider.errors import ASKED_WAIT_MAX_S, ProviderError, Unavailable
from antrean.provider.limiter import FleetLimiter, LimitRules
from antrean.provider.mirror import MirrorStorage, machine
from antrean.provider.pacing import EVEN_FOR_S
from antrean.provider.policy import (
    BreakerRules,
    BreakerState,
    Weight,
    far_from_opening,
    judge,
    open_time_s,
    weigh,
)
from antrean.provider.settled import Settled

log = structlog.get_logger(__name__)

#: The actor in the history where no person moved the breaker.
SYSTEM = "antrean"
#: Longest reason and longest actor that are kept, in characters.
TEXT_MAX = 200
#: What can go wrong between us and Redis. A socket timeout is a RedisError as well.
REDIS_TROUBLE = (RedisError, OSError)


class NotAdmitted(Unavailable):
    """No permit was given, so nothing was tried: the breaker is open, or no slot was free in time."""

    tried = False


@dataclass(frozen=True, slots=True)
class Permit:
    """The right to make one call. Given back by `settle`, or by itself when its lease ends."""

    lease: str
    epoch: str
    step: str
    trial: bool


@dataclass(frozen=True, slots=True)
class Probe:
    """The right to ask one free question.

    `after_trial`: the last trial failed, so the question goes to the same host as the trial did.
    """

    after_trial: bool


class SharedBreaker:
    """A breaker and its limit. `admit` and `settle` never let a Redis error out; the other calls do.

    `clock_ms`: in place of the server's clock, for tests. `key_prefix` begins every key.
    """

    def __init__(
        self,
        name: str,
        redis: Redis,
        key_prefix: str,
        rules: BreakerRules,
        limits: LimitRules,
        *,
        listeners: Iterable[pybreaker.CircuitBreakerListener] = (),
        rng: random.Random | None = None,
        clock_ms: Callable[[], int] | None = None,
    ) -> None:
        self.name = name
        self.rules = rules
        self._redis = redis
        self._clock_ms = clock_ms
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self.limiter = FleetLimiter(limits, self._rng)
        base = f"{key_prefix}gate:{name}"
        self._keys = (base, f"{base}:w", f"{base}:t", f"{base}:h", f"{base}:l", f"{base}:f")
        self._storage = MirrorStorage(name)
        self.machine = machine(name, self._storage)
        self.machine.add_listeners(*listeners)
        self._probe_epoch: str | None = None
        self._background: set[asyncio.Task[Any]] = set()
        #: Until then (the loop's clock) calls start evenly spaced, so a granted one may have to wait.
        self._even_until = 0.0
        # As last seen, a good answer would change nothing but the number of free slots.
        self._calm = False
        self._leases: set[str] = set()
        self._beat: asyncio.Task[None] | None = None

    # ---- calls

    async def admit(
        self,
        wait_s: float = 0.0,
        *,
        retry: bool = False,
        order: bool = True,
        asked: Callable[[str, str], None] | None = None,
    ) -> Permit | None:
        """The right to make one call, waiting at most `wait_s` seconds for a free slot.

        `order`: the call is for an order, so it may be the trial of a half-open breaker. A free question may not.

        `asked` is called as soon as a permit was asked for, with the sorted set that will hold the permit and its
        name in that set. What it sends to Redis leaves in the same write, so a script can check there whether the
        permit was granted. It is not called for a minute after a call was turned away: a permit may then have to wait
        for its turn.

        Returns None where `retry` is set and the retry budget is spent. Raises NotAdmitted:

        - with `refused_by_breaker` where the breaker is open, its trials are taken, no slot came free or Redis is away;
        - without it, and with `retry_after_s`, where the upstream has asked everyone to wait for longer than `wait_s`.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while True:
            lease = uuid.uuid4().hex
            at_once = loop.time() >= self._even_until
            answer = await self._admit_once(lease, retry, order, asked if at_once else None)
            code, state, epoch, step, wait_ms, _reason = answer
            self._see(state)
            left_s = end - loop.time()
            asked_s = int(wait_ms) / 1000
            if code in ("granted", "trial"):
                self._hold(lease)
                if asked_s:
                    self._even_until = loop.time() + EVEN_FOR_S
                return await self._in_turn(Permit(lease, epoch, step, code == "trial"), asked_s)
            if code == "no_budget":
                return None
            if code == "open":
                raise self._refusal(asked_s)
            if code == "later" and asked_s > left_s:
                raise NotAdmitted("the upstream asked us to wait", retry_after_s=asked_s)
            if left_s <= 0:
                tried = code == "trials_taken"
                why = "the upstream is being tried out" if tried else "no slot came free in time"
                raise NotAdmitted(why, refused_by_breaker=True)
            if code == "later":
                await asyncio.sleep(asked_s)
            else:
                await self.limiter.slot_freed(left_s)

    async def settle(
        self,
        permit: Permit,
        outcome: BaseException | Weight | None,
        duration_s: float,
        *,
        timed: bool = True,
        order: bool = True,
    ) -> None:
        """End the call of `permit`. `outcome`: None for a good answer, else what the call raised, or its weight.

        `duration_s`: how long it took. `timed`: that tells how loaded the upstream is; only calls of one kind can be
        compared. `order`: it was made for an order and is no free question.

        A permit of an earlier epoch gives its lease back and counts for nothing. Never raises, so that the result of
        the call is not lost; with Redis away the lease ends by itself. Goes on when the caller is cancelled.
        """
        await asyncio.shield(self.settle_soon(permit, outcome, duration_s, timed=timed, order=order))

    def settle_soon(
        self,
        permit: Permit,
        outcome: BaseException | Weight | None,
        duration_s: float,
        *,
        timed: bool = True,
        order: bool = True,
    ) -> asyncio.Task[None]:
        """Start `settle` without waiting for it: it leaves in one write with what the caller asks Redis next."""
        self._leases.discard(permit.lease)
        work = asyncio.ensure_future(self._settle(permit, outcome, duration_s, timed, order))
        self._keep(work)
        return work

    # ---- the probe

    async def claim_probe(self) -> Probe | None:
        """The right to probe, for one caller of the whole fleet per interval; None for the others.

        None also while no probe is of use, and with Redis away.
        """
        try:
            code, state, epoch = await self._run("claim_probe", int(self.rules.probe_interval_s * 1000))
        except REDIS_TROUBLE:
            self._see(BreakerState.OPEN)
            return None
        self._see(state)
        granted = code in ("granted", "after_trial")
        self._probe_epoch = epoch if granted else None
        return Probe(after_trial=code == "after_trial") if granted else None

    async def probe_result(self, ok: bool, reason: str) -> None:
        """Report what the claimed probe found.

        `ok`: an open breaker becomes half-open, and a half-open one that no order tried closes. Not ok: the breaker
        stays or becomes open. A result that is older than the breaker's last change is ignored. Raises RedisError.
        """
        epoch, self._probe_epoch = self._probe_epoch, None
        if epoch is None:
            return
        status = await self.status()
        if ok and status.state is BreakerState.OPEN:
            await self._move(epoch, BreakerState.HALF_OPEN, reason)
        elif ok and status.state is BreakerState.HALF_OPEN:
            await self._move(epoch, BreakerState.CLOSED, reason)
        elif not ok and status.state is BreakerState.HALF_OPEN:
            await self._move(epoch, BreakerState.OPEN, reason)

    # ---- seen and forced

    async def status(self) -> BreakerStatus:
        """The breaker now. Raises RedisError."""
        return (await self.look())[0]

    async def look(self) -> tuple[BreakerStatus, LimitStatus]:
        """The breaker and its limit at one moment. Raises RedisError."""
        row = await self._run("status", int(self.rules.window_s * 1000), self.limiter.start)
        self._see(row[0])
        return read_status(row)

    async def override(self, state: BreakerState, reason: str, actor: str, expires_in_s: float) -> None:
        """Force `open` or `closed` for `expires_in_s` seconds. Raises ValueError, RedisError."""
        if state is BreakerState.HALF_OPEN or expires_in_s <= 0:
            raise ValueError("an override is open or closed, for more than 0 seconds")
        args = (reason[:TEXT_MAX], actor[:TEXT_MAX], int(expires_in_s * 1000))
        row = await self._run("override", state.value, *args)
        self._see(row[1])

    async def lift_override(self, actor: str, reason: str = "") -> bool:
        """End the override; False where there was none. Raises RedisError."""
        row = await self._run("override", "", reason[:TEXT_MAX], actor[:TEXT_MAX], 0)
        self._see(row[1])
        return row[0] == "moved"

    async def history(self, limit: int = 100) -> list[Change]:
        """The last changes, newest first; 1,000 are kept. Raises RedisError."""
        rows: Any = await self._redis.lrange(self._keys[3], 0, max(0, limit - 1))  # type: ignore[misc, unused-ignore]
        return [Change.from_json(row) for row in rows]

    async def aclose(self) -> None:
        """Let settling calls finish; each is bounded by Redis' own timeout. Leases still held end by themselves."""
        if self._beat is not None:
            self._beat.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)

    # ---- inside

    async def _admit_once(
        self, lease: str, retry: bool, order: bool, asked: Callable[[str, str], None] | None = None
    ) -> list[str]:
        limits = self.limiter.rules
        work = asyncio.ensure_future(
            self._run(
                "admit",
                lease,
                int(limits.lease_s * 1000),
                self.rules.half_open_permits,
                self.limiter.start,
                "1" if retry else "0",
                limits.retry_share,
                limits.retry_tokens_max,
                "1" if order else "0",
            )
        )
        if asked is not None:
            asked(self._keys[5], lease)
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            # The lease may have been granted: give it back as soon as that is known.
            self._keep(asyncio.ensure_future(self._give_back(work, lease)))
            raise
        except REDIS_TROUBLE as error:
            self._see(BreakerState.OPEN)
            raise NotAdmitted("the shared state can not be read", refused_by_breaker=True) from error

    async def _in_turn(self, permit: Permit, wait_s: float) -> Permit:
        """`permit`, when its call may begin: `wait_s` seconds from now."""
        try:
            if wait_s:
                await asyncio.sleep(wait_s)
        except asyncio.CancelledError:
            self.settle_soon(permit, Weight.NOTHING, 0.0, timed=False)
            raise
        return permit

    async def _give_back(self, admission: Awaitable[list[str]], lease: str) -> None:
        try:
            await admission
        except REDIS_TROUBLE:
            return
        await self._settle(Permit(lease, "", "0", False), Weight.NOTHING, 0.0, timed=False, order=False)

    async def _settle(
        self,
        permit: Permit,
        outcome: BaseException | Weight | None,
        duration_s: float,
        timed: bool,
        order: bool,
    ) -> None:
        weight = outcome if isinstance(outcome, Weight) else weigh(outcome)
        asked_s = (outcome.retry_after_s or 0.0) if isinstance(outcome, Unavailable) else 0.0
        slow = "1" if duration_s >= self.rules.slow_call_s else "0"
        window_ms = int(self.rules.window_s * 1000)
        turned_away = isinstance(outcome, Unavailable) and outcome.sent
        if turned_away:
            self._even_until = asyncio.get_running_loop().time() + EVEN_FOR_S
        at_once = self._calm and weight is Weight.SUCCESS and slow == "0"
        if at_once:
            # As soon as this is queued for sending: whoever asks Redis after it finds the slot free.
            asyncio.get_running_loop().call_soon(self.limiter.wake)
        try:
            row = await self._run(
                "settle",
                permit.lease,
                permit.epoch,
                permit.step,
                weight.value,
                slow,
                duration_s if timed else -1,
                int(min(asked_s, ASKED_WAIT_MAX_S) * 1000),
                window_ms,
                self.limiter.start,
                "1" if turned_away else "0",
                "1" if order else "0",
            )
            self._see(row[1])
            if row[0] == "counted":
                self._tell_listeners(weight, outcome)
                await self._judge(Settled.from_row(row, asked_s))
        except REDIS_TROUBLE as error:
            self._see(BreakerState.OPEN)
            log.warning("call not settled", breaker=self.name, error=type(error).__name__)
        finally:
            if not at_once:  # who waits must see the state that this call may have changed
                self.limiter.wake()

    async def _judge(self, settled: Settled) -> None:
        if not settled.overridden:
            closed = settled.state is BreakerState.CLOSED
            self._calm = closed and far_from_opening(settled.window, self.rules)
            move = judge(settled.state, settled.window, self.rules)
            if move is not None:
                await self._move(settled.epoch, move.to, move.reason)
                return
        step = self.limiter.judge(settled)
        if step is not None:
            await self._run("pace", *step.args)
            self.limiter.wake(step.slots)

    async def _move(self, epoch: str, to: BreakerState, reason: str) -> None:
        openings = 1
        if to is BreakerState.OPEN:
            raw: Any = await self._redis.hget(self._keys[0], "openings")  # type: ignore[misc, unused-ignore]
            openings = int(raw or 0) + 1
        open_ms = int(1000 * open_time_s(openings, self._rng.random(), self.rules))
        interval_ms = int(1000 * self.rules.probe_interval_s)
        quiet_ms = int(1000 * self.rules.window_s)
        args = (reason[:TEXT_MAX], SYSTEM, open_ms, interval_ms, self.limiter.start, quiet_ms)
        code, state, _epoch = await self._run("move", epoch, to.value, *args)
        self._see(state)
        if code == "moved":
            log.warning("breaker moved", breaker=self.name, state=to.value, reason=reason)

    async def _run(self, name: str, *args: scripts.Arg) -> list[str]:
        now_ms = 0 if self._clock_ms is None else self._clock_ms()
        return scripts.texts(await scripts.run(self._redis, name, self._keys, now_ms, *args))

    def _hold(self, lease: str) -> None:
        self._leases.add(lease)
        if self._beat is None or self._beat.done():
            self._beat = asyncio.get_running_loop().create_task(self._renew_leases())

    async def _renew_leases(self) -> None:
        lease_s = self.limiter.rules.lease_s
        while self._leases:
            await asyncio.sleep(lease_s / 3)
            if self._leases:
                try:
                    await self._run("extend", int(lease_s * 1000), *self._leases)
                except REDIS_TROUBLE as error:
                    log.warning("leases not renewed", breaker=self.name, error=type(error).__name__)

    def _see(self, state: str) -> None:
        if state != BreakerState.CLOSED:
            self._calm = False
        self._storage.see(BreakerState(state))
        _ = self.machine.state  # pybreaker compares, swaps its state object and tells its listeners

    def _refusal(self, wait_s: float) -> NotAdmitted:
        refusal = NotAdmitted("the upstream is not available", retry_after_s=wait_s, refused_by_breaker=True)
        try:
            self.machine.state.before_call(_no_call)
        except pybreaker.CircuitBreakerError as error:
            refusal.__cause__ = error
        return refusal

    def _tell_listeners(self, weight: Weight, outcome: object) -> None:
        for listener in self.machine.listeners:
            if weight is Weight.SUCCESS:
                listener.success(self.machine)
            else:
                error = outcome if isinstance(outcome, ProviderError) else Unavailable(weight.value)
                listener.failure(self.machine, error)

    def _keep(self, work: asyncio.Future[Any]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _no_call() -> None:
    """What pybreaker's open state is asked about; it is never called."""
