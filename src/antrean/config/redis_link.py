"""A Redis client whose commands share one connection: what is asked in one turn of the event loop leaves together.

redis-py takes a connection of its own for each command in flight, and spends about 0.3 ms of CPU on it. Here every
command of a process is packed by hiredis into one buffer, sent at the end of the loop's turn, and its answer is told
by its place in line. In a long turn a part leaves before, so that the server works while we do. It reads what has
gathered, runs it, syncs its file once and answers: group commit for whatever comes together. Nothing is ever sent
twice; when the connection is lost, or an answer takes too long, everything in flight gets an error and its outcome is
not known. Transactions, WATCH and subscriptions go redis-py's own way.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, cast

import hiredis
from redis._parsers import BaseParser
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.connection import ConnectionPool, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ReadOnlyError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.typing import EncodableT

from antrean.config.sentinel import PrimaryUnknown, look_up, require_primary

#: Commands of one process that may wait for their answers; one more is refused without being sent.
IN_FLIGHT_MAX = 65_536
#: Commands that leave without waiting for the turn's end.
PART = 8
#: An answer that is late is noticed after its time plus at most this share of it.
WATCH_SHARE = 0.1

Command = tuple[EncodableT, ...]
#: A command that was sent: its answer, and when it must be there.
_Sent = tuple["asyncio.Future[Any]", float]


class Link:
    """One connection, opened when it is first needed and again after it was lost. For one event loop."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._timeout_s = float(pool.connection_kwargs["socket_timeout"])
        self._wire: _Wire | None = None
        self._opening: asyncio.Task[_Wire] | None = None
        #: Commands sent, and writes that they shared: what the tests count.
        self.commands = self.writes = 0

    async def ask(self, command: Command) -> Any:
        """The answer; an error of the server is raised. Raises redis.exceptions.RedisError."""
        wire = self._wire or await self._open()
        answer = await wire.send_one(command)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def ask_many(self, commands: Sequence[Command]) -> list[Any]:
        """Answers in the order sent, errors of the server among them. Raises RedisError for the connection's."""
        wire = self._wire or await self._open()
        answers = [await future for future in wire.send(commands)]
        for answer in answers:
            if isinstance(answer, Exception) and not isinstance(answer, ResponseError):
                raise answer
        return answers

    async def aclose(self) -> None:
        """Close the connection; what is in flight gets an error."""
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._wire is not None:
            self._wire.fail(RedisConnectionError("the client was closed"))

    def lost(self, wire: _Wire) -> None:
        """The next command opens a new connection."""
        if self._wire is wire:
            self._wire = None

    async def _open(self) -> _Wire:
        if self._opening is None:
            self._opening = asyncio.create_task(self._connect())
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    def _opened(self, task: asyncio.Task[_Wire]) -> None:
        self._opening = None
        if not task.cancelled() and task.exception() is None and not task.result().closed:
            self._wire = task.result()

    async def _connect(self) -> _Wire:
        given = self._pool.connection_kwargs
        loop = asyncio.get_running_loop()

        def wire() -> _Wire:
            return _Wire(self, loop, self._timeout_s)

        try:
            async with asyncio.timeout(given["socket_connect_timeout"]):
                if "path" in given:
                    _, opened = await loop.create_unix_connection(wire, given["path"])
                else:
                    tls = None
                    if issubclass(self._pool.connection_class, SSLConnection):
                        tls = self._pool.connection_class(**given).ssl_context.get()
                    host, port = await self._address()
                    await look_up(host, port)
                    _, opened = await loop.create_connection(wire, host, port, ssl=tls)
        except TimeoutError:
            raise RedisTimeoutError("no connection in time") from None
        except ssl.SSLCertVerificationError as error:
            raise RedisConnectionError(
                f"no connection: its certificate is not trusted: {error.verify_message}"
            ) from error
        except OSError as error:
            raise RedisConnectionError(f"no connection: {type(error).__name__}") from error
        for command in _greeting(given):
            answer = await opened.send_one(command)
            if isinstance(answer, Exception):
                opened.fail(RedisConnectionError("the server refused the connection"))
                raise answer
        if "find_primary" in given:
            role = await opened.send_one(("ROLE",))
            try:
                if isinstance(role, Exception):  # such as LOADING
                    raise PrimaryUnknown(f"the primary does not tell its role: {type(role).__name__}")
                require_primary(role)
            except PrimaryUnknown as error:
                opened.fail(error)
                raise
        return opened

    async def _address(self) -> tuple[str, int]:
        given = self._pool.connection_kwargs
        if "find_primary" in given:
            found: tuple[str, int] = await given["find_primary"]()
            return found
        return given.get("host", "localhost"), int(given.get("port", 6379))


def _greeting(given: dict[str, Any]) -> list[Command]:
    commands: list[Command] = []
    if given.get("password") is not None:
        user = (given["username"],) if given.get("username") else ()
        commands.append(("AUTH", *user, given["password"]))
    if given.get("db"):
        commands.append(("SELECT", given["db"]))
    return commands


