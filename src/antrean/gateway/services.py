"""What handlers share: the parts, and what is looked up once for many requests."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import structlog
from aiohttp import web

from antrean.gateway.access_log import AccessLog
from antrean.gateway.cached import Cached
from antrean.gateway.long_reads import LongReads
from antrean.gateway.metrics import Metrics
from antrean.gateway.parts import GatewayParts
from antrean.gateway.problems import Problem
from antrean.gateway.ranks import Ranks
from antrean.gateway.ratelimit import (
    OLD_TICKETS_BURST,
    OLD_TICKETS_PER_S,
    WRONG_KEYS_BURST,
    WRONG_KEYS_PER_S,
    Buckets,
)
from antrean.gateway.sessions import Sessions
from antrean.gateway.shared_lists import SharedLists
from antrean.gateway.tickets import Tickets
from antrean.gateway.trend import Sample, Trend
from antrean.orders import eta, lateness
from antrean.orders.asking import asked_beside
from antrean.orders.course import CourseLog
from antrean.orders.holding import Glance, Outlook
from antrean.orders.lateness import Miss
from antrean.orders.model import StoreUnavailable
from antrean.orders.pace import PaceReader
from antrean.orders.promises import Promises
from antrean.orders.view import Pace

log = structlog.get_logger(__name__)

#: Readers share one look at the queue for this long, in seconds.
OUTLOOK_S = 0.25
#: The same for whether orders can be kept durably, and for the pace of the last minutes.
READY_S = 1.0
#: A readiness check that takes longer than this, in seconds, counts as "not ready".
READY_TIMEOUT_S = 1.5
PACE_S = 1.0
#: How often those who wait are told about a hold or breaker that came or went, in seconds.
HOLDS_EVERY_S = 1.0
#: Sign-ins with one key: each keeps a session in Redis until its end.
SIGN_INS_PER_S, SIGN_INS_BURST = 0.2, 30
#: PDFs that are held in memory at one time; each has at most `document_bytes_max` bytes.
UPLOADS_MAX = 16


@dataclass(frozen=True, slots=True)
class Seen:
    """The queue and the breakers, as they were seen at one moment."""

    outlook: Outlook
    breakers: Mapping[str, Mapping[str, Any]]


class Services:
    """One for each application."""

    def __init__(self, parts: GatewayParts) -> None:
        self.parts = parts
        self.metrics = Metrics()
        self.ranks = Ranks(parts.store)
        self.tickets = Tickets(parts.store, self.ranks)
        self.access_log = AccessLog(parts.redis)
        self.sessions = Sessions(parts.redis)
        self.key_buckets = Buckets(parts.settings.key_rate_per_s)
        self.wrong_keys = Buckets(WRONG_KEYS_PER_S, WRONG_KEYS_BURST)
        self.old_tickets = Buckets(OLD_TICKETS_PER_S, OLD_TICKETS_BURST)
        self.sign_ins = Buckets(SIGN_INS_PER_S, SIGN_INS_BURST)
        self.long_reads = LongReads()
        self.lists = SharedLists()
        self.uploads_slots = asyncio.Semaphore(UPLOADS_MAX)
        self.promises = Promises(parts.redis)
        self._pace_reader = PaceReader(parts.store, self.promises, CourseLog(parts.redis), parts.throughput)
        self.trend = Trend(self._sample)
        self._seen = Cached(self._look, OUTLOOK_S)
        self._pace = Cached(self._look_at_pace, PACE_S)
        self._misses = Cached(self._look_at_misses, PACE_S)
        # Two checks: a purchase needs no document, so it must not wait for a slow document store.
        self._ready = Cached(lambda: _reasons(parts.check_ready, "the order store"), READY_S)
        self._documents_ready = Cached(lambda: _reasons(parts.check_documents, "the document store"), READY_S)
        self.base_url = parts.settings.public_url.rstrip("/")

    async def seen(self) -> Seen:
        """The queue and the breakers, at most OUTLOOK_S old. Raises StoreUnavailable."""
        return await self._seen.get()

    async def seen_now(self) -> Seen:
        """The same from a fresh look, for the few who ask for numbers. Raises StoreUnavailable."""
        self._seen.forget()
        return await self._seen.get()

    async def pace(self) -> Pace:
        """Completions of the last minutes. Raises StoreUnavailable."""
        return await self._pace.get()

    async def misses(self) -> list[Miss]:
        """Samples of orders that will miss their deadline at the present or last known pace.

        Where orders are held, or no worker is alive: of those that are due soon. Raises StoreUnavailable.
        """
        return await self._misses.get()

    def breakers_changed(self) -> None:
        """A breaker or hold was changed by hand: the next look is a fresh one."""
        self._seen.forget()
        self._misses.forget()
        self.parts.hub.wake_all()

    async def not_ready(self) -> list[str]:
        """Why orders can not be accepted durably, at most READY_S old; empty: they can."""
        if self.parts.hub.closing:
            return ["this gateway is stopping"]
        return [reason for reasons in (await self.readiness()).values() for reason in reasons]

    async def keeps_orders(self) -> bool:
        """Whether the order store keeps what is accepted, and is the one that this gateway began with."""
        return not await self._ready.get()

    async def readiness(self) -> dict[str, list[str]]:
        """The same for `orders` and for `documents`."""
        orders, documents = await asyncio.gather(self._ready.get(), self._documents_ready.get())
        return {"orders": orders, "documents": documents}

    async def require_ready(self, documents: bool) -> None:
        """Raises Problem where an order, or one with a document, could not be accepted durably."""
        if self.parts.hub.closing or await self._ready.get():
            raise Problem("not-ready", "Orders can not be accepted just now. Try again with the same key.")
        if documents and await self._documents_ready.get():
            raise Problem("not-ready", "Documents can not be kept just now. Try again with the same key.")

    async def tell_of_holds(self) -> None:
        """Until cancelled: wake those who wait when a hold, a breaker or the only worker comes or goes: then no order
        changes."""
        before: object = None
        while True:
            await asyncio.sleep(HOLDS_EVERY_S)
            # Another gateway of this port may be the one that is asked for the sum.
            self.metrics.watched(self.parts.hub.watches)
            if not self.parts.hub.watches:
                continue
            try:
                now = (await self.seen()).outlook.stops, (await self.pace()).workers > 0
            except StoreUnavailable:
                continue
            if before is not None and now != before:
                self.parts.hub.wake_all()
            before = now

    async def _look(self) -> Seen:
        breakers = self.parts.breakers
        situation, *statuses = await asyncio.gather(
            self.parts.store.situation(), *(asked_beside(b.status) for b in breakers.values())
        )
        by_name = dict(zip(breakers, statuses, strict=True))
        return Seen(Outlook(situation, _glance(by_name["provider"]), _glance(by_name["adapter"])), by_name)

    async def _look_at_pace(self) -> Pace:
        now_ms = (await self.seen()).outlook.situation.now_ms
        return await self._pace_reader.read(now_ms)

    async def _look_at_misses(self) -> list[Miss]:
        store = self.parts.store
        outlook, pace = (await self.seen()).outlook, await self.pace()
        now_ms = outlook.situation.now_ms
        per_s = eta.per_second(pace.completed, pace.elapsed_s)
        if per_s is None:  # nothing was completed lately: the last known pace, as far back as counts are kept
            per_s = eta.last_known(await store.completions(now_ms, eta.SPANS_KEPT))
        stopped = lateness.stopped_lanes(outlook) if pace.workers else lateness.ALL_STOPPED
        return lateness.misses(await store.lanes.dues(), outlook.places, per_s, now_ms, stopped)

    async def _sample(self) -> Sample:
        # Not through the cached looks: this sample answers nobody, and must not make somebody's answer an old one.
        # Readiness is asked for as well: a gateway without visitors, too, tells the others which key it seals with, and
        # where it keeps documents.
        seen, *_ = await asyncio.gather(self._look(), self._ready.get(), self._say_where_documents_are())
        situation = seen.outlook.situation
        pace = await self._pace_reader.read(situation.now_ms)
        calls = pace.throughput
        return Sample(
            situation.now_ms, situation.open, calls.in_flight, calls.limit, round(pace.per_minute, 1)
        )

    async def _say_where_documents_are(self) -> None:
        # What is wrong with them is told by the readiness. A disk that hangs must not stop the samples.
        with contextlib.suppress(OSError, StoreUnavailable, TimeoutError):
            async with asyncio.timeout(READY_TIMEOUT_S):
                await self.parts.documents.claim()

    def store_is_away(self) -> None:
        """A request has just found the store away: the next look at readiness is a fresh one."""
        self._ready.forget()


async def _reasons(check: Callable[[], Awaitable[list[str]]], what: str) -> list[str]:
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            reasons = await check()
    except TimeoutError:
        reasons = [f"{what} did not answer in {READY_TIMEOUT_S:g} seconds"]
    if reasons:
        log.warning("not ready", reasons=reasons)
    return reasons


def _glance(status: Mapping[str, Any]) -> Glance:
    since: datetime = status["since"]
    holds = status["state"] != "closed"
    # A closed breaker holds nothing back, so nobody asks since when; one that was never used says "now" at each look.
    return Glance(holds, int(since.timestamp() * 1000) if holds else 0, status["override"] is not None)


SERVICES = web.AppKey("services", Services)
