"""Our RQ jobs: each is a hint that it is an order's turn. Everything else is in the order's record."""

from __future__ import annotations

import secrets

from rq import Queue
from rq.queue import EnqueueData

#: RQ keeps a job that nobody took no longer than this, in seconds; the sweeper has long put the order back.
JOB_TTL_S = 3600
#: Told to RQ as the job's time limit, in seconds; our own bound on a turn is shorter.
JOB_TIMEOUT_S = 900


def fulfil(order_id: str) -> None:
    """The name of the work in RQ's books. Only a plain `rq worker` would call this; `antrean worker` does not.

    Raises RuntimeError: the order is not touched, and the sweeper puts it back.
    """
    raise RuntimeError(f"this queue is worked by `antrean worker`; order {order_id} goes back to its place")


def job_for(order_id: str) -> EnqueueData:
    """A job for one turn. Its id is new each time: two turns of one order must not share RQ's keys."""
    return Queue.prepare_data(
        fulfil,
        args=(order_id,),
        job_id=f"{order_id}-{secrets.token_hex(4)}",
        timeout=JOB_TIMEOUT_S,
        ttl=JOB_TTL_S,
        result_ttl=0,
        failure_ttl=JOB_TTL_S,
    )


def order_of(job_id: str) -> str:
    """The order that a job id speaks of."""
    return job_id.partition("-")[0]
