"""A disk that fills up under a running product: orders are refused, none is lost, and it goes on by itself."""

from __future__ import annotations

import contextlib
import secrets
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from antrean.config.start_checks import StartError, make_writable
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
