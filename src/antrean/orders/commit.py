"""Group commit: submissions that arrive together are on disk by one sync of the file.

With `appendfsync always` the server does it: after one fsync it answers all that it has read (promise 1, accepted is
kept), and we send the next ones meanwhile. With any other persistence WAITAOF must follow, and the whole connection
waits for it. So what arrives while one write is under way goes out together in the next, with one WAITAOF. Its counts
are checked, because WAITAOF answers with counts even when it timed out. With `always` the same batches, without a
WAITAOF, take what comes while ON_THE_WAY_MAX are on their way by themselves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from redis.exceptions import NoScriptError, RedisError

from antrean.orders.asking import asked, unavailable
from antrean.orders.model import StoreUnavailable
from antrean.orders.scripts import Arg, Scripts

log = structlog.get_logger(__name__)

#: Most submissions in one batch: it keeps the server busy for some milliseconds at most.
BATCH_MAX = 128
#: Most unanswered submissions that are sent one by one; the others wait for the next batch. Whatever is sent after them
#: on the connection waits for them all.
ON_THE_WAY_MAX = 256


@dataclass(frozen=True, slots=True)
class Durability:
    """How a write is known to be on disk. `waitaof`: by WAITAOF; `replicas`: on that many replicas as well."""

    waitaof: bool = False
    replicas: int = 0
    timeout_ms: int = 3000

    @property
    def tail(self) -> tuple[tuple[str | int, ...], ...]:
        """Commands that follow a batch."""
        if self.waitaof or self.replicas:
            return (("WAITAOF", 1, self.replicas, self.timeout_ms),)
        return ()

    def confirmed(self, answer: Any) -> bool:
        """Whether WAITAOF's counts say what we need."""
        local, replicas = answer
        return bool(local >= 1 and replicas >= self.replicas)


async def run_on_disk(scripts: Scripts, name: str, args: Sequence[Arg], durability: Durability) -> Any:
    """Run one script; its answer, once the write is where `durability` demands.

    Raises RedisError, StoreUnavailable: it is then not known whether the write was made.
    """
    if not durability.tail:
        return await scripts.run(name, *args)
    answer, counts = await scripts.run_many(name, [args], *durability.tail)
    if isinstance(answer, NoScriptError):
        await scripts.load()
        answer, counts = await scripts.run_many(name, [args], *durability.tail)
    if isinstance(answer, BaseException):
        raise answer
    if isinstance(counts, BaseException) or not durability.confirmed(counts):
        raise StoreUnavailable(f"Redis does not confirm {name} on disk")
    return answer


class GroupCommit:
    """Runs one script for many callers, durably. `waiting_max` bounds the callers that wait."""

    def __init__(
        self, scripts: Scripts, script: str, durability: Durability | None = None, waiting_max: int = 8192
    ) -> None:
        self._scripts = scripts
        self._script = script
        self.durability = durability or Durability()
        self._waiting: list[tuple[Sequence[Arg], asyncio.Future[list[Any]]]] = []
        self._waiting_max = waiting_max
        self._callers = 0
        self._on_the_way = 0
        self._task: asyncio.Task[None] | None = None

    async def run(self, args: Sequence[Arg]) -> list[Any]:
        """The script's answer, once it is on disk. Raises StoreUnavailable: the outcome is then not known."""
        if self._callers >= self._waiting_max:
            raise StoreUnavailable("too many submissions wait for the disk")
        self._callers += 1
        try:
            # Who comes now goes behind those who wait already.
            if self.durability.tail or self._waiting or self._on_the_way >= ON_THE_WAY_MAX:
                return await self._in_a_batch(args)
            return await self._alone(args)
        except (StoreUnavailable, asyncio.CancelledError):
            raise
        except Exception as error:
            log.exception("a submission could not be written")
            raise StoreUnavailable(f"the order can not be written: {type(error).__name__}") from error
        finally:
            self._callers -= 1

    async def _alone(self, args: Sequence[Arg]) -> list[Any]:
        self._on_the_way += 1
        try:
            answer: list[Any] = await asked(self._scripts.run(self._script, *args))
        finally:
            self._on_the_way -= 1
        return answer

    async def _in_a_batch(self, args: Sequence[Arg]) -> list[Any]:
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self._waiting.append((args, future))
        if self._task is None:
            self._task = asyncio.create_task(self._write())
        return await future

    async def _write(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[:BATCH_MAX], self._waiting[BATCH_MAX:]
                # Of a caller that went away meanwhile nothing is written.
                await self._write_batch([one for one in batch if not one[1].done()])
        finally:
            self._task = None

    async def _write_batch(self, batch: list[tuple[Sequence[Arg], asyncio.Future[list[Any]]]]) -> None:
        durability = self.durability
        tail = durability.tail
        try:
            answers = await self._scripts.run_many(self._script, [args for args, _ in batch], *tail)
            if any(isinstance(a, NoScriptError) for a in answers):
                await self._scripts.load()
                answers = await self._scripts.run_many(self._script, [args for args, _ in batch], *tail)
            counts = answers.pop() if tail else None
            on_disk = not tail or (not isinstance(counts, BaseException) and durability.confirmed(counts))
        except Exception as error:
            # Whatever it was, those who wait must be told.
            if not isinstance(error, RedisError | OSError):
                log.exception("submissions could not be written")
            answers = [error] * len(batch)
            on_disk = False
        for (_, future), answer in zip(batch, answers, strict=True):
            if future.done():
                continue
            if isinstance(answer, RedisError | OSError):
                future.set_exception(unavailable(answer))
            elif isinstance(answer, BaseException) or not on_disk:
                why = type(answer).__name__ if isinstance(answer, BaseException) else "not confirmed on disk"
                future.set_exception(StoreUnavailable(f"Redis does not take the order durably: {why}"))
            else:
                future.set_result(answer)
