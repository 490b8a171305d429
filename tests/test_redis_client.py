"""No command is ever sent twice, whatever becomes of its answer."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from antrean.config.redis_client import connect, connect_sync
from antrean.config.settings import Settings


class Proxy:
    """Carries commands to the real server. When `armed`, it loses the next answer: `mute` or with the connection."""

    def __init__(self, socket_path: str) -> None:
        self.socket_path = socket_path
        self.url = ""
        self.armed: str | None = None
        self.lost = asyncio.Event()
        self.serving: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self.serving.add(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self.socket_path)
        forward = asyncio.create_task(self._forward(reader, up_writer))
        with contextlib.suppress(ConnectionError):
            while data := await up_reader.read(65536):
                if self.armed:
                    how, self.armed = self.armed, None
                    self.lost.set()
                    if how == "reset":
                        break
                    continue
                writer.write(data)
                await writer.drain()
        forward.cancel()
        await asyncio.gather(forward, return_exceptions=True)
        for end in (up_writer, writer):
            end.close()

    @staticmethod
    async def _forward(reader: asyncio.StreamReader, up_writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            up_writer.write(data)
            await up_writer.drain()
        up_writer.close()


@pytest.fixture
async def proxy(redis: Redis, valkey_url: str) -> AsyncIterator[Proxy]:
    proxy = Proxy(valkey_url.removeprefix("unix://"))
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    proxy.url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield proxy
    server.close()
    await asyncio.gather(*proxy.serving)


async def single(client: Redis) -> None:
    await client.incr("calls")


async def script(client: Redis) -> None:
    await client.eval("return redis.call('INCR', KEYS[1])", 1, "calls")


async def pipeline(client: Redis) -> None:
    async with client.pipeline(transaction=False) as pipe:
        pipe.incr("calls")
        pipe.ping()
        await pipe.execute()


async def transaction(client: Redis) -> None:
    async with client.pipeline(transaction=True) as pipe:
        pipe.incr("calls")
        pipe.ping()
        await pipe.execute()


@pytest.mark.parametrize("lose", ["mute", "reset"])
@pytest.mark.parametrize("send", [single, script, pipeline, transaction])
async def test_a_command_whose_answer_is_lost_reaches_the_server_once(
    proxy: Proxy,
    redis: Redis,
    make_settings: Callable[..., Settings],
    send: Callable[[Redis], Awaitable[None]],
    lose: str,
) -> None:
    # The URL asks for repetition, as a careless one might; it is not listened to.
    url = f"{proxy.url}?retry_on_timeout=true"
    client = connect(url, make_settings(redis_timeout_s=1.0))
    await client.ping()

    proxy.armed = lose
    with pytest.raises(RedisError):
        await send(client)

    assert proxy.lost.is_set()
    assert await redis.get("calls") == b"1"
    await send(client)  # the client itself is none the worse
    assert await redis.get("calls") == b"2"
    await client.aclose()


@pytest.mark.parametrize("lose", ["mute", "reset"])
@pytest.mark.parametrize("transaction", [False, True])
async def test_the_same_holds_for_the_blocking_client(
    proxy: Proxy, redis: Redis, make_settings: Callable[..., Settings], transaction: bool, lose: str
) -> None:
    client = connect_sync(proxy.url, make_settings(redis_timeout_s=1.0))
    await asyncio.to_thread(client.ping)

    def send() -> Any:
        with client.pipeline(transaction=transaction) as pipe:
            pipe.incr("calls")
            pipe.ping()
            return pipe.execute()

    proxy.armed = lose
    with pytest.raises(RedisError):
        await asyncio.to_thread(send)

    assert proxy.lost.is_set()
    assert await redis.get("calls") == b"1"
    await asyncio.to_thread(client.close)


async def test_a_server_that_is_away_is_told_at_once(make_settings: Callable[..., Settings]) -> None:
    client = connect("redis://127.0.0.1:1", make_settings(redis_timeout_s=60))
    async with asyncio.timeout(2):
        with pytest.raises(RedisConnectionError):
            await client.ping()
    await client.aclose()


async def test_opening_a_connection_costs_no_handshake(redis: Redis, settings: Settings) -> None:
    await redis.config_resetstat()
    client = connect(settings.redis_url, settings)
    await client.ping()
    seen = await redis.info("commandstats")
    await client.aclose()

    assert set(seen) <= {"cmdstat_ping", "cmdstat_info", "cmdstat_config|resetstat"}
    assert seen["cmdstat_ping"]["calls"] == 1


#: Asks for the primary, then waits until every look-up has ended; what is then nobody's error is told by the collector.
_ASKS_A_NAME = """
import asyncio, gc, socket, sys, uvloop
from antrean.config.redis_client import connect
from antrean.config.settings import Settings

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
    silent.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the other lane has one, too
    silent.bind(("127.0.0.9", 53))

    async def main():
        client = connect(sys.argv[1], Settings(_env_file=None, redis_timeout_s=1))
        try:
            await client.ping()
        except Exception as error:
            print(type(error).__name__)
        await client.aclose()
        try:
            await asyncio.get_running_loop().getaddrinfo("sentinel-3", 1)
        except OSError:
            pass
        gc.collect()

    uvloop.run(main())
"""


@pytest.mark.parametrize("url", ["redis+sentinel://sentinel-1,sentinel-2/antrean", "redis://elsewhere"])
def test_a_host_whose_name_is_looked_up_for_long_is_given_up_and_leaves_no_error_behind(
    url: str, tmp_path: Path
) -> None:
    names = tmp_path / "resolv.conf"
    names.write_text("nameserver 127.0.0.9\noptions timeout:2 attempts:1\n")
    alone = ("unshare", "--mount", "sh", "-c", f'mount --bind {names} /etc/resolv.conf && exec "$@"', "sh")
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("NOT TESTED: a name server that is silent; only root may set one for a process")
    done = subprocess.run(
        [*alone, sys.executable, "-c", _ASKS_A_NAME, url],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("TimeoutError\n", "")
