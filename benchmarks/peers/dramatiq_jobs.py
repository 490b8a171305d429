"""dramatiq: `dramatiq benchmarks.peers.dramatiq_jobs`. `python -m benchmarks.peers.dramatiq_jobs COUNT` enqueues."""

from __future__ import annotations

import sys

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from benchmarks.peers import call

broker = RedisBroker(url=call.REDIS_URL)
dramatiq.set_broker(broker)
generate = dramatiq.actor(call.generate)


def main() -> None:
    """Enqueue."""
    for number in range(int(sys.argv[1])):
        generate.send(number)


if __name__ == "__main__":
    main()
