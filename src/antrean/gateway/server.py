"""The gateway process: one event loop, one listening socket, an orderly end."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import Callable
from typing import cast

import structlog
import uvloop
from aiohttp import web

from antrean.config.heap import settle_heap
from antrean.config.redis_client import wait_for_redis
from antrean.config.settings import Settings
from antrean.config.shared_counts import count_as
from antrean.gateway.app import create_app
from antrean.gateway.connection import Connection
from antrean.gateway.parts import GatewayParts
from antrean.orders.layout import watch_layout

log = structlog.get_logger(__name__)

#: A connection on which no whole request arrives for this long is closed, slow headers included, in seconds.
IDLE_S = 30
#: Longest time that what is left of a refused body is read and thrown away, in seconds.
LINGER_S = 2
#: Connections at one time; further ones are answered 503. Clients that wait hold one each.
CONNECTIONS_MAX = 8192
#: Open files beside clients' connections (Redis, documents, readers of PDFs): what is asked for, and what is kept free
#: where the system allows fewer.
FILES_BESIDE = 1024
FILES_BESIDE_MIN = 256
#: A refused connection waits for the request that it has answered already, in seconds; and how many do at one time.
REFUSAL_S = 1.0
REFUSALS_MAX = 64
BACKLOG = 1024
LINE_BYTES_MAX = 4096
HEADER_BYTES_MAX = 4096
HEADERS_MAX = 64


def run(
    settings: Settings,
    ready: Callable[[], None],
    redis_wait_s: float = 0.0,
    *,
    again: bool = False,
    number: int | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; requests under way are answered within `settings.drain_s` seconds.

    `redis_wait_s`: how long Redis may take to give its first answer. `again`: a gateway of before worked on this Redis.
    `number`: its own among several on this port; None: the port is its alone. Raises TimeoutError, WrongRing.
    """
    if number is not None:
        count_as(number)
    uvloop.run(_run(settings, ready, redis_wait_s, again, shares_port=number is not None))


async def _run(
    settings: Settings, ready: Callable[[], None], redis_wait_s: float, again: bool, *, shares_port: bool
) -> None:
    # The wiring builds gateways, so it knows this room; it is asked for only here, where a process starts.
    from antrean.config.wiring import gateway_parts

    # Before signals are minded, so that one ends the waiting.
    await wait_for_redis(settings.effective_redis_url, settings, redis_wait_s)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(await gateway_parts(settings, again=again), stop, ready, shares_port=shares_port)


async def serve(
    parts: GatewayParts, stop: asyncio.Event, ready: Callable[[], None], *, shares_port: bool = False
) -> None:
    """Listen, say so, and serve until `stop` is set. `shares_port`: other gateways listen there as well.

    Raises OSError where the port is taken, NewerLayout once a later release has taken the orders over.
    """
    settings = parts.settings
    connections_max = _room()
    runner = web.AppRunner(create_app(parts), access_log=None, shutdown_timeout=settings.drain_s)
    try:
        await runner.setup()
        site = _BoundedSite(
            runner, settings.http_host, settings.http_port, connections_max, shares_port=shares_port
        )
        await site.start()
        settle_heap()
        log.info("gateway listens", host=settings.http_host, port=settings.http_port)
        ready()
        await _until_stopped(parts, stop)
        log.info("gateway stops")
    finally:
        await runner.cleanup()
        for close in parts.closers:
            await close()


async def _until_stopped(parts: GatewayParts, stop: asyncio.Event) -> None:
    stopped = asyncio.create_task(stop.wait())
    watching = asyncio.create_task(watch_layout(parts.redis))
    try:
        await asyncio.wait({stopped, watching}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            watching.result()
    finally:
        stopped.cancel()
        watching.cancel()


class _BoundedSite(web.BaseSite):
    """A TCP listener that holds at most `connections_max` connections."""

    def __init__(
        self, runner: web.AppRunner, host: str, port: int, connections_max: int, *, shares_port: bool
    ) -> None:
        super().__init__(runner, backlog=BACKLOG)
        self._host = host
        self._port = port
        self._connections_max = connections_max
        self._shares_port = shares_port

    @property
    def name(self) -> str:
        """Where it listens."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Begin to listen."""
        await super().start()
        server = self._runner.server
        assert server is not None

        loop = asyncio.get_running_loop()

        def connected() -> asyncio.Protocol:
            if len(server.connections) >= self._connections_max:
                return _Refusal()
            return Connection(
                server,
                loop=loop,
                access_log=None,  # type: ignore[arg-type] # as aiohttp's own runner has it: none
                keepalive_timeout=IDLE_S,
                lingering_time=LINGER_S,
                max_line_size=LINE_BYTES_MAX,
                max_field_size=HEADER_BYTES_MAX,
                max_headers=HEADERS_MAX,
                # A compressed body is refused: what it becomes has no bound that its sender pays for.
                auto_decompress=False,
            )

        # With SO_REUSEPORT the kernel spreads connections evenly. From one inherited socket, whoever wakes first would
        # take all that wait.
        self._server = await loop.create_server(
            connected,
            self._host,
            self._port,
            backlog=BACKLOG,
            reuse_address=True,
            reuse_port=self._shares_port,
        )


class _Refusal(asyncio.Protocol):
    """Answers a connection that is one too many, and closes it once its request begins to arrive.

    What closes with something unread resets the connection, and most clients then lose the answer.
    """

    _open = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say so."""
        # uvloop's transports write as asyncio's do, and are none of theirs by class.
        self._transport = cast("asyncio.WriteTransport", transport)
        self._transport.write(
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
        _Refusal._open += 1
        wait_s = REFUSAL_S if _Refusal._open <= REFUSALS_MAX else 0
        self._end = asyncio.get_running_loop().call_later(wait_s, self._transport.close)

    def data_received(self, data: bytes) -> None:
        """The request, or its beginning: it has its answer."""
        self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed, by whichever side."""
        _Refusal._open -= 1
        self._end.cancel()


def _room() -> int:
    """Connections that there may be; before, the limit of open files is raised as they need and the system allows.

    A connection for which no file is left would be closed without a word, and Redis and documents would get none.
    """
    files, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_BESIDE
    if files != resource.RLIM_INFINITY and files < wanted:
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
            files = limit
    if files == resource.RLIM_INFINITY or files >= wanted:
        return CONNECTIONS_MAX
    room = min(CONNECTIONS_MAX, max(files - FILES_BESIDE_MIN, files // 4))
    log.warning(
        "few open files are allowed",
        files=files,
        connections_max=room,
        advice=f"allow {wanted} (`ulimit -Hn`, LimitNOFILE= of systemd)",
    )
    return room
