"""Lists of orders by their tag: of the pages of one office, the first that asks reads what all are answered."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any

#: Answers kept; the one that was made first gives way.
KEPT_MAX = 32


class SharedLists:
    """Answers, as bytes, by their tag."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, asyncio.Task[bytes]] = OrderedDict()

    async def of(self, tag: str, made: Coroutine[Any, Any, bytes]) -> bytes:
        """The answer of this tag; `made` makes it where nobody did. Those who ask meanwhile share it, and its error."""
        task = self._kept.get(tag)
        if task is None:
            task = self._kept[tag] = asyncio.create_task(made)
            task.add_done_callback(lambda done: self._forget_failed(tag, done))
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        else:
            made.close()
        return await asyncio.shield(task)

    def _forget_failed(self, tag: str, task: asyncio.Task[bytes]) -> None:
        if (task.cancelled() or task.exception()) and self._kept.get(tag) is task:
            del self._kept[tag]
