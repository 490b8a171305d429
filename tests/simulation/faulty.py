"""Faults of one history, drawn from its seed: what Redis does to a command, what the upstream does to a call."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError


class Killed(BaseException):
    """SIGKILL: no except clause and no finally of ours is meant to see it."""


@dataclass
class Chance:
    """How often each fault strikes in this history; all end at `until_s` of virtual time."""

    rng: random.Random
    rates: dict[str, float]
    until_s: float
    struck: Counter[str] = field(default_factory=Counter)

    def strikes(self, fault: str) -> bool:
        """Whether this fault strikes here and now."""
        if asyncio.get_running_loop().time() > self.until_s or self.rng.random() >= self.rates.get(
            fault, 0.0
        ):
            return False
        self.struck[fault] += 1
        return True

    @classmethod
    def draw(cls, rng: random.Random, until_s: float) -> Chance:
        """A profile: some faults off, some rare, some frequent."""
        faults = {
            "redis_refuses": 0.02,
            "redis_answer_lost": 0.02,
            "kill_before": 0.01,
            "kill_after": 0.02,
            "pause": 0.02,
            "refused": 0.1,
            "unavailable": 0.1,
            "generate_lost_before": 0.1,
            "generate_lost_after": 0.15,
            "generate_late": 0.1,
            "stamp_lost": 0.15,
            "ask_fails": 0.1,
            "job_lost": 0.1,
            "job_doubled": 0.1,
            "clock_set": 0.1,
        }
        return cls(rng, {f: rng.choice((0.0, 0.5, 1.5, 4.0)) * rate for f, rate in faults.items()}, until_s)


class FaultyRedis:
    """The few commands the store needs, over a blocking client: nothing is awaited, so a seed repeats exactly."""

    def __init__(self, client: redis.Redis, chance: Chance, actor: str) -> None:
        self._client = client
        self._chance = chance
        self.actor = actor
        self.paused_until_s = 0.0

    async def _do(self, name: str, *args: Any, **kwargs: Any) -> Any:
        await self._before()
        answer = getattr(self._client, name)(*args, **kwargs)
        return self._after(answer)

    async def _before(self) -> None:
        loop = asyncio.get_running_loop()
        if self.actor.startswith("w"):
            if self._chance.strikes("kill_before"):
                raise Killed
            if self._chance.strikes("pause"):
                # SIGSTOP: every task of this worker stands still until then.
                self.paused_until_s = loop.time() + self._chance.rng.uniform(0.1, 40)
        # A small delay makes the order of steps a matter of the seed.
        await asyncio.sleep(self._chance.rng.uniform(0.0001, 0.003))
        while loop.time() < self.paused_until_s:
            await asyncio.sleep(self.paused_until_s - loop.time())
        if self._chance.strikes("redis_refuses"):
            raise RedisConnectionError("refused")

    def _after(self, answer: Any) -> Any:
        if self.actor.startswith("w") and self._chance.strikes("kill_after"):
            raise Killed
        if self._chance.strikes("redis_answer_lost"):
            raise RedisConnectionError("answer lost")
        return answer

    def evalsha(self, *args: Any) -> Any:
        return self._do("evalsha", *args)

    def eval(self, *args: Any) -> Any:
        return self._do("eval", *args)

    def get(self, *args: Any) -> Any:
        return self._do("get", *args)

    def hgetall(self, *args: Any) -> Any:
        return self._do("hgetall", *args)

    def hmget(self, *args: Any) -> Any:
        return self._do("hmget", *args)

    def zrank(self, *args: Any) -> Any:
        return self._do("zrank", *args)

    def zrange(self, *args: Any, **kwargs: Any) -> Any:
        return self._do("zrange", *args, **kwargs)

    def pipeline(self, transaction: bool = False) -> FaultyPipeline:
        return FaultyPipeline(self, self._client.pipeline(transaction=transaction))


class FaultyPipeline:
    """A batch: refused as a whole, or done as a whole with its answer lost."""

    def __init__(self, owner: FaultyRedis, pipe: Any) -> None:
        self._owner = owner
        self._pipe = pipe

    def evalsha(self, *args: Any) -> None:
        self._pipe.evalsha(*args)

    def script_load(self, text: str) -> None:
        self._pipe.script_load(text)

    async def execute(self, raise_on_error: bool = True) -> Any:
        await self._owner._before()
        return self._owner._after(self._pipe.execute(raise_on_error=raise_on_error))
