"""Work that one process at a time may do, by a lease in Redis that is free again a minute after a crash."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.model import StoreUnavailable
from antrean.orders.scripts import Scripts

#: A lease ends by itself after LEASE_MS unless it is renewed, which is done RENEWALS times in that span.
LEASE_MS = 60_000
RENEWALS = 4
#: Longest wait for another process's work, and the pause between two looks, in seconds.
WAIT_MAX_S = 15.0
LOOK_EVERY_S = 0.02


class LeaseLost(StoreUnavailable):
    """The lease ended while this process stood still, and another one may hold it now."""


class Lease:
    """A lease of this process. It may be lost when the process stands still for longer than LEASE_MS."""

    def __init__(self, scripts: Scripts, name: str) -> None:
        self._scripts = scripts
        self._name = name
        self._token = secrets.token_hex(8)

    async def taken(self) -> bool:
        """Take it, unless somebody else has it. Raises StoreUnavailable."""
        redis, key = self._scripts.redis, keys.LEASE + self._name
        if await asked(redis.set(key, self._token, nx=True, px=LEASE_MS)):
            return True
        if await asked(redis.pttl(key)) > LEASE_MS:  # the server's clock was set back
            await asked(redis.pexpire(key, LEASE_MS))
        return False

    async def renew(self) -> None:
        """Make sure that it is ours still, and for LEASE_MS more. Raises LeaseLost, StoreUnavailable."""
        (code,) = await asked(self._scripts.run("keep_lease", self._name, self._token, LEASE_MS))
        if code != Code.OK:
            raise LeaseLost(f"another process is at the {self._name}")

    async def keep(self) -> None:
        """Renew it until cancelled, or until it is lost."""
        while True:
            await asyncio.sleep(LEASE_MS / 1000 / RENEWALS)
            try:
                await self.renew()
            except LeaseLost:
                return  # the block under the lease learns it when it calls `renew`
            except StoreUnavailable:
                continue

    async def end(self) -> None:
        """Give it back. Raises StoreUnavailable."""
        await asked(self._scripts.run("end_lease", self._name, self._token))


@asynccontextmanager
async def alone(scripts: Scripts, name: str, wait_s: float = WAIT_MAX_S) -> AsyncIterator[Lease]:
    """A block under the lease `name`: no other process is in such a block.

    Raises StoreUnavailable where the lease can not be had within `wait_s` seconds.
    """
    lease = Lease(scripts, name)
    end_s = asyncio.get_running_loop().time() + wait_s
    while not await lease.taken():
        if asyncio.get_running_loop().time() > end_s:
            raise StoreUnavailable(f"another process is at the {name}")
        await asyncio.sleep(LOOK_EVERY_S)
    keeping = asyncio.create_task(lease.keep())
    try:
        yield lease
    finally:
        keeping.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await keeping
        await lease.end()
