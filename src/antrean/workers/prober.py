"""Finds the recovery: while a breaker is open, one free probe an interval from the whole fleet, and nothing else."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from antrean.orders.store import OrderStore
from antrean.provider.errors import ProviderError
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
        """One step. Raises ProviderError where the breaker's state cannot be read."""
        if not await self._breaker.claim_probe():
            return False
        try:
            await self._probe()
        except ProviderError as error:
            log.info("probe failed", breaker=self._name, why=error.message)
            await self._breaker.probe_result(False, error.message)
            return False
        log.info("probe answered", breaker=self._name)
        await self._breaker.probe_result(True, "the probe was answered")
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
