"""A gateway on a real Valkey behind aiohttp's test server, with keys for every role; only the breakers are made up."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer
from multidict import CIMultiDict
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.app import create_app
from antrean.gateway.keys import KeyRing, Role
from antrean.gateway.parts import GatewayParts
from antrean.gateway.ports import RetryBudget
from antrean.orders.commit import GroupCommit
from antrean.orders.documents import DocumentStore
from antrean.orders.eta import Throughput
from antrean.orders.events import EventHub
from antrean.orders.model import Order
from antrean.orders.outbox import Outbox
from antrean.orders.pdf import PdfChecker
from antrean.orders.pictures import Pictures
from antrean.orders.scripts import Scripts
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.submitting import Limits
from antrean.orders.uploads import Uploads
from contract import assert_fits
from orders_support import VAULT, note_vault
from pdf_samples import pdf, stamped

OFFICE, OTHER = "MDN-01", "JKT-07"
NIK = "1271010101900001"
NAME = "Siti Aminah"
PNG = b"\x89PNG made up"
_numbers = itertools.count(1)


@dataclass
class ScriptedBreaker:
    """A breaker that is as the test says."""

    state: str = "closed"
    override_now: dict[str, Any] | None = None
    lifted_for: str | None = None
    since: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def status(self) -> Mapping[str, Any]:
        return {
            "state": self.override_now["state"] if self.override_now else self.state,
            "since": self.since,
            "reason": None,
            "failure_rate": 0.0,
            "slow_rate": 0.0,
            "calls_in_window": 0,
            "next_probe_at": None,
            "override": self.override_now,
        }

    async def override(
        self, state: Literal["open", "closed"], reason: str, actor: str, expires_in_s: float
    ) -> None:
        until = datetime.now(UTC) + timedelta(seconds=expires_in_s)
        self.override_now = {"state": state, "reason": reason, "actor": actor, "expires_at": until}

    async def lift_override(self, actor: str, reason: str) -> bool:
        del actor
        self.lifted_for = reason
        was, self.override_now = self.override_now, None
        return was is not None

    async def history(self, limit: int) -> Sequence[Mapping[str, Any]]:
        return [][:limit]

    async def retry_budget(self) -> RetryBudget:
        return RetryBudget(2.5, 3, 1)


@dataclass
class Gateway:
    """A running gateway and what a test does with it."""

    client: TestClient[Any, Any]
    parts: GatewayParts
    keys: dict[tuple[str, str], str]
    provider: ScriptedBreaker
    adapter: ScriptedBreaker
    not_ready: list[str]
    no_documents: list[str]

    async def call(
        self, method: str, path: str, role: str | None = "terminal", office: str = OFFICE, **kwargs: Any
    ) -> ClientResponse:
        """One request; `role` None sends no key. Every answer is held to the OpenAPI document."""
        headers = CIMultiDict[str](kwargs.pop("headers", {}))
        if role is not None:
            headers["Authorization"] = f"Bearer {self.keys[role, office]}"
        answer = await self.client.request(method, path, headers=headers, **kwargs)
        whole = None if answer.content_type == "text/event-stream" else await answer.read()
        assert_fits(method, path, answer.status, answer.content_type, whole)
        return answer

    async def as_ops(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        """What an ops key is answered, which must be a 200."""
        answer = await self.call(method, path, role="ops", **more)
        assert answer.status == 200, await answer.text()
        found: dict[str, Any] = await answer.json()
        return found

    async def submit(self, body: Any = None, key: str | None = None, **kwargs: Any) -> ClientResponse:
        """One submission with a key of its own."""
        headers = {"Idempotency-Key": key or f"key-{next(_numbers)}"} | kwargs.pop("headers", {})
        return await self.call("POST", "/v1/orders", json=body or purchase(), headers=headers, **kwargs)

    async def order(self, **kwargs: Any) -> dict[str, Any]:
        """An order that was accepted."""
        answer = await self.submit(**kwargs)
        assert answer.status == 202, await answer.text()
        shown: dict[str, Any] = await answer.json()
        return shown

    async def upload(self, data: bytes | None = None, **kwargs: Any) -> ClientResponse:
        """One upload as application/pdf."""
        headers = {"Content-Type": "application/pdf"}
        return await self.call("POST", "/v1/documents", data=data or pdf(), headers=headers, **kwargs)

    async def claimed(self, order_id: str) -> Order:
        """The order in a worker's hands."""
        await self.parts.store.beat("w")
        claim = await self.parts.store.claim(order_id, "w", f"op-{next(_numbers)}")
        assert claim is not None
        return claim.order

    async def buy(self, order_id: str, serial: str | None = None) -> Order:
        """The order with an SN bought for it; a purchase is still claimed."""
        order = await self.claimed(order_id)
        store = self.parts.store
        await store.begin(order, f"op-{next(_numbers)}", State.BUYING, "asking", 1)
        await store.bought(order, f"op-{next(_numbers)}", serial or f"SERIAL{next(_numbers):06}", 1)
        return order

    async def attention(self, order_id: str, *, bought: bool = False) -> None:
        """The order waits for a person, with or without an SN of its own."""
        order = await (self.buy(order_id) if bought else self.claimed(order_id))
        await self.parts.store.refuse(order, f"op-{next(_numbers)}", "attend", "made_up", "A test.", 1)

    async def complete_purchase(self, order_id: str) -> None:
        """The whole way of a purchase."""
        order = await self.buy(order_id)
        await self.parts.documents.put_qr(order_id, PNG)
        await self.parts.store.complete(order, f"op-{next(_numbers)}", 1)

    async def complete_affix(self, order_id: str) -> None:
        """The whole way of an affix that buys its SN."""
        await self.buy(order_id)
        order = await self.claimed(order_id)
        store = self.parts.store
        await store.begin(order, f"op-{next(_numbers)}", State.STAMPING, "stamping", 2)
        await self.parts.documents.put_qr(order_id, PNG)
        await self.parts.documents.put_stamped(order_id, stamped(pdf()))
        await store.complete(order, f"op-{next(_numbers)}", 2, "sha")


