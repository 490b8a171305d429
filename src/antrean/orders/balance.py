"""Watches the account's balance: a drop that nothing explains stops purchases, and ops are told."""

from __future__ import annotations

import structlog

from antrean.orders.holding import BALANCE, QUOTA
from antrean.orders.resolve import Resolver
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.walk import Walk
from antrean.orders.witness import unexplained
from antrean.provider.errors import ProviderError
from antrean.provider.protocol import Provider

log = structlog.get_logger(__name__)

#: After this many looks in a row that show a drop, the next one stops purchases.
LOOKS_MIN = 2
#: How often that is put off because orders in hand may explain the drop.
PUT_OFF_MAX = 3
#: After this many failed readings of the account's list, a drop counts without the list.
UNREAD_MAX = 5


class BalanceWatch:
    """One step compares the balance with our books, and keeps the baseline that the resolver uses."""

    def __init__(self, store: OrderStore, provider: Provider, resolver: Resolver) -> None:
        self._store = store
        self._provider = provider
        self._resolver = resolver
        self._drops_in_a_row = 0
        self._strange = 0
        self._put_off = 0
        self._unread = 0

    async def run_once(self) -> bool:
        """One look; True where it is to be repeated soon. Raises StoreUnavailable, ProviderError."""
        before = await self._store.situation()
        books = await self._store.account.read()
        balance = await self._provider.balance()
        account = await self._store.account.read()
        after = await self._store.situation()
        on_the_way = max(s.by_state[State.BUYING] + s.unknown for s in (before, after))
        unnamed = account.unnamed(balance)
        quiet = on_the_way == 0 and books.bought == account.bought
        held = BALANCE in after.holds
        # The books were read again after the balance, so they may name purchases that the balance does not show yet.
        drop = 0 if unnamed is None else unnamed - on_the_way
        if drop > 0:
            # An account without stamps buys nothing anyway: the quota hold says why, until the quota is back.
            used_up = QUOTA in after.holds and balance <= 0
            return await self._dropped(drop, may_hold=not held and not used_up)
        self._drops_in_a_row = self._put_off = 0
        # Purchases on their way may hide a drop; they explain none.
        if held and unnamed is not None and unnamed <= 0:
            await self._store.unhold(BALANCE, "balance watch")
            log.warning("balance explained again")
        if quiet:
            if unnamed is not None and unnamed < 0:
                log.info("balance went up", stamps=-unnamed)
            await self._store.account.set_baseline(balance, account.bought)
        return False

    async def _dropped(self, drop: int, *, may_hold: bool) -> bool:
        """One look that shows `drop` stamps gone that nothing explains; True where the next look must come soon."""
        if self._drops_in_a_row == LOOKS_MIN - 1:
            walk = await self._what_the_list_knows()
            self._strange = walk.strange
            left = drop - walk.taken - walk.strange
            if 0 < left <= walk.busy and self._put_off < PUT_OFF_MAX:
                # Orders in hand may be the rest of it; those of dead workers are free by the next look.
                self._put_off += 1
                return False
        self._drops_in_a_row += 1
        if self._drops_in_a_row > LOOKS_MIN and may_hold:
            await self._store.hold(BALANCE, self._evidence(drop), "balance watch")
            log.error("balance unexplained", stamps=drop)
        return self._drops_in_a_row <= LOOKS_MIN

    def _evidence(self, drop: int) -> str:
        """What ops are told, who have to decide."""
        text = unexplained(drop, self._strange)
        if self._unread:
            text += ". The account's list, which may know of them, can not be read"
        return text

    async def _what_the_list_knows(self) -> Walk:
        """Walk to the list's end. A list that can not be read leaves this look undecided, but not for ever."""
        try:
            walk = await self._resolver.walk(None)
        except ProviderError as error:
            self._unread += error.tried
            if self._unread < UNREAD_MAX:
                raise
            return Walk()
        self._unread = 0
        return walk
