"""Does one turn of one order in a process of its own and kills that process before or after a named step.

`python tests/kill_point.py` reads lines `ORDER_ID POINT`, POINT being `before-` or `after-` and a step; settings are
read from the environment, as by `antrean worker`. Each turn is a fork of the process that has imported all.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, NoReturn

from antrean.config.documents import build_checker, build_documents
from antrean.config.personal_keys import load_vault
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.config.store import build_store
from antrean.config.upstream import build_adapter, build_breakers, build_provider
from antrean.config.worker_wiring import new_worker_id
from antrean.orders.fulfil import Fulfiller
from antrean.orders.states import State

#: Steps of a turn in their order; each is a method of the store, the adapter or the documents.
PURCHASE_STEPS = ("claim", "begin", "generate", "bought", "complete")
STAMP_STEPS = ("claim", "begin", "stamp", "put_stamped", "complete")
#: Turns at one time, and tries of each.
AT_ONCE, TRIES = 3, 4


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def arm(parts: tuple[Any, ...], when: str, step: str) -> None:
    """Replace the one method of that name among `parts` by one that kills. Raises ValueError for an unknown step."""
    owner = next((part for part in parts if hasattr(part, step)), None)
    if owner is None:
        raise ValueError(step)
    real: Callable[..., Any] = getattr(owner, step)

    store = parts[0]

    async def deadly(*args: Any, **kwargs: Any) -> Any:
        if when == "before":
            # `complete` is asked for with `bought`, and before that has left.
            while step == "complete" and (await store.get(args[0].id)).state is State.BUYING:
                await asyncio.sleep(0.001)
            _die()
        await real(*args, **kwargs)
        _die()

    setattr(owner, step, deadly)


async def turn(order_id: str, point: str) -> None:
    """One turn; does not come back."""
    settings = Settings()
    redis = connect(settings.effective_redis_url, settings)
    store = build_store(settings, redis, vault=load_vault(settings))
    documents, worker = build_documents(settings, redis), new_worker_id()
    adapter = build_adapter(settings, redis)
    provider = build_provider(settings, adapter, build_breakers(settings, redis))
    when, _, step = point.partition("-")
    await adapter.ensure_token()  # with one in memory the intent is asked for with the permit
    arm((store, adapter, documents), when, step)
    await store.beat(worker)
    fulfiller = Fulfiller(store, provider, documents, build_checker(settings).verify_stamped, worker)
    outcome = await fulfiller.run(order_id)
    raise AssertionError(f"the turn ended ({outcome}) and {point} was never reached")


def _forked(order_id: str, point: str) -> int:
    pid = os.fork()
    if pid == 0:
        asyncio.run(turn(order_id, point))  # does not come back: it is killed or it raises
    return pid


def main() -> None:
    """All the turns, AT_ONCE at a time. Raises AssertionError where one was not killed in any of its tries."""
    waiting = [(*line.split(), TRIES) for line in sys.stdin]
    running: dict[int, tuple[str, str, int]] = {}
    while waiting or running:
        while waiting and len(running) < AT_ONCE:
            order_id, point, tries = waiting.pop(0)
            running[_forked(order_id, point)] = (order_id, point, tries - 1)
        pid, status = os.wait()
        order_id, point, tries = running.pop(pid)
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            continue
        # Those killed before hold slots of the limit until their leases end; this turn found none in time.
        assert tries > 0, f"{point} was never reached"
        waiting.append((order_id, point, tries))


if __name__ == "__main__":
    main()
