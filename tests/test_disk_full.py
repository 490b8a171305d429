"""A disk that fills up under a running product: orders are refused, none is lost, and it goes on by itself."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from antrean.config import checkup
from antrean.config.checkup import examine
from antrean.config.durability import Finding, Level
from antrean.config.settings import Settings
from antrean.config.start_checks import StartError, make_writable
from simulated_upstream import PASSWORD, USER, simulated
from stack import purchase, running_stack


@contextlib.contextmanager
def small_disk(size: str) -> Iterator[Path]:
    """A file system of its own, of `size` (as tmpfs takes it)."""
    with tempfile.TemporaryDirectory(prefix="antrean-disk-", dir="/tmp") as folder:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
            check=False,
            capture_output=True,
            text=True,
        )
        if mounted.returncode != 0:
            pytest.skip(f"NOT TESTED: a full disk; no tmpfs can be mounted here ({mounted.stderr.strip()})")
        try:
            yield Path(folder)
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)


def fill(path: Path) -> None:
    """Take up all that is left."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_full_disk_or_one_that_is_read_only_is_mended_and_never_left_for_an_empty_folder() -> None:
    with small_disk("1m") as disk:
        fill(disk / "filler")
        with pytest.raises(
            StartError, match=r"No space left.*Free space there\. Leave ANTREAN_DATA_DIR as it is"
        ):
            make_writable(disk)
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with pytest.raises(StartError, match=r"Mount it writable.*Leave ANTREAN_DATA_DIR as it is"):
            make_writable(disk)


async def _about(settings: Settings, check: str) -> list[Finding]:
    return [found for found in await examine(settings) if found.check == check]


async def test_the_doctor_tries_the_folder_shared_with_the_adapter(
    make_settings: Callable[..., Settings],
) -> None:
    with small_disk("1m") as disk:
        settings = make_settings(
            redis_url="redis://127.0.0.1:1",
            upstream_adapter_url="http://127.0.0.1:1",
            adapter_shared_dir=disk,
            document_store="s3://nowhere",
        )
        for name in ("UNSIGNED", "SIGNED", "STAMP"):
            (disk / name).mkdir()
        [found] = await _about(settings, "adapter's folder")
        assert found.level is Level.OK
        assert [path for path in disk.rglob("*") if path.is_file()] == []

        fill(disk / "filler")
        [found] = await _about(settings, "adapter's folder")
        assert (found.level, found.advice) == (Level.FAIL, "Free space there.")
        assert f"{disk}/UNSIGNED can not be written (No space left on device)" in found.seen

        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        [found] = await _about(settings, "adapter's folder")
        assert found.level is Level.FAIL
        assert "Mount it writable" in found.advice


async def test_the_doctor_says_what_to_do_about_a_full_disk_of_documents(
    make_settings: Callable[..., Settings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkup, "DISK_FAIL_BYTES", 1024**2)
    with small_disk("2m") as disk:
        settings = make_settings(data_dir=tmp_path, document_store=disk.as_uri())
        fill(disk / "filler")
        for found in await _about(settings, "document store"):
            assert (found.level, found.advice) == (Level.FAIL, "Free space there.")
            assert str(disk) in found.seen
        ours, theirs = await _about(settings, "disk")
        assert str(tmp_path) in ours.seen
        assert str(disk) in theirs.seen
        assert theirs.level is Level.FAIL
        assert "Valkey" not in theirs.advice


async def test_the_doctor_does_not_blame_the_account_where_redis_is_away(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    async with simulated(logged_in=False) as upstream:
        urls = {f"upstream_{name}_url": upstream.urls[name] for name in ("backend", "stampv2", "adapter")}
        settings = make_settings(data_dir=tmp_path, upstream_user=USER, upstream_password=PASSWORD, **urls)
        [found] = await _about(settings, "upstream account")
    assert found.level is Level.WARN
    assert found.advice == "Ask again when Redis answers."


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="NOT TESTED: no setpriv here")
@pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: another user's folder needs root to be made")
def test_a_user_who_may_not_look_into_the_data_folder_is_told_so(short_dir: Path) -> None:
    theirs, mine = short_dir / "service", short_dir / "mine"
    theirs.mkdir(mode=0o700)
    mine.mkdir()
    os.chown(theirs, 65534, 65534)
    bound = "-dac_override,-dac_read_search"  # as root is to nobody: another user

    def antrean(command: str) -> str:
        done = subprocess.run(
            ["setpriv", f"--bounding-set={bound}", f"--inh-caps={bound}"]
            + [sys.executable, "-m", "antrean", command],
            cwd=mine,
            env={
                **os.environ,
                "ANTREAN_DATA_DIR": str(theirs / "data"),
                "ANTREAN_UPSTREAM_ADAPTER_URL": "http://127.0.0.1:1",
                "ANTREAN_ADAPTER_SHARED_DIR": str(theirs / "shared"),
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stdout + done.stderr
        return " ".join((done.stdout + done.stderr).split())

    told = antrean("doctor")
    assert f"this user may not look for {theirs}/data/documents → Ask as the user who owns {theirs}." in told
    assert f"{theirs}/shared/UNSIGNED can not be written (Permission denied)" in told
    assert "later start as its owner. Leave ANTREAN_DATA_DIR as it is where orders were accepted" in antrean(
        "up"
    )


async def test_a_full_disk_refuses_orders_and_loses_none() -> None:
    with small_disk("24m") as disk:
        async with running_stack(workers=1, data_dir=str(disk / "data")) as stack:
            for _ in range(10):
                await stack.submit(purchase())
            fill(disk / "filler")
            refused: list[str] = []

            async def refuses() -> bool:
                key = secrets.token_hex(8)
                try:
                    answer = await stack.http.post(
                        "/v1/orders", json=purchase(), headers={"Idempotency-Key": key}
                    )
                except httpx.TransportError:
                    refused.append(key)
                    return False
                if answer.status_code == 202:
                    stack.accepted[key] = answer.json()["id"]
                    return False
                assert answer.status_code == 503, answer.text
                assert answer.headers["Retry-After"]
                refused.append(key)
                return True

            await stack.until(refuses)
            (disk / "filler").unlink()
            # Whether a refused one was kept all the same is not known to its terminal, which repeats it.
            for key in refused:
                await stack.submit(purchase(), key=key)
            await stack.submit(purchase())
            await stack.all_completed()
            for order_id in stack.accepted.values():
                assert (await stack.order(order_id))["state"] == "completed"
            await stack.assert_books_agree()
