"""What `antrean doctor` finds, and what it says is to be done."""

from __future__ import annotations

import errno
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from redis.asyncio import Redis

from antrean.cli import main
from antrean.config import checkup, personal_keys
from antrean.config.checkup import check_document_store, examine, judge_clock
from antrean.config.durability import Level
from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.documents import DocumentStoreUnavailable
from antrean.orders.store_mark import StoreMark
from cli_support import antrean
from simulated_upstream import PASSWORD, USER, simulated


def test_the_doctor_fails_and_says_what_to_change(tmp_path: Path) -> None:
    done = antrean("doctor", cwd=tmp_path, ANTREAN_REDIS_URL="redis://127.0.0.1:1")
    assert done.returncode == 1
    assert "Start Redis or `antrean up`, or correct ANTREAN_REDIS_URL." in done.stdout
    assert "rediss" not in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == [], "it only looks"
    assert "data/documents is not there" in done.stdout


def test_the_doctor_thinks_of_tls_where_a_server_may_speak_none(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        url = f"rediss://127.0.0.1:{plain.getsockname()[1]}"
        done = antrean("doctor", cwd=tmp_path, ANTREAN_REDIS_URL=url, ANTREAN_REDIS_TIMEOUT_S="0.3")
    assert done.returncode == 1
    assert (
        "Or it speaks no TLS at this port: then let the URL begin with redis instead of rediss" in done.stdout
    )


async def test_the_doctor_finds_nothing_to_fail_where_all_is_well(redis: Redis, settings: Settings) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # bound, not listening: the machine's own simulator is not asked
        findings = await examine(settings.model_copy(update={"simulator_port": deaf.getsockname()[1]}))
    failed = {f.check for f in findings if f.level is Level.FAIL}
    assert failed == {"simulator"}  # no upstream is set and none is started here
    assert {"append-only file", "eviction", "clock against Redis", "document store", "disk"} <= {
        f.check for f in findings
    }


async def test_the_doctor_sees_that_documents_are_kept_in_another_folder(
    redis: Redis, settings: Settings, tmp_path: Path
) -> None:
    await StoreMark(redis, "file:///host-1").write("1" * 32)
    (tmp_path / "host-2").mkdir()
    here = settings.model_copy(update={"document_store": (tmp_path / "host-2").as_uri()})
    [found] = [each for each in await examine(here) if each.check == "documents' folder"]
    assert found.level is Level.FAIL
    assert "kept in file:///host-1" in found.seen


@pytest.mark.parametrize(
    ("totals", "told"),
    [
        ({}, None),
        ({"paid": 20_000, "held": 10_000, "stamped": 10_000}, None),
        ({"paid": 20_000, "held": 10_000}, "paid is Rp 10,000 more than the sum of its parts"),
        ({"paid": 10_000, "held": -10_000, "stamped": 20_000}, "held is Rp -10,000"),
    ],
)
async def test_the_doctor_adds_up_the_books(
    redis: Redis, settings: Settings, totals: dict[str, int], told: str | None
) -> None:
    for account, amount in totals.items():
        await redis.hset(keys.LEDGER_TOTALS, account, str(amount))
    found = {f.check: f for f in await examine(settings)}["books"]
    assert found.level is (Level.FAIL if told else Level.OK)
    assert told is None or found.seen == told
    assert ("antrean ledger check" in found.advice) == bool(told)


async def test_the_doctor_names_what_of_the_upstream_is_not_set(
    redis: Redis, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))  # bound, not listening: refused at once
        half = make_settings(
            redis_url=settings.redis_url,
            data_dir=settings.data_dir,
            upstream_backend_url=f"http://127.0.0.1:{deaf.getsockname()[1]}/path",
        )
        findings = {f.check: f for f in await examine(half)}
    assert findings["upstream backend"].level is Level.FAIL
    assert findings["upstream stampv2"].advice == "Set ANTREAN_UPSTREAM_STAMPV2_URL."
    assert findings["upstream adapter"].advice == "Set ANTREAN_UPSTREAM_ADAPTER_URL."
    assert findings["upstream account"].level is Level.FAIL


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("", "its list of serial numbers answers"),
        ("password", "the upstream refuses our login"),
        ("path", "the upstream"),
        ("away", "the upstream is too busy"),
    ],
)
async def test_the_doctor_asks_the_account_a_free_question(
    redis: Redis, settings: Settings, make_settings: Callable[..., Settings], wrong: str, told: str
) -> None:
    async with simulated(logged_in=False) as upstream:
        urls = {f"upstream_{name}_url": upstream.urls[name] for name in ("backend", "stampv2", "adapter")}
        if wrong == "path":
            urls["upstream_stampv2_url"] += "/elsewhere"
        if wrong == "away":
            await upstream.fault("down", scope=["sn_list"])
        asked = make_settings(
            redis_url=settings.redis_url,
            data_dir=settings.data_dir,
            upstream_user=USER,
            upstream_password="wrong" if wrong == "password" else PASSWORD,
            **urls,
        )
        found = {f.check: f for f in await examine(asked)}["upstream account"]
    assert (found.level is Level.OK) == (not wrong)
    assert told in found.seen


