"""Builds the gateway from settings. The breakers are shown to it through `BreakerPort`: it knows no upstream."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from antrean.config.documents import build_documents
from antrean.config.durability import check_durability, fails
from antrean.config.personal_keys import open_vault, say_sealing
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.config.store import build_store, durability_of, follow_durability
from antrean.config.tracing import build_trace
from antrean.config.upstream import build_breakers
from antrean.gateway.keys import KeyRing, register_given_keys
from antrean.gateway.parts import GatewayParts
from antrean.gateway.ports import RetryBudget
from antrean.orders.commit import GroupCommit
from antrean.orders.documents import DocumentStoreUnavailable
from antrean.orders.events import EventHub
from antrean.orders.layout import require_known_layout
from antrean.orders.model import StoreUnavailable
from antrean.orders.outbox import Outbox
from antrean.orders.pdf import PdfChecker
from antrean.orders.pictures import Pictures
from antrean.orders.uploads import Uploads
from antrean.provider.breaker import SharedBreaker
from antrean.provider.policy import BreakerState


class BreakerPort:
    """One shared breaker as the gateway's `BreakerView`."""

    def __init__(self, breaker: SharedBreaker) -> None:
        self._breaker = breaker

    async def status(self) -> Mapping[str, Any]:
        """The breaker's fields as the API names them."""
        return dataclasses.asdict(await self._breaker.status())

    async def override(
        self, state: Literal["open", "closed"], reason: str, actor: str, expires_in_s: float
    ) -> None:
        """Force a state."""
        await self._breaker.override(BreakerState(state), reason, actor, expires_in_s)

    async def lift_override(self, actor: str, reason: str) -> bool:
        """End the override."""
        return await self._breaker.lift_override(actor, reason)

    async def history(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The last changes, newest first."""
        return [dataclasses.asdict(change) for change in await self._breaker.history(limit)]

    async def retry_budget(self) -> RetryBudget:
        """The fleet's retries of this breaker's calls."""
        _, limit = await self._breaker.look()
        return RetryBudget(limit.retry_tokens, limit.retries, limit.retries_refused)


async def gateway_parts(settings: Settings, *, again: bool = False) -> GatewayParts:
    """All that a gateway works with. `again`: one before it worked on this Redis.

    Raises RedisError or StoreUnavailable where the server cannot be asked how it keeps things, WrongRing where its
    orders are encrypted with other keys, NewerLayout where a later release wrote them.
    """
    redis = connect(settings.effective_redis_url, settings)
    await require_known_layout(redis)
    durability = await durability_of(redis, settings)
    vault = await open_vault(settings, redis, seals=True, again=again)
    store = build_store(settings, redis, durability, vault)
    ring = KeyRing(redis)
    await register_given_keys(ring, settings)
    documents = build_documents(settings, redis)
    breakers = build_breakers(settings, redis)
    pdf = PdfChecker(pages_max=settings.document_pages_max)
    uploads = GroupCommit(store.scripts, "upload", durability)

    async def check_ready() -> list[str]:
        # At once: asked one after the other, a Redis that is half a second away would be too far to accept anything.
        found, sealing = await asyncio.gather(
            check_durability(redis, replicas_min=settings.redis_replicas_min), follow_and_say_sealing()
        )
        return [f"{f.check}: {f.seen}" for f in fails(found)] or sealing

    async def follow_and_say_sealing() -> list[str]:
        try:
            _, reasons = await asyncio.gather(
                follow_durability(store, redis, settings), say_sealing(vault, store.scripts)
            )
        except StoreUnavailable as error:
            return [f"order store: {error}"]
        uploads.durability = store.durability
        return reasons

    async def check_documents() -> list[str]:
        try:
            await documents.claim()
            await documents.check_writable()
        except (DocumentStoreUnavailable, StoreUnavailable) as error:
            return [f"document store: {error}"]
        return []

    return GatewayParts(
        settings=settings,
        redis=redis,
        store=store,
        documents=documents,
        pictures=Pictures(store.scripts, documents),
        uploads=Uploads(store.scripts, uploads, documents),
        pdf=pdf,
        hub=EventHub(redis),
        keys=ring,
        outbox=Outbox(store.scripts, vault),
        breakers={
            "provider": BreakerPort(breakers.provider),
            "adapter": BreakerPort(breakers.adapter),
        },
        check_ready=check_ready,
        check_documents=check_documents,
        throughput=breakers.throughput,
        trace=build_trace(settings, "gateway"),
        closers=[
            documents.let_go,
            pdf.aclose,
            breakers.provider.aclose,
            breakers.adapter.aclose,
            redis.aclose,
        ],
    )
