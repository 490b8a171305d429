"""The job of the plain way, as RQ's and pybreaker's own pages show it: one function, one breaker shared in Redis."""

from __future__ import annotations

import os
import time
from pathlib import Path

import httpx
import pybreaker
from redis import Redis

#: Failures in a row that open the breaker, and seconds until it tries again.
FAIL_MAX = 5
RESET_S = 2
TIMEOUT_S = 3.0


def breaker() -> pybreaker.CircuitBreaker:
    """The breaker, its state shared by all workers."""
    storage = pybreaker.CircuitRedisStorage(
        pybreaker.STATE_CLOSED, Redis.from_url(os.environ["REPLAY_REDIS"]), namespace="peruri"
    )
    return pybreaker.CircuitBreaker(fail_max=FAIL_MAX, reset_timeout=RESET_S, state_storage=storage)


def _generate(body: dict[str, object]) -> None:
    headers = {"Authorization": f"Bearer {os.environ['REPLAY_TOKEN']}"}
    answer = httpx.post(os.environ["REPLAY_GENERATE"], json=body, headers=headers, timeout=TIMEOUT_S)
    answer.raise_for_status()
    if answer.json()["statusCode"] != "00":
        raise RuntimeError(answer.json()["message"])


def buy(number: int, body: dict[str, object]) -> None:
    """Buy one stamp and note that it is done. Whatever is raised, RQ tries again as it was told."""
    breaker().call(_generate, body)
    with Path(os.environ["REPLAY_DONE"]).open("a") as done:
        done.write(f"{number} {time.time()}\n")
