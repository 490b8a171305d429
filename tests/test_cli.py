"""The `antrean` command: quick to ask, plain in its answers."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from antrean.cli import main
from antrean.cli._redis import local_time
from antrean.config.settings import Settings
from antrean.orders import ids, keys
from antrean.orders.view import rfc3339
from cli_support import antrean
from orders_support import World


def test_every_file_in_the_folder_is_a_command_with_a_line_of_help() -> None:
    ctx = click.Context(main)
    names = main.list_commands(ctx)
    assert {"up", "gateway", "worker", "simulator", "doctor"} <= set(names)
    for name in names:
        command = main.get_command(ctx, name)
        assert command is not None
        assert command.get_short_help_str()


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from antrean.cli import main;"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0;"
        "print([m for m in ('redis', 'aiohttp', 'pydantic', 'httpx', 'rich') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_command_is_an_error() -> None:
    assert CliRunner().invoke(main, ["nonsense"]).exit_code == 2


def test_settings_that_break_a_rule_are_named_without_a_traceback_or_their_value(tmp_path: Path) -> None:
    done = antrean(
        "up",
        cwd=tmp_path,
        ANTREAN_HTTP_PORT="0",
        ANTREAN_BOOTSTRAP_OPS_KEY="too-short",
        ANTREAN_PROBE_INTERVAL_S="x",
        ANTREAN_DRAIN_S="inf",
        ANTREAN_REDIS_URL="http://of-no-concern",
        ANTREAN_DOCUMENT_STORE="ftp://files",
        ANTREAN_UPSTREAM_BACKEND_URL="backend.example",
    )
    assert done.returncode == 2
    assert "ANTREAN_DRAIN_S: Input should be a finite number" in done.stderr
    assert "ANTREAN_REDIS_URL: must be a URL: redis://…" in done.stderr
    assert "ANTREAN_DOCUMENT_STORE: must be a URL: file://…, s3://…" in done.stderr
    assert "ANTREAN_UPSTREAM_BACKEND_URL: must be a URL: http://…" in done.stderr
    assert "of-no-concern" not in done.stderr
    assert "ANTREAN_HTTP_PORT: Input should be greater than or equal to 1" in done.stderr
    assert "ANTREAN_BOOTSTRAP_OPS_KEY: a bootstrap key needs 32 characters" in done.stderr
    assert "ANTREAN_PROBE_INTERVAL_S: Input should be a valid number" in done.stderr
    assert "Traceback" not in done.stderr
    assert "too-short" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_up_tells_in_one_line_why_it_can_not_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = antrean("up", cwd=tmp_path, ANTREAN_DATA_DIR="file/data")
    assert done.returncode == 1
    assert done.stderr.startswith("Error: The data folder")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["gateway", "worker"])
def test_a_process_without_redis_says_so_in_one_line(command: str, tmp_path: Path) -> None:
    upstream = {f"ANTREAN_UPSTREAM_{part}_URL": "http://127.0.0.1:1" for part in ("BACKEND", "STAMPV2")}
    done = antrean(command, cwd=tmp_path, ANTREAN_REDIS_URL="redis://127.0.0.1:1/0", **upstream)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].startswith("Error: Redis does not answer")
    assert "ANTREAN_REDIS_URL" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_worker_beside_others_does_not_start_without_the_server_that_it_is_to_ask(tmp_path: Path) -> None:
    backend = {"ANTREAN_UPSTREAM_BACKEND_URL": "http://127.0.0.1:1"}
    done = antrean("worker", cwd=tmp_path, ANTREAN_REDIS_URL="redis://127.0.0.1:1/0", **backend)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ANTREAN_UPSTREAM_STAMPV2_URL: not set.")


async def test_a_database_that_redis_does_not_have_is_told_in_a_line(redis: Redis, tmp_path: Path) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    for command in ("gateway", "backlog"):
        url = {"ANTREAN_REDIS_URL": f"unix://{path}?db=99"}
        done = await asyncio.to_thread(antrean, command, cwd=tmp_path, **url)
        assert done.returncode == 1
        assert done.stderr == "Error: Redis refused: DB index is out of range. `antrean doctor` says more.\n"


@pytest.mark.parametrize("words", [("ledger", "check"), ("ledger", "reconcile"), ("orders", "check")])
async def test_an_outage_of_redis_is_not_the_exit_code_of_a_finding(
    redis: Redis, tmp_path: Path, words: tuple[str, str]
) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    upstream = {f"ANTREAN_UPSTREAM_{part}_URL": "http://127.0.0.1:1" for part in ("BACKEND", "STAMPV2")}
    for url, said in (
        ("redis://127.0.0.1:1/0", "Error: Redis does not answer"),
        (f"unix://{path}?db=99", "Error: Redis refused: DB index is out of range."),
    ):
        done = await asyncio.to_thread(antrean, *words, cwd=tmp_path, ANTREAN_REDIS_URL=url, **upstream)
        assert (done.returncode, done.stdout) == (4, "")
        assert done.stderr.startswith(said)
        assert len(done.stderr.splitlines()) == 1
    (tmp_path / "file").touch()
    places = {
        "ANTREAN_REDIS_URL": f"unix://{path}",
        "ANTREAN_DOCUMENT_STORE": (tmp_path / "file" / "x").as_uri(),
    }
    done = await asyncio.to_thread(antrean, *words, cwd=tmp_path, **places, **upstream)
    assert (done.returncode, done.stderr.startswith("Error: The document store: ")) == (4, True)


async def test_what_redis_refuses_with_is_told_as_a_sentence(redis: Redis, tmp_path: Path) -> None:
    url = {"ANTREAN_REDIS_URL": f"unix://{redis.connection_pool.connection_kwargs['path']}"}
    was = str((await redis.config_get("maxmemory"))["maxmemory"])
    await redis.config_set("maxmemory", 1)
    try:
        done = await asyncio.to_thread(antrean, "keys", "create", "--role", "ops", cwd=tmp_path, **url)
    finally:
        await redis.config_set("maxmemory", was)
    assert done.stderr.startswith("Error: Redis refused: ")
    assert done.stderr.endswith("'maxmemory'. `antrean doctor` says more.\n")


async def test_a_wrong_password_is_told_as_one(redis: Redis, tmp_path: Path) -> None:
    path = redis.connection_pool.connection_kwargs["path"]
    url = {"ANTREAN_REDIS_URL": f"unix://nobody:wrong@{path}"}
    for command in ("gateway", "backlog"):
        done = await asyncio.to_thread(antrean, command, cwd=tmp_path, **url)
        assert done.returncode == 1
        assert done.stderr.startswith("Error: Redis refuses the user or the password of its URL.")
    doctor = await asyncio.to_thread(antrean, "doctor", cwd=tmp_path, **url)
    assert "Correct the user and the password in ANTREAN_REDIS_URL." in doctor.stdout


@pytest.mark.parametrize(
    "words",
    [("orders", "show"), ("orders", "replay"), ("ledger", "refund", "--reason", "x")],
    ids=lambda words: words[1],
)
async def test_an_order_that_there_is_not_is_told_as_that(
    redis: Redis, settings: Settings, tmp_path: Path, words: tuple[str, ...]
) -> None:
    url = {"ANTREAN_REDIS_URL": settings.effective_redis_url}
    done = await asyncio.to_thread(antrean, *words, "x" * 26, cwd=tmp_path, **url)
    assert done.returncode == 1
    assert done.stderr == f"Error: There is no order {'x' * 26}.\n"


@pytest.mark.parametrize(
    "words",
    [
        ("keys", "create", "--role", "ops", "--days", "1e9"),
        ("keys", "create", "--role", "ops", "--days", "nan"),
        ("keys", "rotate", "x", "--overlap-hours", "nan"),
        ("breaker", "open", "provider", "--minutes", "nan", "--reason", "x"),
        ("breaker", "open", "provider", "--minutes", "1e-9", "--reason", "x"),
        ("breaker", "open", "provider", "--reason", " "),
        ("personal", "erase", "x", "--reason", ""),
        ("ledger", "refund", "x", "--reason", "y" * 129),
        ("ledger", "csv", "--from", "2026-02-02", "--to", "2026-02-01"),
        ("ledger", "csv", "--office", "MDN 01"),
        ("orders", "replay", "x", "--reason", ""),
        ("orders", "replay", "x", "--reason", "asked for by 1271010101900001"),
        ("breaker", "open", "provider", "--reason", "01.234.567.8-901.000"),
    ],
)
def test_an_option_beyond_its_bounds_is_refused_before_anything_is_done(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, list(words))
    assert done.exit_code == 2
    assert "Invalid value for '--" in done.output


def test_a_time_that_no_calendar_holds_is_shown_all_the_same() -> None:
    assert rfc3339(10**18).startswith("9999-12-")
    assert local_time(10**18).startswith("9999-12-")


@pytest.mark.parametrize("port", ["18080", "0"])
def test_a_simulator_without_a_port_of_its_own_is_told_before_anything_starts(
    tmp_path: Path, port: str
) -> None:
    http = "18080" if port == "18080" else "65535"
    done = antrean("up", cwd=tmp_path, ANTREAN_HTTP_PORT=http, ANTREAN_SIMULATOR_PORT=port)
    assert done.returncode == 1
    assert "ANTREAN_SIMULATOR_PORT" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_a_command_leaves_without_waiting_for_threads_that_are_not_its_own(tmp_path: Path) -> None:
    """Where the interpreter is taken apart, a thread of the document store's library can abort the process."""
    code = (
        "import atexit, sys, threading, time, antrean.__main__ as program\n"
        "def command(prog_name):\n"
        "    threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "    atexit.register(print, 'last words')\n"
        "    print('said', prog_name)\n"
        "    sys.exit({code})\n"
        "program.main = command\n"
        "program.run()\n"
    )
    for given, expected in (("3", 3), ("None", 0), ("'why'", 1)):
        done = subprocess.run(
            [sys.executable, "-c", code.format(code=given)],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert (done.returncode, done.stdout) == (expected, "said antrean\nlast words\n")
        assert done.stderr.strip() == ("why" if given == "'why'" else "")


async def test_days_and_times_say_of_which_zone_they_are(
    redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    world = World(redis)
    env = {"ANTREAN_REDIS_URL": settings.effective_redis_url, "TZ": "Asia/Makassar"}
    empty = await asyncio.to_thread(antrean, "ledger", cwd=tmp_path, **env)
    assert "changes by day" not in empty.stdout
    order = await world.submit(deadline_ms=world.now_ms)
    # 2027-01-15, 15:00 in Jakarta and 16:00 in Makassar.
    books = await asyncio.to_thread(antrean, "ledger", "--until", "2027-01-15", cwd=tmp_path, **env)
    *_, heading, day = books.stdout.splitlines()
    assert heading == "changes by day (Jakarta) and office"
    assert day.startswith("2027-01-15  MDN-01 ")
    rows: Any = await redis.xrange(keys.LEDGER)
    [(entry_id, entry)] = rows
    await redis.xdel(keys.LEDGER, entry_id)
    await redis.xadd(keys.LEDGER, entry, id=f"{world.now_ms}-0")  # as Valkey names it at that time
    for first, entries in (("2027-01-15", 1), ("2027-01-16", 0)):
        words = ("ledger", "csv", "--office", "MDN-01", "--from", first, "--to", "2027-01-17")
        file = await asyncio.to_thread(antrean, *words, cwd=tmp_path, **env)
        assert len(file.stdout.splitlines()) == 1 + entries
    shown = await asyncio.to_thread(antrean, "orders", "show", order.id, cwd=tmp_path, **env)
    assert "deadline        2027-01-15 16:00:00 WITA\n" in shown.stdout
    assert "  2027-01-15 16:00:00 WITA  queued " in shown.stdout


async def test_a_damaged_part_of_the_archive_is_told_and_no_traceback(
    redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    order = await World(redis).submit()
    env = {"ANTREAN_REDIS_URL": settings.effective_redis_url, "ANTREAN_DATA_DIR": str(tmp_path / "data")}
    await redis.delete(keys.ORDER + order.id)
    await redis.delete(keys.INDEX_ALL)
    day = datetime.fromtimestamp(ids.time_ms(order.id) / 1000, UTC).strftime("%Y-%m-%d")
    path = f"archive/orders/{day}/{order.id}-{order.id}-1-1-0.jsonl.gz"
    segment = tmp_path / "data" / "documents" / path
    segment.parent.mkdir(parents=True)
    segment.write_bytes(b"\x1f\x8b spoilt")
    told = f"a part of the archive is damaged: {path}. Restore it from a copy"
    for words, out in (("check",), 0), (("show", order.id), 1):
        done = await asyncio.to_thread(antrean, "orders", *words, cwd=tmp_path, **env)
        assert done.returncode == 1
        assert (done.stdout, done.stderr)[out].startswith(("", "Error: ")[out] + told)
        assert "Traceback" not in done.stderr
