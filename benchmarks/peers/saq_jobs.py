"""saq: `saq benchmarks.peers.saq_jobs.settings`. `python -m benchmarks.peers.saq_jobs COUNT` enqueues."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from saq import Queue

from benchmarks.peers.call import IN_FLIGHT, REDIS_URL, generate_async

queue = Queue.from_url(REDIS_URL)


async def generate(_: Any, *, number: int) -> None:
    """The job."""
    await generate_async(number)


settings = {"queue": queue, "functions": [generate], "concurrency": IN_FLIGHT}


async def main() -> None:
    """Enqueue."""
    await queue.connect()
    for number in range(int(sys.argv[1])):
        await queue.enqueue("generate", number=number)
    await queue.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
