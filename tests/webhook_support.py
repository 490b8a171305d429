"""A world whose orders' ends are told by webhooks, and a receiver on loopback that hears them."""

from __future__ import annotations

import random
from typing import Any

from antrean.orders.model import Order
from antrean.orders.outbox import Outbox
from antrean.workers.outbound import Outbound
from antrean.workers.webhooks import WebhookSender
from orders_support import VAULT, World


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
