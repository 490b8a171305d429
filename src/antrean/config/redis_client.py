"""Connections to Redis or Valkey on which no command is ever sent twice.

redis-py 8 repeats a command by default after a timeout or a reset (ten times, around send *and* read), so a
script that took effect would run again. Here every client has `Retry(NoBackoff(), 0)`: an error goes to the
caller at once, who knows whether the command was one that may be repeated. What is left of redis-py's own
repetition is harmless: a pooled connection that is found closed *before* anything is written is opened anew.

RESP2 is spoken on purpose: no HELLO and no maintenance-notification handshake when a connection is opened, and
the shapes of answers that rq expects. Answers stay bytes (`decode_responses=False`), as rq needs them.

A URL that names Sentinels (see `sentinel`) leads to whoever is the primary when a connection is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import redis
import redis.asyncio
import structlog
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from antrean.config.redis_link import LinkedRedis
from antrean.config.sentinel import (
    PrimaryConnection,
    PrimarySyncConnection,
    PrimarySyncTlsConnection,
    PrimaryTlsConnection,
    SentinelUrl,
)
from antrean.config.settings import Settings

log = structlog.get_logger(__name__)

#: Connections of one process: above any sensible number of commands in flight; more of them wait their turn.
CONNECTIONS_MAX = 128


_POLL_S = 0.02
#: A server that loads is spoken of this often, in seconds.
_TELL_EVERY_S = 1.0


def connect(url: str, settings: Settings) -> LinkedRedis:
    """A client for one event loop; opens its connection when first used, and more for subscriptions and MULTI.

    Commands share one connection (see `redis_link`), so a blocking one (BLPOP, XREAD BLOCK) must not be sent.
    An answer that takes longer than `redis_timeout_s` ends in `redis.exceptions.TimeoutError`, its outcome unknown.
    Raises ValueError where the URL is none.
    """
    options = {
        "retry": AsyncRetry(NoBackoff(), 0),
        "timeout": settings.redis_timeout_s,
        **_options(settings),
    }
    several = SentinelUrl.parse(url)
    if several is None:
        return LinkedRedis(redis.asyncio.BlockingConnectionPool.from_url(url, **options))
    pool = redis.asyncio.BlockingConnectionPool(
        connection_class=PrimaryTlsConnection if several.tls else PrimaryConnection,
        find_primary=several.find_primary,
        **several.server_options,
        **options,
    )
    return LinkedRedis(pool)


def connect_sync(url: str, settings: Settings) -> redis.Redis:
    """A blocking client, for rq and for short commands. The same rules as `connect`."""
    options = {
        "retry": Retry(NoBackoff(), 0),
        "timeout": settings.redis_timeout_s,
        **_options(settings),
    }
    if url.lower().startswith("rediss"):
        # With TLS 1.3 a server sends tickets after its greeting. Unread they look like an answer to nobody, and the
        # pool throws the connection away for it. So something is asked: tickets are read with the first answer.
        del options["driver_info"]
    several = SentinelUrl.parse(url)
    if several is None:
        return redis.Redis.from_pool(redis.BlockingConnectionPool.from_url(url, **options))
    pool = redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]
        connection_class=PrimarySyncTlsConnection if several.tls else PrimarySyncConnection,
        find_primary=several.find_primary_sync,
        **several.server_options,
        **options,
    )
    return redis.Redis.from_pool(pool)


def _options(settings: Settings) -> dict[str, Any]:
    return {
        "protocol": 2,
        "decode_responses": False,
        "max_connections": CONNECTIONS_MAX,
        "socket_timeout": settings.redis_timeout_s,
        "socket_connect_timeout": settings.redis_timeout_s,
        "health_check_interval": 0,
        "driver_info": None,  # no CLIENT SETINFO: two commands less for every connection
    }


async def wait_for_redis(url: str, settings: Settings, timeout_s: float) -> None:
    """Return when the Redis at `url` answers; with 0 seconds, without asking. Raises as `wait_for_ping` does."""
    if timeout_s > 0:
        client = connect(url, settings)
        try:
            await wait_for_ping(client, timeout_s)
        finally:
            await client.aclose()


async def wait_for_ping(client: redis.asyncio.Redis, timeout_s: float) -> None:
    """Return when the server answers PING; a server that is not there yet or still loads is waited for.

    Raises TimeoutError after `timeout_s` seconds, and at once what a waiting would not mend (a wrong password).
    """
    deadline = time.monotonic() + timeout_s
    tell_at = time.monotonic() + _TELL_EVERY_S
    while True:
        try:
            await client.ping()
        except AuthenticationError:
            raise
        except (
            RedisConnectionError,
            RedisTimeoutError,
            OSError,
        ) as error:  # LOADING is a ConnectionError too
            if time.monotonic() >= deadline:
                raise TimeoutError(f"no answer to PING within {timeout_s:g} s") from error
            if isinstance(error, BusyLoadingError) and time.monotonic() >= tell_at:
                tell_at += _TELL_EVERY_S
                await _tell_of_loading(client)
            await asyncio.sleep(_POLL_S)
        else:
            return


async def _tell_of_loading(client: redis.asyncio.Redis) -> None:
    with contextlib.suppress(RedisConnectionError, RedisTimeoutError, OSError):
        facts = await client.info("persistence")
        if facts.get("loading"):
            log.info("the server is loading its file", percent=facts.get("loading_loaded_perc"))
