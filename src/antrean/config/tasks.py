"""Ending what runs beside the work."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

#: Seconds after which a task that goes on is cancelled again.
AGAIN_S = 0.5


async def cancelled(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their end; what they ended with is the caller's to look at.

    A cancellation can be lost: `asyncio.wait_for` of Python 3.11, in which redis-py sends, swallows one that comes as
    its work is done. Such a task is cancelled again.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=AGAIN_S)
        for task in ended:
            if not task.cancelled():
                task.exception()  # looked at, so that asyncio says nothing of it
