"""Repeats a write that must not be lost because a store is away for a while."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


async def insist(
    write: Callable[[], Awaitable[T]],
    for_s: float,
    again_after: Callable[[Exception], bool],
    rng: random.Random,
    *,
    pause_first_s: float = 0.05,
    pause_max_s: float = 2.0,
) -> T:
    """What `write` answers. It is repeated, for `for_s` seconds, while it raises an error that `again_after` takes.

    Raises the last error. The pauses, in seconds, double from `pause_first_s` to `pause_max_s`, each varied by a half.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + for_s
    pause_s = pause_first_s
    while True:
        try:
            return await write()
        except Exception as error:
            if not again_after(error) or loop.time() + pause_s > end:
                raise
            await asyncio.sleep(pause_s * rng.uniform(0.5, 1.5))
            pause_s = min(pause_s * 2, pause_max_s)
