"""What the commands say, in words, numbers and times, and how they end."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from antrean.cli import main
from antrean.cli._output import counted
from antrean.config.settings import Settings
from antrean.orders import keys
from cli_support import antrean
from orders_support import World

DOCS = Path(__file__).parent.parent / "docs"
#: Longest that a command may take to say something, on a busy machine.
PATIENCE_S = 30
TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d WITA"


@pytest.fixture
def env(redis: Redis, settings: Settings) -> dict[str, str]:
    """The test's Redis, empty, and a zone of its own."""
    return {"ANTREAN_REDIS_URL": settings.effective_redis_url, "TZ": "Asia/Makassar"}


@contextmanager
def begun(*args: str, cwd: Path, **env: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on until it is ended."""
    with subprocess.Popen(
        [sys.executable, "-m", "antrean", *args],
        cwd=cwd,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_a_watched_backlog_goes_through_a_pipe_and_ends_with_it(
    env: dict[str, str], tmp_path: Path
) -> None:
    def watch() -> int:
        with begun("backlog", "--watch", cwd=tmp_path, **env) as process:
            assert process.stdout is not None
            seen = 0
            while seen < 2:
                line = process.stdout.readline()
                assert line, "it ended"
                seen += line == "0 orders are open, 0 workers are alive\n"
            process.stdout.close()
            return process.wait(PATIENCE_S)

    assert await asyncio.wait_for(asyncio.to_thread(watch), PATIENCE_S) == 1


async def test_a_watched_backlog_ends_well_with_ctrl_c(env: dict[str, str], tmp_path: Path) -> None:
    def watch() -> int:
        with begun("backlog", "--watch", cwd=tmp_path, **env) as process:
            assert process.stdout is not None
            process.stdout.readline()
            process.send_signal(signal.SIGINT)
            return process.wait(PATIENCE_S)

    assert await asyncio.wait_for(asyncio.to_thread(watch), PATIENCE_S) == 0


async def test_the_backlog_says_how_fast_it_goes(redis: Redis, env: dict[str, str], tmp_path: Path) -> None:
    seconds, _ = await redis.time()
    for back in (0, 1):  # either side of a span's end
        await redis.set(f"{keys.DONE}{seconds // 10 - back}", 30)
    shown = await asyncio.to_thread(antrean, "backlog", cwd=tmp_path, **env)
    told = re.search(r"^completed a minute, lately: ([\d.]+)$", shown.stdout, re.MULTILINE)
    assert told is not None
    assert 30 <= float(told[1]) <= 75
    for page in ("runbook.md", "runbook.id.md"):
        assert "`completed a minute`" in (DOCS / page).read_text()


@pytest.mark.parametrize("host", ["192.0.2.1", "bogus host", "a..b"])
def test_a_gateway_with_a_host_that_is_none_of_ours_says_so_in_a_line(tmp_path: Path, host: str) -> None:
    done = antrean("gateway", cwd=tmp_path, ANTREAN_HTTP_HOST=host)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: Port 8080 on {host} can not be listened on (")
    assert "ANTREAN_HTTP_HOST" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_orders_are_sent_to_where_the_settings_say(tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_text('{"idempotency_key": "a"}\n')
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # bound, not listening: refused at once
        port = str(deaf.getsockname()[1])
        words = ("send", "orders.jsonl", "--key", "x")
        with begun(*words, cwd=tmp_path, ANTREAN_HTTP_PORT=port, ANTREAN_HTTP_HOST="0.0.0.0") as process:
            assert process.stderr is not None
            line = process.stderr.readline()
    assert line.startswith(f"POST /v1/batches at http://127.0.0.1:{port}: not taken yet (ConnectError)")


async def test_the_history_is_that_of_both_breakers_unless_one_is_named(
    env: dict[str, str], tmp_path: Path
) -> None:
    async def said(*words: str) -> str:
        done = await asyncio.to_thread(antrean, "breaker", *words, cwd=tmp_path, **env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for name in ("provider", "adapter"):
        told = await said("open", name, "--minutes", "1", "--reason", "works")
        assert told == f"{name} is held open for 1 minute: works\n"
    adapter, provider = (await said("history")).splitlines()
    assert re.fullmatch(rf"{TIME}  adapter   closed → open  works  \(cli:.*\)", adapter)
    assert re.fullmatch(rf"{TIME}  provider  closed → open  works  \(cli:.*\)", provider)
    assert (await said("history", "provider")).splitlines() == [provider]
    assert (await said("history", "--limit", "1")).splitlines() == [adapter]
    assert len(re.findall(TIME, await said())) >= 2


async def test_times_are_told_alike(redis: Redis, env: dict[str, str], tmp_path: Path) -> None:
    order = await World(redis).submit()
    listed = await asyncio.to_thread(antrean, "orders", "list", cwd=tmp_path, **env)
    assert re.match(rf"{order.id}  {TIME}  MDN-01 ", listed.stdout)


async def test_a_notice_that_was_not_given_up_is_told_as_that(env: dict[str, str], tmp_path: Path) -> None:
    done = await asyncio.to_thread(antrean, "webhooks", "replay", "nope", cwd=tmp_path, **env)
    assert done.returncode == 1
    assert "There is no such notice among those given up: nope." in done.stderr
    done = await asyncio.to_thread(antrean, "webhooks", "replay", "--all", cwd=tmp_path, **env)
    assert done.returncode == 0
    assert done.stdout.endswith("0 are sent again\n")
    for beside in (("--all",), ("--office", "MDN-01")):
        done = await asyncio.to_thread(antrean, "webhooks", "replay", "nope", *beside, cwd=tmp_path, **env)
        assert done.returncode == 2
        assert "not both" in done.stderr


async def test_an_ops_key_has_its_article(env: dict[str, str], tmp_path: Path) -> None:
    done = await asyncio.to_thread(antrean, "keys", "create", "--role", "ops", cwd=tmp_path, **env)
    assert done.stdout.startswith("An ops key; it cannot be shown again:\n")


@pytest.mark.parametrize(
    ("number", "told"),
    [(0, "0 orders"), (1, "1 order"), (1.0, "1 order"), (1234, "1,234 orders"), (0.5, "0.5 orders")],
)
def test_a_number_has_its_word(number: float, told: str) -> None:
    assert counted(number, "order", "orders") == told


@pytest.mark.parametrize(
    "words", [("ledger", "--until"), ("ledger", "csv", "--from"), ("ledger", "csv", "--to")]
)
def test_a_day_that_is_none_is_told_with_the_form_of_one(words: tuple[str, ...]) -> None:
    for wrong in ("bogus", "2026-02-30", "01-02-2026"):
        done = CliRunner().invoke(main, [*words, wrong])
        assert done.exit_code == 2
        assert f"'{wrong}' is no day: write it as YYYY-MM-DD." in done.output


@pytest.mark.parametrize(
    "interrupted",
    [
        "import sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'click': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Finder())\n"
        "import antrean.__main__\n",
        "import antrean.__main__ as program\n"
        "def main(prog_name): raise KeyboardInterrupt\n"
        "program.main = main\n"
        "program.run()\n",
    ],
    ids=["while it is loaded", "outside click"],
)
def test_a_ctrl_c_at_the_very_start_ends_quietly(interrupted: str) -> None:
    done = subprocess.run([sys.executable, "-c", interrupted], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
