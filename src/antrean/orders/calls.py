"""Upstream calls as the fleet made them: counts and times that workers leave in Redis, for `/metrics` to read.

A worker has no HTTP of its own, so it counts in memory and adds to one hash every second; a SIGKILL costs the
counts of that second, and nothing else depends on them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.asking import asked

#: Upper bounds of the histogram, in seconds.
BOUNDS_S: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_OVER: Final = "+Inf"


@dataclass(frozen=True, slots=True)
class CallStats:
    """One kind of call. `buckets`: how many took at most each bound, cumulative, the last one all."""

    outcomes: dict[str, int]
    buckets: tuple[tuple[str, int], ...]
    sum_s: float


class CallTally:
    """Counts of one worker since the last flush."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._new: Counter[str] = Counter()

    def called(self, call: str, outcome: str, took_s: float) -> None:
        """A call ended. `outcome`: `ok`, or the kind of error."""
        bound = next((f"{b:g}" for b in BOUNDS_S if took_s <= b), _OVER)
        self._new[f"{call}|n|{outcome}"] += 1
        self._new[f"{call}|le|{bound}"] += 1
        self._new[f"{call}|ms|"] += round(took_s * 1000)

    async def flush(self) -> bool:
        """Add what is new to the fleet's counts. Raises StoreUnavailable; the counts of that time are lost."""
        new, self._new = self._new, Counter()
        if new:
            pipe = self._redis.pipeline(transaction=False)
            for field, count in new.items():
                pipe.hincrby(keys.CALLS, field, count)
            await asked(pipe.execute())
        return False


async def read_calls(redis: Redis) -> dict[str, CallStats]:
    """Counts by call, of all workers since the server's data began. Raises StoreUnavailable."""
    raw = await asked(redis.hgetall(keys.CALLS))
    found: dict[str, dict[str, dict[str, int]]] = {}
    for field, count in raw.items():
        call, what, label = field.decode().split("|", 2)
        found.setdefault(call, {}).setdefault(what, {})[label] = int(count)
    stats = {}
    for call, parts in sorted(found.items()):
        total, buckets = 0, []
        for bound in (*(f"{b:g}" for b in BOUNDS_S), _OVER):
            total += parts.get("le", {}).get(bound, 0)
            buckets.append((bound, total))
        stats[call] = CallStats(parts.get("n", {}), tuple(buckets), parts.get("ms", {}).get("", 0) / 1000)
    return stats