class _Wire(asyncio.Protocol):
    """The connection itself: a buffer of what is to be sent, and a line of those who wait."""

    def __init__(self, link: Link, loop: asyncio.AbstractEventLoop, timeout_s: float) -> None:
        self._link = link
        self._loop = loop
        self._timeout_s = timeout_s
        self._reader = hiredis.Reader(protocolError=InvalidResponse, replyError=BaseParser.parse_error)
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._waiting: deque[_Sent] = deque()
        self._watch: asyncio.TimerHandle | None = None
        self.closed = False

    def send(self, commands: Sequence[Command]) -> list[asyncio.Future[Any]]:
        """Put commands into this turn's write. Raises RedisConnectionError where they can not be sent."""
        self._require_room(len(commands))
        # All are packed before the first is in line: where one can not be, none is sent.
        packed = [hiredis.pack_command(_words(command)) for command in commands]
        futures = [self._line_up(one) for one in packed]
        self._flush_a_part()
        return futures

    def send_one(self, command: Command) -> asyncio.Future[Any]:
        """The same for one, as nearly all come."""
        self._require_room(1)
        future = self._line_up(hiredis.pack_command(_words(command)))
        self._flush_a_part()
        return future

    def _require_room(self, commands: int) -> None:
        if self.closed:
            raise RedisConnectionError("the connection was lost")
        if len(self._waiting) + commands > IN_FLIGHT_MAX:
            raise RedisConnectionError("too many commands wait for their answers")

    def _line_up(self, packed: bytes) -> asyncio.Future[Any]:
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(packed)
        future = self._loop.create_future()
        self._waiting.append((future, time.monotonic() + self._timeout_s))
        if self._watch is None:
            self._watch = self._loop.call_later(self._timeout_s, self._look)
        self._link.commands += 1
        return future

    def _flush_a_part(self) -> None:
        """Last of all, when all who wait are in line; commands that came together are not parted."""
        if len(self._unsent) >= PART:
            self._flush()

    def _flush(self) -> None:
        data, self._unsent = b"".join(self._unsent), []
        if data and self._transport is not None and not self.closed:
            self._link.writes += 1
            self._transport.write(data)

    def _look(self) -> None:
        """Is the answer that must come next late?"""
        self._watch = None
        if self._waiting:
            left_s = self._waiting[0][1] - time.monotonic()
            if left_s <= 0:
                self.fail(RedisTimeoutError("no answer in time"))
            else:
                self._watch = self._loop.call_later(max(left_s, WATCH_SHARE * self._timeout_s), self._look)

    def fail(self, error: Exception) -> None:
        """End the connection; `error` goes to everybody who waits."""
        if self.closed:
            return
        self.closed = True
        self._link.lost(self)
        if self._watch is not None:
            self._watch.cancel()
        if self._transport is not None:
            self._transport.abort()
        while self._waiting:
            future, _ = self._waiting.popleft()
            if not future.done():
                # As a result, like an error of the server: it is no fault of a caller that went away meanwhile.
                future.set_result(type(error)(*error.args))

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to send."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        """Hand answers to those who wait, in order."""
        self._reader.feed(data)
        try:
            # False is no answer of RESP2's, so it stands for "not all there yet".
            while (answer := self._reader.gets()) is not False:
                future, _ = self._waiting.popleft()
                if not future.done():
                    future.set_result(answer)
                if isinstance(answer, ReadOnlyError):
                    self.fail(RedisConnectionError("the primary has become a replica"))
                    return
        except (InvalidResponse, IndexError):
            self.fail(RedisConnectionError("the server does not speak RESP2"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by the other side."""
        self.fail(RedisConnectionError("the connection was lost"))


def _words(command: Command) -> tuple[Any, ...]:
    """redis-py names some commands by two words."""
    name = command[0]
    return (*name.split(), *command[1:]) if isinstance(name, str) and " " in name else command


class LinkedRedis(Redis):
    """redis-py's client with its methods, on a link. Blocking commands must not be sent on it: all would wait."""

    def __init__(self, pool: ConnectionPool) -> None:
        """`pool` becomes ours: it is closed with the client."""
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self.link = Link(pool)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """One command. Raises redis.exceptions.RedisError; nothing is resent."""
        return self.read(args[0], await self.link.ask(args), options)

    def evalsha(self, sha: str, numkeys: int, *keys_and_args: EncodableT) -> Awaitable[Any]:
        """Nearly all that is asked is asked so, and its answers have no shape of redis-py's."""
        return self.link.ask(("EVALSHA", sha, numkeys, *keys_and_args))

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Without a transaction it goes through the link, with one through a connection of its own."""
        if transaction:
            return super().pipeline(transaction, shard_hint)
        return _LinkedPipeline(self)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        await self.link.aclose()
        await super().aclose(close_connection_pool)

    def read(self, name: str | bytes, answer: Any, options: Mapping[str, Any]) -> Any:
        """An answer in the shape that redis-py gives it."""
        callback = self.response_callbacks.get(name)
        if callback is None:
            return answer
        # Where the keys stand matters to redis-py's client-side cache alone.
        return callback(answer, **{k: v for k, v in options.items() if k != "keys"})


class _LinkedPipeline(Pipeline):
    """Commands that go out together; each is by itself."""

    def __init__(self, client: LinkedRedis) -> None:
        super().__init__(client.connection_pool, client.response_callbacks, False, None)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """The answers in order. Raises RedisError; with `raise_on_error` False, the server's errors are answers."""
        commands, self.command_stack = self.command_stack, []
        answers = await self._client.link.ask_many([args for args, _ in commands])
        read = [
            answer if isinstance(answer, Exception) else self._client.read(args[0], answer, options)
            for (args, options), answer in zip(commands, answers, strict=True)
        ]
        if raise_on_error:
            self.raise_first_error(commands, read)
        return read
