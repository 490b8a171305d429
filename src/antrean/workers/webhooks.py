"""Sends the webhook notices that are due: at least once each, all bounded, so that one dead address delays no other."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import structlog

from antrean import __version__
from antrean.orders.model import StoreUnavailable
from antrean.orders.notices import FAILING_AFTER, GIVE_UP_MS, Endpoint, headers, pause_ms
from antrean.orders.outbox import Outbox, Taken
from antrean.orders.vault import Unreadable
from antrean.workers.outbound import TOTAL_TIMEOUT_S, Outbound, Undelivered

log = structlog.get_logger(__name__)

#: Most notices on their way at one time, in all and to one address of one office.
CONCURRENCY_MAX = 32
PER_ENDPOINT_MAX = 8
#: If a sender dies with a notice in hand, another one sends it after this time, in ms.
LEASE_MS = int(TOTAL_TIMEOUT_S * 1000) + 20_000
#: A notice that has to wait for others to the same address looks again after this time, in ms, and so long after the
#: one before it: a long queue for one address must not keep the sender, and the disk, from the others.
BUSY_MS = 1_000
APART_MS = 10
#: A receiver that asks for a longer pause than this gets this one, in ms.
RETRY_AFTER_MAX_MS = 3600 * 1000
GONE = 410


class WebhookSender:
    """One step takes what is due and sends it in the background, as far as there is room."""

    def __init__(self, outbox: Outbox, outbound: Outbound, rng: random.Random | None = None) -> None:
        self._outbox = outbox
        self._outbound = outbound
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._sending: set[asyncio.Task[None]] = set()
        self._by_endpoint: Counter[str] = Counter()
        #: When the last of those that wait for an address looks again, in ms, by address and whether it rests: a rest
        #: may end early, and what waits for others there must not wait for the end of it.
        self._last_look: dict[tuple[str, bool], int] = {}

    async def run_once(self) -> bool:
        """One step; True where there may be more to send at once. Raises StoreUnavailable."""
        room = CONCURRENCY_MAX - len(self._sending)
        if room <= 0:
            return False
        now_ms, due = await self._outbox.take(room, LEASE_MS)
        self._last_look = {line: at_ms for line, at_ms in self._last_look.items() if at_ms > now_ms}
        # What is known of an address is as old as the take, so what this step does with it is counted here.
        step: Counter[str] = Counter()
        for taken in due:
            await self._begin(taken, now_ms, step)
            step[taken.endpoint_name] += 1
        return len(due) == room

    async def drained(self) -> None:
        """Wait for all that is on its way."""
        while self._sending:
            # Not `gather`: from Python 3.12 on it gives the loop no turn where all have ended, and these stay listed.
            done, _ = await asyncio.wait(self._sending)
            for task in done:
                task.result()

    async def aclose(self) -> None:
        """Stop. What was on its way is sent again when its lease is over."""
        for task in self._sending:
            task.cancel()
        await asyncio.gather(*self._sending, return_exceptions=True)
        await self._outbound.aclose()

    async def _begin(self, taken: Taken, now_ms: int, step: Counter[str]) -> None:
        endpoint, name = taken.endpoint, taken.endpoint_name
        if endpoint is not None and endpoint.disabled_ms is not None:
            await self._outbox.settle(taken, "dropped", next_ms=None, why="its address is disabled")
            return
        wait_ms = self._wait_ms(name, endpoint, now_ms, step[name])
        if wait_ms and endpoint is not None and now_ms > taken.notice.since_ms + GIVE_UP_MS:
            why = f"its address fails: {endpoint.why}"
            await self._outbox.settle(taken, "dropped", next_ms=None, why=why)
            return
        if wait_ms:
            line = (name, wait_ms > BUSY_MS)
            next_ms = max(now_ms + wait_ms, self._last_look.get(line, 0) + APART_MS)
            self._last_look[line] = next_ms
            await self._outbox.settle(taken, "put_off", next_ms=next_ms, why="")
            return
        self._by_endpoint[name] += 1
        task = asyncio.create_task(self._send(taken, now_ms))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def _wait_ms(self, name: str, endpoint: Endpoint | None, now_ms: int, before: int) -> int:
        under_way = self._by_endpoint[name]
        if endpoint is not None and endpoint.failures >= FAILING_AFTER:
            # One notice at a time finds out whether the address is well again.
            rest_ms = endpoint.rests_until_ms - now_ms
            if rest_ms <= 0 and not under_way and not before:
                return 0
            return max(rest_ms, BUSY_MS)
        return BUSY_MS if under_way >= PER_ENDPOINT_MAX else 0

    async def _send(self, taken: Taken, now_ms: int) -> None:
        try:
            await self._try(taken, now_ms)
        except StoreUnavailable as error:
            log.warning("a webhook's outcome is not recorded", notice=taken.notice.id, why=str(error))
        except Unreadable as error:
            # Until its lease is over; a worker with the right keys may take it then.
            log.error("a webhook can not be signed", office=taken.notice.office, why=str(error))
        except Exception:
            # Its lease ends and it is tried again; the others must not suffer.
            log.exception("a webhook was not sent", notice=taken.notice.id)
        finally:
            self._by_endpoint[taken.endpoint_name] -= 1
            if not self._by_endpoint[taken.endpoint_name]:
                del self._by_endpoint[taken.endpoint_name]

    async def _try(self, taken: Taken, now_ms: int) -> None:
        notice = taken.notice
        secrets = await self._outbox.secrets(notice.office)
        body = notice.payload
        try:
            answer = await self._outbound.post(
                notice.url,
                {
                    "content-type": "application/json",
                    "user-agent": f"antrean/{__version__}",
                    **headers(notice.id, now_ms, body, secrets.valid(now_ms)),
                },
                body,
                notice.office,
            )
        except Undelivered as error:
            await self._failed(taken, now_ms, str(error))
            return
        if 200 <= answer.status < 300:
            await self._outbox.settle(taken, "sent", next_ms=None, why="")
            log.info("webhook sent", notice=notice.id, order_id=notice.order_id, tries=notice.tries + 1)
            return
        asked_ms = min(int((answer.retry_after_s or 0) * 1000), RETRY_AFTER_MAX_MS)
        await self._failed(taken, now_ms, f"status {answer.status}", asked_ms, gone=answer.status == GONE)

    async def _failed(
        self, taken: Taken, now_ms: int, why: str, asked_ms: int = 0, *, gone: bool = False
    ) -> None:
        notice = taken.notice
        next_ms: int | None = now_ms + max(pause_ms(notice.tries + 1, self._rng), asked_ms)
        if gone or (next_ms or 0) > notice.since_ms + GIVE_UP_MS:
            next_ms = None
        disabled = await self._outbox.settle(taken, "failed", next_ms=next_ms, why=why, disable_now=gone)
        said = {"notice": notice.id, "order_id": notice.order_id, "tries": notice.tries + 1, "why": why}
        if next_ms is None:
            log.error("a webhook is given up", **said)
        else:
            log.info("a webhook failed", **said)
        if disabled:
            office, host = taken.endpoint_name.split("|", 1)
            log.error(
                "a webhook address is disabled: nothing is sent there until ops enable it",
                office=office,
                host=host,
                why=why,
            )
