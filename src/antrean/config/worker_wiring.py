"""Builds one worker process from settings: the concurrent RQ worker, the provider, and the keeper's loops."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Callable

import structlog
import uvloop
from redis.exceptions import RedisError
from rq import Queue
from rq.serializers import JSONSerializer

from antrean.config.documents import build_checker, build_documents
from antrean.config.heap import settle_heap
from antrean.config.personal_keys import has_ring, load_vault, open_vault
from antrean.config.redis_client import connect, connect_sync, wait_for_redis
from antrean.config.settings import Settings
from antrean.config.store import build_store, durability_of, follow_durability
from antrean.config.tracing import build_trace, traced_turn, watching
from antrean.config.upstream import build_adapter, build_breakers, build_provider
from antrean.orders import keys
from antrean.orders.archiver import Archiver
from antrean.orders.balance import BalanceWatch
from antrean.orders.calls import CallTally
from antrean.orders.commit import Durability
from antrean.orders.course import CourseLog
from antrean.orders.documents import DocumentStore
from antrean.orders.erasure import Eraser
from antrean.orders.fulfil import Fulfiller
from antrean.orders.layout import NewerLayout, require_known_layout
from antrean.orders.ledger_archive import LedgerArchive, LedgerArchiver
from antrean.orders.model import StoreUnavailable
from antrean.orders.outbox import Outbox
from antrean.orders.pace import PaceReader
from antrean.orders.pictures import Pictures
from antrean.orders.promises import Promises
from antrean.orders.resolve import Resolver
from antrean.orders.store import OrderStore
from antrean.orders.vault import Vault
from antrean.workers.calibration import Calibration
from antrean.workers.capacity import BreakerCapacity
from antrean.workers.dispatcher import Dispatcher, enqueuer, most_turns
from antrean.workers.jobs import order_of
from antrean.workers.keeper import Keeper, Loop
from antrean.workers.outbound import Outbound
from antrean.workers.prober import Prober, QuotaProbe, QuotaTrial
from antrean.workers.process import WorkerParts, stop_on_signals, work
from antrean.workers.rq_worker import ConcurrentWorker
from antrean.workers.sweeper import Sweeper, waiting_jobs
from antrean.workers.webhooks import WebhookSender

log = structlog.get_logger(__name__)

#: Seconds between steps of each loop. The dispatcher's bounds how long a free slot may wait for an order.
DISPATCH_EVERY_S = 0.03
SWEEP_EVERY_S = 1.0
PROBE_LOOK_EVERY_S = 0.2
RESOLVE_EVERY_S = 0.5
TALLY_EVERY_S = 1.0
CALIBRATE_EVERY_S = 1.0
DURABILITY_EVERY_S = 1.0
#: With what a step sends at most this bounds what webhooks take of the leader's time: 2 ms of CPU each, measured.
WEBHOOKS_EVERY_S = 0.25
ERASE_EVERY_S = 60.0
TIDY_EVERY_S = 600.0
#: What has become old enough meanwhile makes one segment: many small ones would be slower to read.
ARCHIVE_EVERY_S = 300.0
#: The balance is looked at once in so many probe intervals.
BALANCE_INTERVALS = 6


def new_worker_id() -> str:
    """Names one life of a worker: a restarted one must not be taken for the one before."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"


