"""RQ: `rq worker`, and `rq worker-pool` of SimpleWorkers. `python -m benchmarks.peers.rq_jobs COUNT` enqueues."""

from __future__ import annotations

import sys

from redis import Redis
from rq import Queue

from benchmarks.peers.call import REDIS_URL, generate


def main() -> None:
    """Enqueue."""
    queue = Queue("bench", connection=Redis.from_url(REDIS_URL))
    queue.enqueue_many([Queue.prepare_data(generate, args=(number,)) for number in range(int(sys.argv[1]))])


if __name__ == "__main__":
    main()
