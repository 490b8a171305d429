"""The folder of a local document store: what is kept there is durable and whole, and what was begun is tidied."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
import sys
import threading
import time
from pathlib import Path

import pytest

from antrean.orders.document_folder import LEFTOVER_S, STAGED, DocumentFolder
from antrean.orders.documents import DocumentStore


async def test_a_file_and_its_folders_are_synced_before_a_put_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    store = DocumentStore.from_url(tmp_path.as_uri())
    await store.put_upload("a", b"pdf")
    folder = tmp_path / "uploads"
    written, *folders = synced
    assert (written.parent, folders) == (folder / STAGED, [folder, tmp_path])
    assert [path.name for path in folder.iterdir() if path.is_file()] == ["a.pdf"]
    await store.put_upload("b", b"pdf")
    assert synced[4:] == [folder]


async def test_what_a_killed_process_had_begun_to_keep_is_removed_after_a_day(tmp_path: Path) -> None:
    begin = """
import asyncio, os, signal, sys
from antrean.orders.documents import DocumentStore
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
store = DocumentStore.from_url(sys.argv[1])
asyncio.run(store.put(sys.argv[2], bytes(1000)))
"""
    for name in ("stamped/a.pdf", "archive/orders/2026-11-28/b.jsonl.gz", "store-id"):
        killed = await asyncio.create_subprocess_exec(sys.executable, "-c", begin, tmp_path.as_uri(), name)
        assert await killed.wait() == -signal.SIGKILL
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.stat().st_size for path in left] == [1000, 1000, 1000]

    store = DocumentStore.from_url(tmp_path.as_uri())
    await store.put_stamped("c", b"stamped")
    await store.tidy()
    assert all(path.exists() for path in left)
    yesterday = time.time() - LEFTOVER_S - 1
    for path in left:
        os.utime(path, (yesterday, yesterday))
    os.utime(tmp_path / "stamped" / "c.pdf", (yesterday, yesterday))
    await store.tidy()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / "stamped" / "c.pdf"]


async def test_names_that_come_together_share_a_sync_that_began_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = DocumentFolder(tmp_path)
    kept.keep("qr/first.png", b"png")
    folder, real = tmp_path / "qr", os.fsync
    names: list[set[str]] = []
    written = threading.Semaphore(0)

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path == folder:
            names.append({file.name for file in folder.iterdir() if file.is_file()})
            if len(names) == 1:
                # While this one lasts the other three are written, and wait for the next.
                assert all(written.acquire(timeout=10) for _ in range(4))
                while kept._names[folder]._named < 5:
                    time.sleep(0.001)
        else:
            written.release()
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    await asyncio.gather(*(asyncio.to_thread(kept.keep, f"qr/{number}.png", b"png") for number in range(4)))
    assert len(names) == 2
    assert names[1] == {"first.png", "0.png", "1.png", "2.png", "3.png"}


def test_a_folder_made_for_documents_is_for_this_user_alone(tmp_path: Path) -> None:
    for there_already in (False, True):
        folder = tmp_path / f"papers-{there_already}"
        if there_already:
            folder.mkdir(mode=0o750)
        DocumentStore.from_url(folder.as_uri())
        assert stat.S_IMODE(folder.stat().st_mode) == (0o750 if there_already else 0o700)
