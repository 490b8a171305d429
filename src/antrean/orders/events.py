"""Changes of orders as they happen: one subscription per process, however many wait.

    hub.watch(order id) ── then read the order ── then watch.changed(timeout)

A watch is taken before the order is read, so no change falls between the two. Pub/sub drops what is published while the
connection is away. So after each new subscription all watches wake, and those who wait read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import PubSub
from redis.exceptions import RedisError

from antrean.orders import keys
from antrean.orders.seldom import Seldom

log = structlog.get_logger(__name__)

#: Longest pause between two tries to subscribe, in seconds, and the first.
RECONNECT_MAX_S = 2.0
RECONNECT_MIN_S = 0.1
#: Longest wait for one message, in seconds, after which the connection is asked for a sign of life.
QUIET_S = 5.0
#: The id in messages that concern all orders.
ALL = "*"


#: Most watches of one process: fewer than a gateway's connections (`gateway/server.py`), so that other calls get one.
WATCHES_MAX = 7_000


class TooManyWatches(Exception):
    """This process watches as many orders as it may."""


class Watch:
    """One who waits for changes of one order."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """Something has changed, or may have."""
        self._woken.set()

    async def changed(self, timeout_s: float) -> bool:
        """Wait for a wake-up since the last call; False when `timeout_s` is over."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._woken.wait()
        except TimeoutError:
            return False
        self._woken.clear()
        return True


class EventHub:
    """Listens on the orders' channel while `run` runs, and wakes the watches of the order that changed."""

    def __init__(self, redis: Redis, watches_max: int = WATCHES_MAX) -> None:
        self._redis = redis
        self._watches: dict[str, set[Watch]] = {}
        self._watches_max = watches_max
        self._count = 0
        self._heard = False
        self._trouble = Seldom()
        self.closing = False

    @property
    def watches(self) -> int:
        """How many watch just now."""
        return self._count

    @contextmanager
    def watch(self, order_id: str) -> Iterator[Watch]:
        """Watch an order while the block runs. Raises TooManyWatches."""
        if self._count >= self._watches_max:
            raise TooManyWatches
        watch = Watch()
        self._watches.setdefault(order_id, set()).add(watch)
        self._count += 1
        try:
            yield watch
        finally:
            self._count -= 1
            others = self._watches[order_id]
            others.discard(watch)
            if not others:
                del self._watches[order_id]

    def wake_all(self) -> None:
        """Wake every watch: something changed for all orders, or a change may have been missed."""
        for watches in self._watches.values():
            for watch in watches:
                watch.wake()

    def close(self) -> None:
        """The process stops: wake all who wait, so that they answer at once."""
        self.closing = True
        self.wake_all()

    async def run(self) -> None:
        """Listen until cancelled. A Redis that is away is tried again, for ever."""
        pause_s = RECONNECT_MIN_S
        while True:
            pubsub = self._redis.pubsub()
            self._heard = False
            try:
                await pubsub.subscribe(keys.EVENTS)
                await self._listen(pubsub)
            except (RedisError, OSError, TimeoutError) as error:
                if self._heard:
                    pause_s = RECONNECT_MIN_S
                if self._trouble.due(type(error).__name__):
                    log.warning("changes can not be heard just now", error=type(error).__name__)
            finally:
                # Closing waits for nothing but the socket; a second error here says nothing new.
                await asyncio.gather(pubsub.aclose(), return_exceptions=True)  # type: ignore[no-untyped-call]
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, RECONNECT_MAX_S)

    async def _listen(self, pubsub: PubSub) -> None:
        asked = False
        while True:
            message = await pubsub.get_message(timeout=QUIET_S)
            if message is None:
                if asked:
                    raise TimeoutError("no sign of life")
                await pubsub.ping()
                asked = True
                continue
            asked = False
            if not self._heard:
                self._heard = True
                if self._trouble.over():
                    log.info("changes are heard again")
            if message["type"] == "subscribe":
                self.wake_all()
            elif message["type"] == "message":
                self._wake(message["data"].partition(b" ")[0].decode())

    def _wake(self, order_id: str) -> None:
        if order_id == ALL:
            self.wake_all()
            return
        for watch in self._watches.get(order_id, ()):
            watch.wake()