@pytest.mark.parametrize(
    ("left", "level", "told"),
    [
        (1985, Level.OK, "1,985 stamps left"),
        (0, Level.WARN, "no stamp is left"),
        (None, Level.WARN, "too busy"),
    ],
)
async def test_the_doctor_says_what_is_left_to_buy(
    redis: Redis,
    settings: Settings,
    make_settings: Callable[..., Settings],
    left: int | None,
    level: Level,
    told: str,
) -> None:
    async with simulated() as upstream:
        if left is None:
            await upstream.fault("down", scope=["balance"])
        else:
            await upstream.call("PUT", f"{upstream.origin}/_sim/quota", json={"quota": left})
        asked = make_settings(
            redis_url=settings.redis_url,
            data_dir=settings.data_dir,
            upstream_user=USER,
            upstream_password=PASSWORD,
            **{f"upstream_{name}_url": upstream.urls[name] for name in ("backend", "stampv2", "adapter")},
        )
        found = {f.check: f for f in await examine(asked)}
    assert found["upstream account"].level is Level.OK
    assert found["upstream quota"].level is level
    assert told in found["upstream quota"].seen


async def test_the_doctor_tells_a_user_who_may_not_look_for_the_keys(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def may_not(_path: Path) -> bool:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(personal_keys, "_is_there", may_not)
    found = {f.check: f for f in await examine(settings)}["keys of personal data"]
    assert (found.level, found.advice) == (Level.FAIL, "Ask as the user who owns the data folder.")


def test_papers_are_stamped_though_what_the_adapter_signed_can_not_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UNSIGNED", "SIGNED", "STAMP"):
        (tmp_path / name).mkdir()
    write = tempfile.NamedTemporaryFile
    theirs: set[str] = set()

    def may_not_everywhere(**options: Any) -> object:
        if options["dir"].name in theirs:
            raise PermissionError(errno.EACCES, "Permission denied")
        return write(**options)

    monkeypatch.setattr(tempfile, "NamedTemporaryFile", may_not_everywhere)
    for name, level in (("", Level.OK), ("SIGNED", Level.WARN), ("STAMP", Level.FAIL)):
        theirs.add(name)
        assert checkup._shared(tmp_path).level is level


async def test_a_document_store_is_written_to_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "a b" / "documents").mkdir(parents=True)
    finding = await check_document_store((tmp_path / "a b" / "documents").as_uri())
    assert finding.level is Level.OK
    assert [path for path in (tmp_path / "a b" / "documents").rglob("*") if path.is_file()] == []


async def test_a_document_store_that_can_not_be_written_is_found(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert (await check_document_store((tmp_path / "file" / "x").as_uri())).level is Level.FAIL
    assert (await check_document_store("nonsense://x")).level is Level.FAIL


@pytest.mark.parametrize(
    ("ahead_s", "level"), [(0.4, Level.OK), (-3.5, Level.WARN), (61, Level.FAIL), (-90, Level.FAIL)]
)
def test_a_clock_that_is_off_is_found_in_both_directions(ahead_s: float, level: Level) -> None:
    assert judge_clock("clock", ahead_s).level is level


def test_a_full_disk_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkup, "DISK_FAIL_BYTES", 2**63)
    assert checkup.judge_disk(tmp_path / "not" / "there" / "yet", "all stops").level is Level.FAIL


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (DocumentStoreUnavailable("a document was not deleted: GenericError"), "a document was not deleted"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left"),
    ],
)
def test_a_store_s_fault_is_told_in_a_line(
    fault: Exception, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails() -> None:
        raise fault

    command = click.Command("probe", callback=fails)
    monkeypatch.setattr(main, "get_command", lambda _ctx, _name: command)
    done = CliRunner().invoke(main, ["probe"])
    assert done.exit_code == 1
    assert done.output.startswith("Error: ")
    assert told in done.output
