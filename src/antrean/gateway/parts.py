"""What a gateway is made of. The wiring builds it; tests build it from the same classes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.keys import KeyRing
from antrean.gateway.ports import BreakerView
from antrean.orders.documents import DocumentStore
from antrean.orders.eta import Throughput
from antrean.orders.events import EventHub
from antrean.orders.outbox import Outbox
from antrean.orders.pdf import PdfChecker
from antrean.orders.pictures import Pictures
from antrean.orders.store import OrderStore
from antrean.orders.uploads import Uploads


@dataclass(frozen=True, slots=True)
class GatewayParts:
    """The objects behind the routes. `closers` are called at the end, in order."""

    settings: Settings
    redis: Redis
    store: OrderStore
    documents: DocumentStore
    pictures: Pictures
    uploads: Uploads
    pdf: PdfChecker
    hub: EventHub
    keys: KeyRing
    outbox: Outbox
    #: By name: `provider` and `adapter`.
    breakers: Mapping[str, BreakerView]
    #: Why orders can not be accepted durably just now; empty: they can.
    check_ready: Callable[[], Awaitable[list[str]]]
    #: The same for documents.
    check_documents: Callable[[], Awaitable[list[str]]]
    #: What the upstream's limits allow just now, all workers together.
    throughput: Callable[[], Awaitable[Throughput]]
    #: Writes a span of an order; None: traces are off.
    trace: Callable[[str, str, float, float, dict[str, str]], None] | None = None
    closers: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
