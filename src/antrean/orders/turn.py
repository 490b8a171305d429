"""What a worker knows of the turn of one order that it is at."""

from __future__ import annotations

import asyncio

from antrean.orders.intent import Intent
from antrean.orders.model import Order
from antrean.provider.protocol import CallMeter


class Turn:
    """One turn of one order: its record at the claim, and what was sent since."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.meter = CallMeter(calls=order.calls)
        self.forgiven = order.forgiven
        self.intent: Intent | None = None
        #: The last write, where it was asked for ahead: its name, and what comes of it.
        self.ending: tuple[str, asyncio.Future[None]] | None = None

    @property
    def sent(self) -> bool:
        """Whether the last call may have left."""
        return self.intent is not None and self.intent.sent

    @property
    def tries(self) -> int:
        """Upstream calls that count against the order."""
        return self.meter.calls - self.forgiven

    def forgive(self) -> None:
        """The calls of this turn do not count."""
        self.forgiven += self.meter.calls - self.order.calls

    def unsay(self) -> None:
        """The calls of this turn were the fleet's question whether the upstream is well: no attempt of the order's."""
        self.meter.calls = self.order.calls
