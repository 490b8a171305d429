"""Builds the order store from settings."""

from __future__ import annotations

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from antrean.config.documents import build_documents
from antrean.config.settings import Settings
from antrean.orders.archive import Archive
from antrean.orders.asking import asked
from antrean.orders.commit import Durability, GroupCommit
from antrean.orders.lease import alone
from antrean.orders.model import StoreUnavailable
from antrean.orders.scripts import Scripts
from antrean.orders.store import OrderStore
from antrean.orders.submitting import Limits
from antrean.orders.vault import Vault

log = structlog.get_logger(__name__)


def build_store(
    settings: Settings, redis: Redis, durability: Durability | None = None, vault: Vault | None = None
) -> OrderStore:
    """The store on `redis`; `durability` says how an accepted order, and an intent to buy, is known to be on disk.

    Without `vault` it accepts no order and tells nobody's identity: what most commands need.
    """
    scripts = Scripts(redis)
    limits = Limits(settings.backlog_max, settings.office_backlog_max)
    commit = GroupCommit(scripts, "submit", durability)
    archive = Archive(build_documents(settings, redis), lambda: alone(scripts, "archive"))
    return OrderStore(scripts, commit, limits, vault=vault, archive=archive, intents=durability)


async def durability_of(redis: Redis, settings: Settings) -> Durability:
    """`appendfsync always` answers after the sync; anything else has to be waited for. Raises RedisError.

    So has a server that keeps no file: WAITAOF is refused there, so that nothing counts as written. And one that does
    not tell how it keeps its file, as many a managed one.
    """
    try:
        config = await redis.config_get("append*")
    except ResponseError:
        config = {}
    always = config.get("appendonly") == "yes" and config.get("appendfsync") == "always"
    timeout_ms = int(settings.redis_timeout_s * 1000 * 0.6)
    return Durability(waitaof=not always, replicas=settings.redis_replicas_min, timeout_ms=timeout_ms)


async def confirm_on_disk(redis: Redis, settings: Settings) -> None:
    """Wait until all written on this connection is where an accepted order would be. Raises StoreUnavailable."""
    durability = await asked(durability_of(redis, settings))
    for command in durability.tail:
        counts = await asked(redis.execute_command(*command))  # type: ignore[no-untyped-call]
        if not durability.confirmed(counts):
            raise StoreUnavailable("Redis does not confirm that it is on disk")


async def follow_durability(store: OrderStore, redis: Redis, settings: Settings) -> bool:
    """Ask again: the configuration was changed, or another server is the primary now. Raises StoreUnavailable.

    Answers False, as a step of a loop with nothing left to do.
    """
    now = await asked(durability_of(redis, settings))
    if now != store.durability:
        log.warning("the server syncs its file otherwise now", waitaof=now.waitaof)
        store.sync_by(now)
    return False