def build_worker(settings: Settings, vault: Vault, durability: Durability) -> WorkerParts:
    """All parts of one worker process, not yet running."""
    worker_id = new_worker_id()
    redis = connect(settings.effective_redis_url, settings)
    rq_redis = connect_sync(settings.effective_redis_url, settings)
    queue = Queue(keys.RQ_QUEUE, connection=rq_redis, serializer=JSONSerializer)
    store = build_store(settings, redis, durability, vault)
    breakers = build_breakers(settings, redis)
    adapter = build_adapter(settings, redis)
    tally, trace = CallTally(redis), build_trace(settings, "worker")
    provider = build_provider(settings, adapter, breakers, watching(tally.called, trace))
    checker = build_checker(settings)
    documents = build_documents(settings, redis)
    fulfiller = Fulfiller(store, provider, documents, checker.verify_stamped, worker_id)
    resolver = Resolver(store, provider, settings.unknown_settle_s)
    # A turn may wait for a slot, log in, call and try again; after this it is taken for lost.
    claim_max_ms = int((6 * settings.upstream_timeout_s + 120) * 1000)

    outbound = Outbound(allow_private=settings.webhook_allow_private)
    webhooks = WebhookSender(Outbox(store.scripts, vault), outbound)
    source, promises = BreakerCapacity(breakers.provider, breakers.adapter), Promises(redis)
    course = CourseLog(redis)
    pace = PaceReader(store, promises, course, breakers.throughput)
    calibration = Calibration(store, promises, course, source.capacity, pace.read)

    quota_trial = QuotaTrial()
    loops = [
        Loop(
            "dispatch",
            Dispatcher(store, source, enqueuer(queue), quota_trial).run_once,
            DISPATCH_EVERY_S,
        ),
        Loop("sweep", Sweeper(store, waiting_jobs(queue), claim_max_ms).run_once, SWEEP_EVERY_S),
        Loop("probe", Prober("provider", breakers.provider, adapter.probe).run_once, PROBE_LOOK_EVERY_S),
        Loop(
            "probe adapter",
            Prober("adapter", breakers.adapter, lambda _after_trial: adapter.adapter_reachable()).run_once,
            PROBE_LOOK_EVERY_S,
        ),
        Loop("quota", QuotaProbe(store, provider, quota_trial).run_once, settings.probe_interval_s),
        Loop("calls", tally.flush, TALLY_EVERY_S, leader_only=False),
        Loop(
            "durability",
            lambda: follow_durability(store, redis, settings),
            DURABILITY_EVERY_S,
            leader_only=False,
        ),
        Loop("resolve", resolver.run_once, RESOLVE_EVERY_S),
        Loop(
            "balance",
            BalanceWatch(store, provider, resolver).run_once,
            BALANCE_INTERVALS * settings.probe_interval_s,
        ),
        Loop("calibrate", calibration.run_once, CALIBRATE_EVERY_S),
        Loop("tidy", adapter.tidy, TIDY_EVERY_S),
        Loop("tidy documents", documents.tidy, TIDY_EVERY_S),
        Loop("webhooks", webhooks.run_once, WEBHOOKS_EVERY_S),
        *_loops_after_the_end(settings, store, documents),
    ]

    run = traced_turn(fulfiller.run, trace)

    async def perform(job_id: str) -> object:
        async with asyncio.timeout(claim_max_ms / 1000):
            return await run(order_of(job_id))

    turns_max = most_turns(settings.upstream_concurrency_max) + most_turns(settings.adapter_concurrency_max)

    async def close_sync() -> None:
        rq_redis.close()

    return WorkerParts(
        ConcurrentWorker(queue, rq_redis, worker_id, perform, turns_max),
        Keeper(store, worker_id, loops, resolver.lead_again),
        settings.drain_s,
        [
            fulfiller.aclose,
            webhooks.aclose,
            checker.aclose,
            provider.aclose,
            breakers.provider.aclose,
            breakers.adapter.aclose,
            redis.aclose,
            close_sync,
        ],
    )


def _loops_after_the_end(settings: Settings, store: OrderStore, documents: DocumentStore) -> list[Loop]:
    """What becomes of orders that are at their end: they and their ledger entries are archived, and erased in time."""
    assert store.archive is not None
    archiver = Archiver(store, store.archive, Pictures(store.scripts, documents), settings.archive_after_s)
    ledger_archiver = LedgerArchiver(store, LedgerArchive(documents), settings.archive_after_s)
    eraser = Eraser(store, documents, settings.personal_retention_days)
    return [
        Loop("archive", archiver.run_once, ARCHIVE_EVERY_S),
        Loop("archive ledger", ledger_archiver.run_once, ARCHIVE_EVERY_S),
        Loop("erase", eraser.run_once, ERASE_EVERY_S),
    ]


def run_worker(settings: Settings, ready: Callable[[], None], redis_wait_s: float = 0.0) -> None:
    """Run a worker until SIGTERM or SIGINT. `redis_wait_s`: how long Redis may take to give its first answer.

    Raises TimeoutError where it takes longer, WrongRing where its keys are not those of the orders, NewerLayout where
    a later release wrote them.
    """

    async def main() -> None:
        # Before signals are minded, so that one ends the waiting.
        await wait_for_redis(settings.effective_redis_url, settings, redis_wait_s)
        stop = asyncio.Event()
        stop_on_signals(stop)
        parts = build_worker(settings, await _open_vault(settings), await _durability(settings))
        settle_heap()
        await work(parts, stop, ready)

    uvloop.run(main())


async def _durability(settings: Settings) -> Durability:
    redis = connect(settings.effective_redis_url, settings)
    try:
        return await durability_of(redis, settings)
    except (RedisError, OSError):
        # It can not be asked just now: then every intent is waited for.
        return Durability(waitaof=True, replicas=settings.redis_replicas_min)
    finally:
        await redis.aclose()


async def _open_vault(settings: Settings) -> Vault:
    redis = connect(settings.effective_redis_url, settings)
    try:
        await require_known_layout(redis)
        return await open_vault(settings, redis)
    except NewerLayout:
        raise
    except StoreUnavailable as error:
        if not has_ring(settings):
            raise
        # Redis away at a start is nothing that stops a worker; an order that it can not read it leaves alone.
        log.warning("the ring of keys is not checked", why=str(error))
        return load_vault(settings)
    finally:
        await redis.aclose()
