"""Eight processes race for what only one may have."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import structlog
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.provider.breaker import NotAdmitted
from antrean.provider.errors import Unavailable
from provider_support import make_breaker

PROCESSES = 8
#: Longest end of a racer, in seconds.
END_S = 30


async def race(url: str) -> None:
    """One racer: says that it is ready and tries once at each starting shot, which names what for; tells if it won."""
    # What a racer says stands alone on its output.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    redis = Redis.from_url(url)
    breaker = make_breaker(redis)
    await breaker.status()
    print("ready", flush=True)
    while what := sys.stdin.readline().strip():  # between two races it holds what it has
        if what == "probe":
            won = await breaker.claim_probe() is not None
        elif what == "answered":
            await breaker.probe_result(True, "answered")  # counts for the one that may probe
            won = False
        else:
            try:
                won = await breaker.admit() is not None
            except NotAdmitted:
                won = False
        print("won" if won else "lost", flush=True)
    await redis.aclose()


class Racers:
    """Eight processes that have imported all and are connected."""

    def __init__(self, url: str) -> None:
        self._racers = [
            subprocess.Popen(
                [sys.executable, __file__, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(PROCESSES)
        ]

    def answers(self) -> list[str]:
        """The next line of each."""
        return [racer.stdout.readline().strip() for racer in self._racers if racer.stdout is not None]

    def race(self, what: str) -> list[str]:
        """One starting shot for all; how it went for each."""
        for racer in self._racers:
            assert racer.stdin is not None
            racer.stdin.write(f"{what}\n")
            racer.stdin.flush()
        return self.answers()

    def end(self) -> None:
        """Send them home."""
        for racer in self._racers:
            racer.communicate(timeout=END_S)


async def test_of_eight_processes_exactly_one_probes_and_then_exactly_one_is_let_through(
    redis: Redis, settings: Settings
) -> None:
    breaker = make_breaker(redis, open_first_s=0.01)
    for _ in range(5):
        permit = await breaker.admit()
        assert permit is not None
        await breaker.settle(permit, Unavailable("refused"), 0.0)
    racers = await asyncio.to_thread(Racers, settings.redis_url)
    one_of_all = ["lost"] * (PROCESSES - 1) + ["won"]
    try:
        assert await asyncio.to_thread(racers.answers) == ["ready"] * PROCESSES
        assert sorted(await asyncio.to_thread(racers.race, "probe")) == one_of_all
        # The winner's probe is answered: half-open, and all want to be the trial.
        await asyncio.to_thread(racers.race, "answered")
        assert sorted(await asyncio.to_thread(racers.race, "permit")) == one_of_all
    finally:
        await asyncio.to_thread(racers.end)
    await breaker.aclose()


if __name__ == "__main__":
    asyncio.run(race(sys.argv[1]))
