"""Eight processes race for what only one may have."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.provider.breaker import NotAdmitted
from antrean.provider.errors import Unavailable
from provider_support import make_breaker

PROCESSES = 8
#: Longest start of a racer, in seconds.
START_S = 30


async def race(url: str, what: str) -> None:
    """One racer: says that it is ready, waits for the starting shot, tries once, and tells whether it won."""
    redis = Redis.from_url(url)
    breaker = make_breaker(redis)
    await breaker.status()
    print("ready", flush=True)
    sys.stdin.readline()
    if what == "probe":
        won = await breaker.claim_probe()
    else:
        try:
            won = await breaker.admit() is not None
        except NotAdmitted:
            won = False
    print("won" if won else "lost", flush=True)
    sys.stdin.readline()  # holds what it has until the race is judged
    await redis.aclose()


def run_race(url: str, what: str) -> list[str]:
    racers = [
        subprocess.Popen(
            [sys.executable, __file__, url, what], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(PROCESSES)
    ]
    results = []
    try:
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        for line in ("go\n", "end\n"):
            for racer in racers:
                assert racer.stdin is not None
                racer.stdin.write(line)
                racer.stdin.flush()
            if line == "go\n":
                results = [racer.stdout.readline().strip() for racer in racers if racer.stdout is not None]
    finally:
        for racer in racers:
            racer.communicate(timeout=START_S)
    return results


@pytest.mark.parametrize("what", ["probe", "permit"])
async def test_exactly_one_of_eight_processes_wins(redis: Redis, settings: Settings, what: str) -> None:
    breaker = make_breaker(redis, open_first_s=0.01)
    for _ in range(5):
        permit = await breaker.admit()
        assert permit is not None
        await breaker.settle(permit, Unavailable("refused"), 0.0)
    async with asyncio.timeout(5):
        while what == "permit" and not await breaker.claim_probe():
            await asyncio.sleep(0.01)
    if what == "permit":
        await breaker.probe_result(True, "answered")
    results = await asyncio.to_thread(run_race, settings.redis_url, what)
    assert sorted(results) == ["lost"] * (PROCESSES - 1) + ["won"]
    await breaker.aclose()


if __name__ == "__main__":
    asyncio.run(race(sys.argv[1], sys.argv[2]))
