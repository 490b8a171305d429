"""When a request is sent again, and when not.

answered 2xx, 3xx          → done
429, 503                   → again after Retry-After, or a jittered pause that doubles
other 5xx, lost connection → the same, if a repetition can do no harm
other 4xx                  → Refused
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from antrean.client.errors import GaveUp, Refused
from antrean.client.models import Problem

#: Statuses that say: not now.
LATER = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on. All in seconds; `pause_s` is the first pause's upper bound, doubled up to `pause_max_s`.

    `waiting`: told, before each pause, what was asked for and how the last try ended.
    """

    total_s: float = 120.0
    pause_s: float = 0.2
    pause_max_s: float = 15.0
    waiting: Callable[[str, str], None] | None = None

    def tell(self, what: str, last: str) -> None:
        """Say what is waited for, where somebody listens."""
        if self.waiting is not None:
            self.waiting(what, last)


async def send(
    attempt: Callable[[], Awaitable[httpx.Response]], what: str, patience: Patience, *, repeatable: bool
) -> httpx.Response:
    """The first answer that counts. Raises Refused, GaveUp; httpx.TransportError where it must not be repeated."""
    end_s = time.monotonic() + patience.total_s
    bound_s = patience.pause_s
    while True:
        pause_s = random.uniform(0, bound_s)  # noqa: S311 - jitter, no secret
        try:
            response = await attempt()
        except httpx.TransportError as error:
            if not repeatable:
                raise
            last = type(error).__name__
        else:
            if response.status_code < 400:
                return response
            if response.status_code not in LATER and not (repeatable and response.status_code >= 500):
                raise Refused(problem_of(response))
            last = f"status {response.status_code}"
            pause_s = max(pause_s, retry_after_s(response))
        if time.monotonic() + pause_s > end_s:
            raise GaveUp(what, last)
        patience.tell(what, last)
        await asyncio.sleep(pause_s)
        bound_s = min(bound_s * 2, patience.pause_max_s)


def retry_after_s(response: httpx.Response) -> float:
    """What the gateway asks for, in seconds; 0 where it asks for nothing."""
    text = response.headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() else 0.0


def problem_of(response: httpx.Response) -> Problem:
    """The problem in an answer; one made up where something between us and the gateway has answered."""
    try:
        body: Any = response.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and {"type", "title", "status", "detail"} <= body.keys():
        problem: Problem = body  # type: ignore[assignment] # its keys were looked at
        return problem
    return {
        "type": "about:blank",
        "title": response.reason_phrase,
        "status": response.status_code,
        "detail": "The answer is no problem document; something between here and the gateway has answered.",
        "request_id": "",
    }
