"""The layout of what we keep in Redis: one number for the whole database, so that no record has to carry it.

A release reads every layout up to `READS` and writes `WRITES`. The scripts hold to it: none touches a database of a
newer layout, and the first that stores a record of a newer one raises the number in the same step. So a change of
layout takes two releases: the first reads it (READS one higher), the next writes it (WRITES as well). Then neighbours
run side by side, and going back by one release works. A field that older releases may overlook is no new layout.

Layout 1 was written before the first release; 2 leaves out of a record what is as at acceptance (record.py) and packs
idempotency keys. Both are read.
"""

from __future__ import annotations

import asyncio

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from antrean.orders import keys
from antrean.orders.model import StoreUnavailable

READS = 2
WRITES = 2
#: Layout of a database that says nothing.
FIRST = 1
#: What the scripts answer with, before the number.
REFUSAL = "NEWERLAYOUT"
#: Seconds between a running gateway's looks at the number.
LOOK_EVERY_S = 1.0


class NewerLayout(StoreUnavailable):
    """The records are of a layout that this release does not know. The message says what to do."""

    def __init__(self, layout: int) -> None:
        super().__init__(
            f"The data in Redis has layout {layout}; this release knows layouts up to {READS}, and leaves it alone. "
            "Start the release that wrote it, or a later one. To go back to this one, restore a backup from before "
            'the upgrade (operations, "Upgrade").'
        )
        self.layout = layout


def lua_names() -> dict[str, str]:
    """The numbers as the scripts write them (`LAYOUT.READS`), and what stands for each."""
    numbers = {"READS": str(READS), "WRITES": str(WRITES), "FIRST": str(FIRST), "REFUSAL": f'"{REFUSAL}"'}
    return {f"LAYOUT.{name}": value for name, value in numbers.items()}


def refusal(error: RedisError) -> NewerLayout | None:
    """The refusal of a script that met a newer layout, or None where the error is another."""
    word, _, number = str(error).partition(" ")
    return NewerLayout(int(number)) if word == REFUSAL else None


def unanswered(error: Exception) -> str:
    """What is said where no answer came. redis-py counts a wrong password among lost connections."""
    if isinstance(error, AuthenticationError):
        return "Redis refuses the user or the password of its URL"
    return f"Redis does not answer: {type(error).__name__}"


async def layout_of(redis: Redis) -> int:
    """The layout of this database. Raises StoreUnavailable."""
    try:
        return int(await redis.get(keys.LAYOUT) or FIRST)
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(unanswered(error)) from error


async def require_known_layout(redis: Redis) -> None:
    """Raises NewerLayout where this release can not read what is there, StoreUnavailable."""
    if (layout := await layout_of(redis)) > READS:
        raise NewerLayout(layout)


async def watch_layout(redis: Redis) -> None:
    """Until a newer release has changed the layout: then raises NewerLayout."""
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        try:
            await require_known_layout(redis)
        except NewerLayout:
            raise
        except StoreUnavailable:
            continue
