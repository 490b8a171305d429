"""How the queue moved in the last two hours, as this gateway saw it: a look every ten seconds, kept in memory.

For the charts of the dashboard. Prometheus keeps the record; this is what a page can show at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any

from antrean.orders.model import StoreUnavailable
from antrean.orders.view import rfc3339

#: Seconds between two looks, and how many are kept: two hours.
EVERY_S = 10
KEPT = 720


@dataclass(frozen=True, slots=True)
class Sample:
    """The queue at one moment. `in_flight`, `limit`: of calls to the upstream, without those that stamp."""

    at_ms: int
    open: int
    in_flight: int
    limit: int
    completed_per_minute: float


class Trend:
    """The looks so far, the oldest first."""

    def __init__(self, look: Callable[[], Awaitable[Sample]]) -> None:
        self._look = look
        self._samples: deque[Sample] = deque(maxlen=KEPT)

    async def run(self) -> None:
        """Look until cancelled; with Redis away a look is missing, and the chart has a gap."""
        while True:
            with contextlib.suppress(StoreUnavailable):
                self._samples.append(await self._look())
            await asyncio.sleep(EVERY_S)

    def shown(self) -> dict[str, Any]:
        """For the API."""
        samples = []
        for sample in self._samples:
            fields = asdict(sample)
            samples.append({"at": rfc3339(fields.pop("at_ms"))} | fields)
        return {"every_s": EVERY_S, "samples": samples}
