"""The best that anybody could have done: a schedule that knows the upstream's capacity and all arrivals in advance.

Purchases are jobs of equal length. Taking, for each place that the upstream has to give, the order in hand that is
due first, and passing over what is late already, gives the least number of late ones; those follow at the end of the
line. Only purchases are counted: stamping on top could make it no better, so this is a bound.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.replay.outcome import OrderOutcome


@dataclass(frozen=True, slots=True)
class Best:
    """`waits_s`: from arrival to done, in the order of the orders given."""

    missed: int
    waits_s: tuple[float, ...]
    end_s: float


def places(
    phases: Sequence[tuple[float, str, str]], full_per_s: float, half_per_s: float
) -> list[tuple[float, float, float]]:
    """Spans of time with a capacity: from, until, purchases a second. The last one has no end."""
    ends = [start for start, _, _ in phases[1:]] + [float("inf")]
    per_s = {"up": full_per_s, "half": half_per_s, "down": 0.0}
    return [(start, end, per_s[health]) for (start, _, health), end in zip(phases, ends, strict=True)]


def best_schedule(orders: Sequence[OrderOutcome], spans: Sequence[tuple[float, float, float]]) -> Best:
    """Schedule all of them. The last span must have a capacity."""
    coming = sorted(range(len(orders)), key=lambda i: orders[i].arrived_s)
    on_time: list[tuple[float, int]] = []
    late: list[int] = []
    waits = [0.0] * len(orders)
    missed = arrived = served = 0
    now = 0.0
    for start, end, per_s in spans:
        now = max(now, start)
        while per_s > 0 and served < len(orders):
            if not on_time and not late:
                now = max(now, orders[coming[arrived]].arrived_s)
            done = now + 1 / per_s
            if done > end:
                break
            while arrived < len(orders) and orders[coming[arrived]].arrived_s <= now:
                due = orders[coming[arrived]].due_s
                heapq.heappush(on_time, (float("inf") if due is None else due, coming[arrived]))
                arrived += 1
            while on_time and on_time[0][0] < done:
                late.append(heapq.heappop(on_time)[1])
                missed += 1
            if on_time:
                index = heapq.heappop(on_time)[1]
            elif late:
                index = late.pop(0)
            else:
                continue
            waits[index] = done - orders[index].arrived_s
            served += 1
            now = done
    return Best(missed, tuple(waits), now)
