"""A world whose orders' ends are told by webhooks, and a receiver on loopback that hears them."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from antrean.orders.model import Order
from antrean.orders.outbox import Outbox
from antrean.workers.outbound import Outbound
from antrean.workers.webhooks import WebhookSender
from orders_support import VAULT, World
from receiver import Receiver, receiving


class Post(World):
    """A world with an outbox and a sender."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.outbox = Outbox(self.scripts, VAULT)
        self.sender = self.another_sender()

    def another_sender(self) -> WebhookSender:
        """As another worker has it."""
        return WebhookSender(self.outbox, Outbound(allow_private=True), random.Random(7))

    async def cancelled(self, url: str | None, **changes: Any) -> Order:
        """An order that was withdrawn: a notice is due."""
        order = await self.submit(webhook_url=url, **changes)
        await self.store.cancel(order.id)
        return await self.order(order.id)

    async def send(self) -> None:
        """All that is due now."""
        while await self.sender.run_once():
            await self.sender.drained()
        await self.sender.drained()

    async def send_until(self, condition: Any, step_ms: int, most: int = 2000) -> None:
        """Let time pass until something holds."""
        for _ in range(most):
            if await condition():
                return
            self.now_ms += step_ms
            await self.send()
        raise AssertionError("never")


@pytest.fixture(name="world")
async def post_world(redis: Redis) -> AsyncIterator[Post]:
    """For a test file that imports it."""
    world = Post(redis)
    yield world
    await world.sender.aclose()


@pytest.fixture(name="receiver")
async def webhook_receiver() -> AsyncIterator[Receiver]:
    """The same."""
    async with receiving() as receiver:
        yield receiver
