"""Work that one process does at a time, by a lease in Redis; after a crash it is free again in a minute."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.model import StoreUnavailable
from antrean.orders.scripts import Scripts

#: A lease ends by itself after this, in ms: far longer than any work under one.
LEASE_MS = 60_000
#: Longest wait for somebody else's work, in seconds, and between two looks.
WAIT_MAX_S = 15.0
LOOK_EVERY_S = 0.02


@asynccontextmanager
async def alone(scripts: Scripts, name: str, wait_s: float = WAIT_MAX_S) -> AsyncIterator[None]:
    """Nobody else is in a block of this name. Raises StoreUnavailable where that can not be had in time."""
    token, key = secrets.token_hex(8), keys.LEASE + name
    end_s = asyncio.get_running_loop().time() + wait_s
    while not await asked(scripts.redis.set(key, token, nx=True, px=LEASE_MS)):
        if await asked(scripts.redis.pttl(key)) > LEASE_MS:  # the server's clock was set back
            await asked(scripts.redis.pexpire(key, LEASE_MS))
        if asyncio.get_running_loop().time() > end_s:
            raise StoreUnavailable(f"another process is at the {name}")
        await asyncio.sleep(LOOK_EVERY_S)
    try:
        yield
    finally:
        await asked(scripts.run("end_lease", name, token))
