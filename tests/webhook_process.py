"""Sends what is due in a process that a test can kill: `python tests/webhook_process.py REDIS_URL NOW_MS`."""

from __future__ import annotations

import asyncio
import sys

from redis.asyncio import Redis

from antrean.orders.outbox import Outbox
from antrean.orders.scripts import Scripts
from antrean.workers.outbound import Outbound
from antrean.workers.webhooks import WebhookSender
from orders_support import VAULT


async def main(url: str, now_ms: int) -> None:
    """One step."""
    redis = Redis.from_url(url, protocol=2)
    sender = WebhookSender(Outbox(Scripts(redis, lambda: now_ms), VAULT), Outbound(allow_private=True))
    await sender.run_once()
    await sender.drained()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
