"""The note that an order's call is about to leave: on disk before it does.

A purchase's is asked for in the same write as the call's permit, and is taken only where that is granted: a slot of
the upstream's limit stands empty for one round trip to Redis between two calls, not for two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from antrean.orders.model import ClaimLost, Order
from antrean.orders.states import State
from antrean.orders.store import OrderStore

#: An intent older than this, in seconds, is not acted on; well under the lease of a claim.
INTENT_MAX_S = 3.0

_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Intent:
    """That of one turn. `op`: names each write; `call`: the number of the call that is about to leave.

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
        """Note it where `permit`, asked for just before on the same connection, is among `permits` when it arrives."""
        if self._store.intents_wait:
            return  # for the disk, and with them all that is asked behind them: only for permits that are there
        asked_at = _Moment()
        noted = asyncio.ensure_future(self._begin((permits, permit)))
        noted.add_done_callback(looked_at)
        self._early = (noted, asked_at)

    async def before_send(self) -> None:
        """With all permits in hand, directly before the request leaves. Raises ClaimLost, StoreUnavailable."""
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
    """A moment on two clocks that nobody sets; the second goes on while the machine sleeps, as the loop's does not."""

    def __init__(self) -> None:
        self._at = _clocks()

    @property
    def old(self) -> bool:
        """Whether it is longer ago than an intent may be."""
        return any(now - then > INTENT_MAX_S for now, then in zip(_clocks(), self._at, strict=True))


def _clocks() -> tuple[float, float]:
    return asyncio.get_running_loop().time(), time.clock_gettime(_UPTIME)


def looked_at(asked: asyncio.Future[Any]) -> None:
    """For a write whose end may come to be of no interest: asyncio would complain of an error that nobody saw."""
    if not asked.cancelled():
        asked.exception()
