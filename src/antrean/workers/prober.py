"""Finds the recovery: while a breaker is open, one free probe an interval from the whole fleet, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from antrean.orders.store import OrderStore
from antrean.provider.breaker import REDIS_TROUBLE
from antrean.provider.errors import OutcomeUnknown, ProviderError, Unavailable
from antrean.provider.protocol import Provider

log = structlog.get_logger(__name__)


class Probed(Protocol):
    """A breaker, as far as probing it needs."""

    async def claim_probe(self) -> bool: ...
    async def probe_result(self, ok: bool, reason: str) -> None: ...


class Prober:
    """One step probes one breaker if it is its turn. `probe` makes exactly one free call, or raises ProviderError."""

    def __init__(self, name: str, breaker: Probed, probe: Callable[[], Awaitable[object]]) -> None:
        self._name = name
        self._breaker = breaker
        self._probe = probe

    async def run_once(self) -> bool:
        """One step; with Redis away nothing is asked.

        An answer that says no (a rejection, a used-up quota) is an answer: who gives it is there.
        """
        if not await self._breaker.claim_probe():
            return False
        ok, reason = True, "the probe was answered"
        try:
            await self._probe()
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
    """Lifts the quota hold by itself once the account has stamps again."""

    def __init__(self, store: OrderStore, provider: Provider) -> None:
        self._store = store
        self._provider = provider

    async def run_once(self) -> bool:
        """One step. Raises StoreUnavailable, ProviderError."""
        if "quota_exhausted" in (await self._store.situation()).holds and await self._provider.balance() > 0:
            await self._store.unhold("quota_exhausted", "quota probe")
            log.info("quota is back")
        return False
