"""Finds the recovery: while a breaker is open, one free probe an interval from the whole fleet, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog

from antrean.orders.holding import QUOTA
from antrean.orders.store import OrderStore
from antrean.provider.breaker import REDIS_TROUBLE, Probe
from antrean.provider.errors import OutcomeUnknown, ProviderError, Rejected, Unavailable
from antrean.provider.protocol import Provider
from antrean.provider.serials import BalanceUnreadable
from antrean.provider.translate import NotServed

log = structlog.get_logger(__name__)


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

        An answer that says no (a rejection, a used-up quota) is an answer: the server that gives it is there.
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


@dataclass
class QuotaTrial:
    """Whether one order may try to buy while the quota hold is on: granted by QuotaProbe, used up by the dispatcher."""

    granted: bool = False


class QuotaProbe:
    """Lifts the quota hold by itself once the balance has risen, or something could be bought.

    Sometimes the account has stamps and the upstream still says that they are used up. To lift the hold would then
    cost a call for every order in flight. So the hold stays on, and one order may try at each look. The same where the
    balance can not be read: nothing else would ever show that the account was refilled.
    """

    def __init__(self, store: OrderStore, provider: Provider, trial: QuotaTrial) -> None:
        self._store = store
        self._provider = provider
        self._trial = trial
        self._begin()

    def _begin(self) -> None:
        #: The least balance seen since the hold came, and what the books named as bought then.
        self._least = math.inf
        self._bought: int | None = None
        self._trial.granted = False

    async def run_once(self) -> bool:
        """One look. Raises StoreUnavailable, ProviderError."""
        if QUOTA not in (await self._store.situation()).holds:
            self._begin()
            return False
        balance = await self._balance()
        bought = (await self._store.account.read()).bought
        sold = self._bought not in (None, bought)
        self._bought = bought
        if balance is None:
            has_stamps, bears_more = True, sold
        else:
            has_stamps, bears_more = balance > 0, sold or balance > self._least
            self._least = min(self._least, balance)
        if has_stamps and bears_more:
            self._begin()
            await self._store.unhold(QUOTA, "quota probe")
            log.info("quota is back")
        else:
            self._trial.granted = has_stamps
        return False

    async def _balance(self) -> int | None:
        """Stamps left; None where the upstream is there and what it answers is no balance. Raises ProviderError.

        An outage is no such answer: nothing is bought to find out whether it is over.
        """
        try:
            return await self._provider.balance()
        except (BalanceUnreadable, Rejected):
            return None
        except NotServed as error:
            if error.page:
                raise
            return None
