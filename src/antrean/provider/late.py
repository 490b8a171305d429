"""Calls that go on after their caller gave up waiting: a late answer is still an answer.

To cancel a generate on a timeout would throw away the one thing that tells whether a stamp was bought.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from antrean.provider.errors import OutcomeUnknown

T = TypeVar("T")

#: Most calls of one process that go on in the background.
LATE_CALLS_MAX = 64
#: Longest wait for the cancelled ones when closing, in seconds.
CLOSE_S = 1.0


class LateCalls:
    """Runs calls with a patience shorter than their own bound."""

    def __init__(self, calls_max: int = LATE_CALLS_MAX) -> None:
        self._calls_max = calls_max
        self._late: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._late)

    async def run(self, call: Coroutine[Any, Any, T], patience_s: float) -> T:
        """The call's result, if it comes within `patience_s` seconds.

        Else raises OutcomeUnknown, with the call as `late` where there is room for one more. A caller that is
        cancelled cancels the call.
        """
        task = asyncio.ensure_future(call)
        try:
            done, _ = await asyncio.wait((task,), timeout=patience_s)
        except asyncio.CancelledError:
            task.cancel()
            raise
        if done:
            return task.result()
        if len(self._late) >= self._calls_max:
            task.cancel()
            raise OutcomeUnknown("the upstream did not answer in time")
        self._late.add(task)
        task.add_done_callback(self._ended)
        raise OutcomeUnknown("the upstream did not answer in time", late=task)

    async def aclose(self) -> None:
        """Give up on them. Bounded."""
        late = list(self._late)
        for task in late:
            task.cancel()
        if late:
            await asyncio.wait(late, timeout=CLOSE_S)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._late.discard(task)
        if not task.cancelled():
            task.exception()  # seen, so that an error nobody waits for makes no noise
