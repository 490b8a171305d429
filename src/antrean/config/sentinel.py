"""Several hosts: the primary is asked for at the Sentinels whenever a connection is opened.

    redis+sentinel://[user:password@]host:port,host:port,…/service[/db]        (rediss+sentinel:// with TLS)

User and password are the data servers'. Behind the `?` stand the Sentinels' own password, `sentinel_password=`, and
options of TLS, such as `ssl_ca_certs=`, which are for data servers and Sentinels alike. A server that a Sentinel names
must say itself that it is a primary (ROLE): one that is not up to date would send us to a replica. Nothing is resent
here either: a lost connection is an error to whoever asked, and the next one finds the primary.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlencode

import redis
import redis.asyncio
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ReadOnlyError, RedisError
from redis.retry import Retry

from antrean.config.urls import SENTINEL_SCHEMES, url_parts

SENTINEL_PORT: Final = 26379
#: Longest wait for one Sentinel, in seconds: the next one is asked after that.
ASK_TIMEOUT_S: Final = 1.0

Address = tuple[str, int]
FindPrimary = Callable[[], Awaitable[Address]]


class PrimaryUnknown(RedisConnectionError):
    """No Sentinel that was reached names a primary: a failover is under way, or the service is called otherwise."""


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """What the URL says."""

    sentinels: tuple[Address, ...]
    service: str
    db: int
    tls: bool
    username: str | None
    password: str | None = field(repr=False)
    sentinel_password: str | None = field(repr=False)
    #: As a connection takes them.
    tls_options: dict[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, url: str) -> SentinelUrl | None:
        """None where the URL names one server. Raises ValueError where it names Sentinels and is not understood."""
        parts = url_parts(url)
        if parts.scheme not in SENTINEL_SCHEMES:
            return None
        credentials, _, hosts = parts.netloc.rpartition("@")
        username, colon, password = credentials.partition(":")
        service, _, db = parts.path.strip("/").partition("/")
        sentinels = tuple(_address(host) for host in hosts.split(",") if host)
        if not sentinels or not service or not (db or "0").isdigit():
            raise ValueError("the form is redis+sentinel://host:port,host:port/service")
        asked = parse_qs(parts.query)
        sentinel_password = asked.pop("sentinel_password", [None])[0]
        if not all(name.startswith("ssl_") for name in asked):
            raise ValueError("behind the ? stand sentinel_password and options of TLS")
        tls_options = dict(parse_url(f"redis://host/?{urlencode(asked, doseq=True)}"))
        return cls(
            sentinels,
            service,
            int(db or 0),
            parts.scheme.startswith("rediss"),
            unquote(username) or None,
            unquote(password) if colon else None,
            sentinel_password,
            {name: value for name, value in tls_options.items() if name in asked},
        )

    @property
    def server_options(self) -> dict[str, Any]:
        """Arguments of a connection to a data server."""
        return {"db": self.db, "username": self.username, "password": self.password, **self.tls_options}

    @property
    def connection_options(self) -> dict[str, Any]:
        """The same with the kind of connection, so that they can be tried."""
        kind = redis.asyncio.SSLConnection if self.tls else redis.asyncio.Connection
        return {"connection_class": kind, **self.server_options}

    @property
    def _question(self) -> tuple[str, ...]:
        return ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)

    def _sentinel_options(self) -> dict[str, Any]:
        return {
            "password": self.sentinel_password,
            "ssl": self.tls,
            **self.tls_options,
            "protocol": 2,
            "socket_timeout": ASK_TIMEOUT_S,
            "socket_connect_timeout": ASK_TIMEOUT_S,
            # Over TLS something is asked at once, as in `connect_sync`.
            **({} if self.tls else {"driver_info": None}),
        }

    async def find_primary(self) -> Address:
        """Ask one Sentinel after the other. Raises PrimaryUnknown."""
        failed: Exception | None = None
        for host, port in self.sentinels:
            client = redis.asyncio.Redis(
                host=host, port=port, retry=AsyncRetry(NoBackoff(), 0), **self._sentinel_options()
            )
            try:
                async with asyncio.timeout(ASK_TIMEOUT_S):
                    await look_up(host, port)
                found = _named(await client.execute_command(*self._question))  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as error:
                failed = error
                continue
            finally:
                await client.aclose()
            if found:
                return found
        raise self._nobody(failed)

    def _nobody(self, failed: Exception | None) -> PrimaryUnknown:
        why = f"; the last that gave no answer: {failed}" if failed else ""
        return PrimaryUnknown(
            f"no Sentinel of {len(self.sentinels)} names a primary of {self.service!r}{why}"
        )

    def find_primary_sync(self) -> Address:
        """The same, blocking."""
        failed: Exception | None = None
        for host, port in self.sentinels:
            client = redis.Redis(
                host=host, port=port, retry=Retry(NoBackoff(), 0), **self._sentinel_options()
            )
            try:
                found = _named(client.execute_command(*self._question))  # type: ignore[no-untyped-call]
            except (RedisError, OSError) as error:
                failed = error
                continue
            finally:
                client.close()
            if found:
                return found
        raise self._nobody(failed)


async def look_up(host: str, port: int) -> None:
    """Ask for a host's address before a connection is opened under a time limit. Raises OSError.

    uvloop goes on with a look-up that its `create_connection` was cancelled in, and reports its failure as nobody's.
    """
    await asyncio.get_running_loop().getaddrinfo(host, port)


def require_primary(role: Any) -> None:
    """Check the answer of ROLE. Raises PrimaryUnknown where a replica gave it."""
    if not role or role[0] not in (b"master", "master"):
        raise PrimaryUnknown("the server that a Sentinel names is a replica")


def _address(text: str) -> Address:
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        return text.strip("[]"), SENTINEL_PORT
    return host.strip("[]"), int(port)


def _named(answer: Any) -> Address | None:
    """An address as Sentinel answers it, which depends on the client's callbacks."""
    if not answer:
        return None
    host, port = answer
    return (host.decode() if isinstance(host, bytes) else str(host)), int(port)


class PrimaryConnection(redis.asyncio.Connection):
    """A connection for subscriptions and transactions that goes to whoever is the primary when it is opened."""

    def __init__(self, *, find_primary: FindPrimary, **given: Any) -> None:
        super().__init__(**given)
        self._find_primary = find_primary

    async def _connect(self) -> None:
        self.host, self.port = await self._find_primary()
        await look_up(self.host, self.port)
        await super()._connect()  # type: ignore[no-untyped-call]


class PrimaryTlsConnection(PrimaryConnection, redis.asyncio.SSLConnection):
    """The same with TLS."""


class PrimarySyncConnection(redis.Connection):
    """The blocking one. A server that turns out to be a replica is left."""

    def __init__(self, *, find_primary: Callable[[], Address], **given: Any) -> None:
        super().__init__(**given)  # type: ignore[no-untyped-call]
        self._find_primary = find_primary

    def _connect(self) -> Any:
        self.host, self.port = self._find_primary()
        return super()._connect()  # type: ignore[no-untyped-call]

    def read_response(self, *args: Any, **given: Any) -> Any:
        """See redis-py. Raises ConnectionError in place of ReadOnlyError: the command was refused, not repeated."""
        try:
            return super().read_response(*args, **given)
        except ReadOnlyError as error:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise RedisConnectionError("the primary has become a replica") from error


class PrimarySyncTlsConnection(PrimarySyncConnection, redis.SSLConnection):
    """The same with TLS."""
