"""The note that an order's call is about to leave, on disk before it does.

For a purchase the note is asked for in the same write as the permit for the call, and is made only where the permit was
granted. So a slot of the upstream's limit stands empty for one round trip to Redis between two calls, and not for two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from antrean.orders.model import ClaimLost, Order
from antrean.orders.states import State
from antrean.orders.store import OrderStore

#: A note older than this, in seconds, is not acted on; well below the time after which a silent worker loses its
#: claims.
INTENT_MAX_S = 3.0

_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Intent:
    """The intent of one turn. `op` gives each write its name; `call`: the number of the call that is about to leave.

    `sent`: whether the last call may have left.
    """

    def __init__(
        self,
        store: OrderStore,
        order: Order,
        op: Callable[[], str],
        target: State,
        note: str,
        call: Callable[[], int],
    ) -> None:
        self._store = store
        self._order = order
        self._op = op
        self._target = target
        self._note = note
        self._call = call
        self._early: tuple[asyncio.Future[bool], _Moment] | None = None
        self.sent = False

    def with_permit(self, permits: str, permit: str) -> None:
        """Write the note, if `permit` is in the sorted set `permits` when the write arrives.

        The permit was asked for just before, on the same connection.
        """
        if self._store.intents_wait:
            return  # intents wait for the disk, and everything sent after them waits as well: not for a mere chance
        asked_at = _Moment()
        noted = asyncio.ensure_future(self._begin((permits, permit)))
        noted.add_done_callback(looked_at)
        self._early = (noted, asked_at)

    async def before_send(self) -> None:
        """See that the note is on disk, directly before the request leaves.

        Raises ClaimLost, PurchasesHeld, StoreUnavailable.
        """
        early, self._early = self._early, None
        self.sent = False  # a repetition: the try before it provably did not happen
        if early is None or not await early[0] or early[1].old:
            early = None
            asked_at = _Moment()
            await self._begin(None)
        else:
            asked_at = early[1]
        if asked_at.old:
            # We were stopped on the way (SIGSTOP, a sleeping host): the sweeper may have given the order away.
            raise ClaimLost("the intent is too old to act on")
        self.sent = True

    async def _begin(self, permit: tuple[str, str] | None) -> bool:
        return await self._store.begin(
            self._order, self._op(), self._target, self._note, self._call(), permit
        )


class _Moment:
    """A moment on two clocks that nobody sets. The second one also runs while the machine sleeps."""

    def __init__(self) -> None:
        self._at = _clocks()

    @property
    def old(self) -> bool:
        """Whether it is longer ago than an intent may be."""
        return any(now - then > INTENT_MAX_S for now, then in zip(_clocks(), self._at, strict=True))


def _clocks() -> tuple[float, float]:
    return asyncio.get_running_loop().time(), time.clock_gettime(_UPTIME)


def looked_at(asked: asyncio.Future[Any]) -> None:
    """Callback for a write whose outcome may not matter any more: asyncio would complain about an unseen error."""
    if not asked.cancelled():
        asked.exception()
