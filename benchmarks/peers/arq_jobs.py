"""arq: `arq benchmarks.peers.arq_jobs.WorkerSettings`. `python -m benchmarks.peers.arq_jobs COUNT` enqueues."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings

from benchmarks.peers.call import IN_FLIGHT, REDIS_URL, generate_async


async def generate(_: Any, number: int) -> None:
    """The job."""
    await generate_async(number)


class WorkerSettings:
    """What `arq` reads."""

    functions = [generate]  # noqa: RUF012 - arq's own way
    redis_settings = RedisSettings.from_dsn(REDIS_URL)
    max_jobs = IN_FLIGHT


async def main() -> None:
    """Enqueue."""
    pool = await create_pool(WorkerSettings.redis_settings)
    for number in range(int(sys.argv[1])):
        await pool.enqueue_job("generate", number)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(main())
