"""Finds the recovery: while a breaker is open, one free probe an interval from the whole fleet, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from antrean.orders.holding import QUOTA
from antrean.orders.store import OrderStore
from antrean.provider.breaker import REDIS_TROUBLE, Probe
from antrean.provider.errors import OutcomeUnknown, ProviderError, Unavailable
from antrean.provider.protocol import Provider

log = structlog.get_logger(__name__)


#: Looks for one lifting of the quota hold, at most.
LOOKS_BETWEEN_MAX = 8


class Probed(Protocol):
    """A breaker, as far as probing it needs."""

    async def claim_probe(self) -> Probe | None: ...
    async def probe_result(self, ok: bool, reason: str) -> None: ...


class Prober:
    """One step probes one breaker if it is its turn.

    `probe` makes exactly one free call, or raises ProviderError. It is told whether the last trial failed.
    """

    def __init__(self, name: str, breaker: Probed, probe: Callable[[bool], Awaitable[object]]) -> None:
        self._name = name
        self._breaker = breaker
        self._probe = probe

    async def run_once(self) -> bool:
        """One step; with Redis away nothing is asked.

        An answer that says no (a rejection, a used-up quota) is an answer: who gives it is there.
        """
        claimed = await self._breaker.claim_probe()
        if claimed is None:
            return False
        ok, reason = True, "the probe was answered"
        try:
            await self._probe(claimed.after_trial)
        except (Unavailable, OutcomeUnknown) as error:
            ok, reason = False, f"the probe failed: {error.message}"
        except ProviderError as error:
            reason = f"the probe was answered: {error.message}"
        log.info("probed", breaker=self._name, answered=ok, why=reason)
        try:
            await self._breaker.probe_result(ok, reason)
        except REDIS_TROUBLE as error:
            # The claim is spent; the next interval has another.
            log.warning("what a probe found is lost", breaker=self._name, error=type(error).__name__)
        return False


class QuotaProbe:
    """Lifts the quota hold by itself once the account has stamps again.

    Where it has some and the upstream says all the same that they are used up, each lifting would cost a call of an
    order: then only every second, fourth, … up to LOOKS_BETWEEN_MAX-th look lifts it, or a balance that has risen.
    """

    def __init__(self, store: OrderStore, provider: Provider) -> None:
        self._store = store
        self._provider = provider
        #: The least balance seen since the hold was lifted, and what the books named as bought then.
        self._least = math.inf
        self._bought: int | None = None
        self._between = 1
        self._passed = 0

    async def run_once(self) -> bool:
        """One look. Raises StoreUnavailable, ProviderError."""
        if QUOTA not in (await self._store.situation()).holds:
            return False
        balance, bought = await self._provider.balance(), (await self._store.account.read()).bought
        bears_more = balance > self._least or bought != self._bought
        self._least = min(self._least, balance)
        if balance <= 0:
            return False
        if bears_more:
            self._between = 1
        elif self._passed + 1 < self._between:
            self._passed += 1
            return False
        self._least, self._bought, self._passed = balance, bought, 0
        self._between = min(2 * self._between, LOOKS_BETWEEN_MAX)
        await self._store.unhold(QUOTA, "quota probe")
        log.info("quota is back")
        return False
