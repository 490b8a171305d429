"""What every test may ask for: a real Valkey of its own with a synced append-only file, and clean settings."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import uvloop
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from redis.backoff import ConstantBackoff
from redis.retry import Retry

import debian
from antrean.config.embedded_valkey import EmbeddedValkey, find_server
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.provider.breaker import SharedBreaker
from antrean.provider.transport import Http1Transport
from orders_support import World, note_vault
from provider_support import Clock, make_breaker

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.new_event_loop,
    "uvloop": uvloop.new_event_loop,
}
# How long a case takes says how busy the machine is; whatever else the profile of the place (CI or not) asks for stays.
hypothesis.settings.register_profile(
    "antrean", hypothesis.settings.get_profile(hypothesis.settings.get_current_profile_name()), deadline=None
)
hypothesis.settings.load_profile("antrean")

#: Longest stop of a test's Valkey, in seconds.
STOP_S = 10


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Nobody shall believe that something was tested where it was not."""
    for text in debian.missing.values():
        terminalreporter.write_sep("!", text, red=True)


def pytest_asyncio_loop_factories(item: pytest.Item) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return LOOPS if item.get_closest_marker("both_loops") else {"asyncio": LOOPS["asyncio"]}


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's ANTREAN_… variables must not decide how a test ends."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [n for n in os.environ if n.startswith("ANTREAN_")]:
            patch.delenv(name)
        yield


@pytest.fixture(name="clock")
def breakers_clock() -> Clock:
    """The time of breakers and limits, in the test's hands."""
    return Clock()


@pytest.fixture(name="breaker")
def shared_breaker(redis: Redis, clock: Clock) -> SharedBreaker:
    """A breaker with the rules of the tests."""
    return make_breaker(redis, clock)


@pytest.fixture
async def transport() -> AsyncIterator[Http1Transport]:
    """What carries calls to the upstream, four at a time."""
    made = Http1Transport(4)
    yield made
    await made.aclose()


@pytest.fixture(scope="session")
def make_settings() -> Callable[..., Settings]:
    """Builds settings from arguments and defaults alone."""

    def make(**values: Any) -> Settings:
        return Settings(_env_file=None, **values)

    return make


@pytest.fixture
def short_dir() -> Iterator[Path]:
    """A folder whose path is short enough for a unix socket, wherever pytest keeps its own."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def valkey_url(make_settings: Callable[..., Settings]) -> Iterator[str]:
    """URL of a private Valkey, configured as the embedded one; one for the whole run."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-", dir="/tmp"))
    embedded = EmbeddedValkey(folder, folder / "valkey.sock", find_server())
    embedded.prepare()
    with embedded.log_path.open("ab") as output:
        server = subprocess.Popen(embedded.argv, stdout=output, stderr=output, start_new_session=True)
    try:
        asyncio.run(embedded.wait_ready(make_settings(data_dir=folder), timeout_s=STOP_S))
        yield f"unix://{embedded.socket}"
    finally:
        server.terminate()
        server.wait(STOP_S)
        shutil.rmtree(folder)


@pytest.fixture
def settings(make_settings: Callable[..., Settings], valkey_url: str, tmp_path: Path) -> Settings:
    """Defaults, on the test's Valkey and a data dir of the test's own."""
    return make_settings(redis_url=valkey_url, data_dir=tmp_path / "data")


@pytest.fixture(name="redis")
async def empty_redis(settings: Settings) -> AsyncIterator[Redis]:
    """A client that repeats nothing, on an empty database."""
    async with _emptied(settings) as client:
        yield client


@contextlib.asynccontextmanager
async def _emptied(settings: Settings) -> AsyncIterator[Redis]:
    client = connect(settings.redis_url, settings)
    await client.flushdb()
    yield client
    await client.aclose()


@pytest.fixture
async def noted(redis: Redis) -> None:
    """The tests' own key is one that seals in that database."""
    await note_vault(redis)


@pytest.fixture(scope="session")
def quick_valkey_url() -> Iterator[str]:
    """A Valkey that syncs nothing: here time is virtual and the disk is not what is tested."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-", dir="/tmp"))
    socket = folder / "s"
    binary = find_server().path
    options = [
        "--port",
        "0",
        "--unixsocket",
        str(socket),
        "--save",
        "",
        "--appendonly",
        "no",
        "--dir",
        str(folder),
    ]
    server = subprocess.Popen([binary, *options], stdout=subprocess.DEVNULL)
    try:
        client = BlockingRedis.from_url(f"unix://{socket}", retry=Retry(ConstantBackoff(0.05), 100))
        client.ping()
        client.close()
        yield f"unix://{socket}"
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder)


@pytest.fixture
async def quick_redis(make_settings: Callable[..., Settings], quick_valkey_url: str) -> AsyncIterator[Redis]:
    """As `redis`, on the Valkey that syncs nothing."""
    async with _emptied(make_settings(redis_url=quick_valkey_url)) as client:
        yield client


@pytest.fixture
async def world(redis: Redis) -> AsyncIterator[World]:
    """A store with two workers alive; at the end its books must balance. Files that need another have their own."""
    world = World(redis)
    await world.beat("w1", "w2")
    yield world
    await world.assert_books_balance()
