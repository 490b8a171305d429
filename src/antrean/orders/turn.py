"""What a worker knows about the turn of an order that it is doing."""

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
        #: The last write of the turn, where it was sent ahead: its name, and its outcome.
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
        """The calls of this turn only asked whether the upstream is well: they are no attempts of the order."""
        self.meter.calls = self.order.calls