def purchase(**changes: Any) -> dict[str, Any]:
    """The body of a purchase, as the API's page shows it."""
    body: dict[str, Any] = {
        "kind": "purchase",
        "document": {"type_code": "4b", "number": "SK-1", "date": "2024-09-04", "filename": "surat.pdf"},
        "taxpayer": {"identity_type": "KTP", "identity_number": NIK, "name": NAME},
        "deadline": None,
        "reference": None,
        "webhook_url": None,
    }
    return body | changes


def day_from_now(days: int) -> str:
    """The day so many days from now, as the API takes it."""
    return (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%d")


def affix(document_id: str, **changes: Any) -> dict[str, Any]:
    """The body of an affix."""
    at = {"page": 1, "x": 400, "y": 60, "width": 90, "height": 90}
    return purchase(kind="affix", document_id=document_id, placement=at) | changes


@asynccontextmanager
async def running_gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    """A gateway that runs while the block does."""
    not_ready: list[str] = []
    no_documents: list[str] = []
    provider, adapter = ScriptedBreaker(), ScriptedBreaker()

    async def check_ready() -> list[str]:
        return list(not_ready)

    async def check_documents() -> list[str]:
        return list(no_documents)

    async def throughput() -> Throughput:
        return Throughput(limit=4, in_flight=3)

    scripts = Scripts(redis)
    limits = Limits(settings.backlog_max, settings.office_backlog_max)
    store = OrderStore(scripts, GroupCommit(scripts, "submit"), limits, vault=VAULT)
    documents = DocumentStore.from_url(settings.effective_document_store)
    await note_vault(redis)
    ring = KeyRing(redis)
    keys = {
        (role.value, office): await ring.create(role, office) for role in Role for office in (OFFICE, OTHER)
    }
    async with PdfChecker(settings.document_pages_max, processes=1) as checker:
        parts = GatewayParts(
            settings=settings,
            redis=redis,
            store=store,
            documents=documents,
            pictures=Pictures(store.scripts, documents),
            uploads=Uploads(scripts, GroupCommit(scripts, "upload"), documents),
            pdf=checker,
            hub=EventHub(redis),
            keys=ring,
            outbox=Outbox(scripts, VAULT),
            breakers={"provider": provider, "adapter": adapter},
            check_ready=check_ready,
            check_documents=check_documents,
            throughput=throughput,
        )
        async with TestClient(TestServer(create_app(parts))) as client:
            yield Gateway(client, parts, keys, provider, adapter, not_ready, no_documents)
