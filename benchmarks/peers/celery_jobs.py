"""celery: `celery -A benchmarks.peers.celery_jobs worker --pool threads`. With COUNT as a program it enqueues."""

from __future__ import annotations

import sys

from celery import Celery

from benchmarks.peers import call

app = Celery("bench", broker=call.REDIS_URL)
app.conf.task_ignore_result = True
generate = app.task(name="generate")(call.generate)


def main() -> None:
    """Enqueue."""
    for number in range(int(sys.argv[1])):
        app.send_task("generate", (number,))


if __name__ == "__main__":
    main()
