"""Builds the provider room from settings: the adapter, its breakers and limits, and the one composition."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.eta import Throughput
from antrean.provider.breaker import SharedBreaker
from antrean.provider.limiter import LimitRules
from antrean.provider.pacing import PaceBounds
from antrean.provider.peruri import PeruriAdapter, PeruriConfig
from antrean.provider.policy import BreakerRules, BreakerState
from antrean.provider.resilience import ResilientProvider, Watch, unwatched
from antrean.provider.token import SharedToken


@dataclass(frozen=True, slots=True)
class Breakers:
    """The two shared breakers."""

    provider: SharedBreaker
    adapter: SharedBreaker

    async def throughput(self) -> Throughput:
        """What both limits allow just now. Raises RedisError."""
        (provider, limit), (adapter, stamps) = await asyncio.gather(self.provider.look(), self.adapter.look())
        return Throughput(
            limit.limit,
            limit.in_flight,
            limit.per_s if provider.state is BreakerState.CLOSED else 0.0,
            stamps.per_s if adapter.state is BreakerState.CLOSED else 0.0,
        )


def build_breakers(settings: Settings, redis: Redis) -> Breakers:
    """The breakers and limits that all processes with this Redis share."""
    rules = BreakerRules(
        window_s=settings.breaker_window_s,
        min_calls=settings.breaker_min_calls,
        failure_rate=settings.breaker_failure_rate,
        slow_call_s=settings.breaker_slow_call_s,
        slow_rate=settings.breaker_slow_rate,
        probe_interval_s=settings.probe_interval_s,
    )

    def breaker(name: str, limit_max: int) -> SharedBreaker:
        return SharedBreaker(name, redis, keys.PROVIDER, rules, LimitRules(PaceBounds(limit_max)))

    return Breakers(
        breaker("provider", settings.upstream_concurrency_max),
        breaker("adapter", settings.adapter_concurrency_max),
    )


def build_adapter(settings: Settings, redis: Redis) -> PeruriAdapter:
    """The adapter that speaks to the upstream of these settings."""
    config = PeruriConfig(
        backend_url=settings.upstream_backend_url,
        stampv2_url=settings.upstream_stampv2_url,
        user=settings.upstream_user,
        password=settings.upstream_password.get_secret_value(),
        adapter_url=settings.upstream_adapter_url,
        shared_dir=settings.effective_shared_dir,
        remote_dir=settings.adapter_remote_dir,
        fileupload_url=settings.upstream_fileupload_url,
        stampservice_url=settings.upstream_stampservice_url,
        download_urls=tuple(filter(None, settings.upstream_download_urls.split(","))),
        timeout_s=settings.upstream_timeout_s,
        probe_timeout_s=min(settings.upstream_timeout_s, max(settings.probe_interval_s, 1.0)),
        concurrency_max=settings.upstream_concurrency_max + settings.adapter_concurrency_max,
    )
    return PeruriAdapter(config, SharedToken(redis, keys.PROVIDER, config.account))


def build_provider(
    settings: Settings, adapter: PeruriAdapter, breakers: Breakers, watch: Watch = unwatched
) -> ResilientProvider:
    """The adapter behind retry, breakers and limits; `watch` is told of every call."""
    return ResilientProvider(adapter, breakers.provider, breakers.adapter, watch=watch)
