"""A value that many ask for, looked up once for all of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Cached(Generic[T]):
    """Keeps what `load` answered for `ttl_s` seconds. Those who ask during a look-up share it, and its error."""

    def __init__(
        self, load: Callable[[], Awaitable[T]], ttl_s: float, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._ttl_s = ttl_s
        self._clock_s = clock_s
        self._value: tuple[T, float] | None = None
        self._task: asyncio.Task[T] | None = None
        self._looks: set[asyncio.Task[T]] = set()

    async def get(self) -> T:
        """The value, at most `ttl_s` old. Raises what `load` raises; an error is not kept."""
        if self._value is not None and self._clock_s() < self._value[1]:
            return self._value[0]
        if self._task is None:
            self._task = asyncio.create_task(self._look())
            self._looks.add(self._task)
            self._task.add_done_callback(self._done)
        return await asyncio.shield(self._task)

    def forget(self) -> None:
        """Forget the value. A look-up under way counts no more: it may have begun before the change to be seen."""
        self._value = self._task = None

    async def _look(self) -> T:
        asked_s = self._clock_s()
        value = await self._load()
        if asyncio.current_task() is self._task:
            self._value = (value, asked_s + self._ttl_s)
        return value

    def _done(self, task: asyncio.Task[T]) -> None:
        self._looks.discard(task)
        if self._task is task:
            self._task = None
        if not task.cancelled():
            # Those who asked have it; with all of them gone it is nobody's error.
            task.exception()
