"""What is stored is on disk and comes back; what is missing is None; what is away is an OSError."""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from redis.asyncio import Redis

from antrean.config.checkup import check_document_store
from antrean.config.durability import Level
from antrean.orders import keys
from antrean.orders.commit import GroupCommit
from antrean.orders.documents import PART_BYTES, DocumentStore, DocumentStoreUnavailable
from antrean.orders.erasure import Eraser
from antrean.orders.model import StoreUnavailable
from antrean.orders.placement import PageRun
from antrean.orders.scripts import Arg, Scripts
from antrean.orders.store_mark import StoreMark
from antrean.orders.uploads import UNUSED_S, Uploads
from orders_support import World


async def test_documents_come_back_as_they_were_and_survive_a_new_store(tmp_path: Path) -> None:
    url = (tmp_path / "not yet there" / "documents").as_uri()
    store = DocumentStore.from_url(url)
    assert await store.get_upload("a") is None
    await store.put_upload("a", b"pdf")
    await store.put_qr("a", b"png")
    await store.put_stamped("a", b"stamped")
    again = DocumentStore.from_url(url)
    assert (await again.get_upload("a"), await again.get_qr("a"), await again.get("stamped/a.pdf")) == (
        b"pdf",
        b"png",
        b"stamped",
    )
    await again.delete_upload("a")
    await again.delete_upload("a")
    assert await store.get_upload("a") is None
    await store.check_writable()


async def test_a_store_that_does_not_take_anything_says_so(tmp_path: Path) -> None:
    store = DocumentStore.from_url(tmp_path.as_uri())
    (tmp_path / "uploads").write_text("a file where a folder should be")
    with pytest.raises(DocumentStoreUnavailable):
        await store.put_upload("a", b"pdf")
    with pytest.raises(DocumentStoreUnavailable):
        DocumentStore.from_url("file:///proc/none")


async def test_an_upload_is_its_offices_own_and_forgotten_unless_it_is_used(
    tmp_path: Path, redis: Redis
) -> None:
    scripts = Scripts(redis)
    documents = DocumentStore.from_url(tmp_path.as_uri())
    uploads = Uploads(scripts, GroupCommit(scripts, "upload"), documents)
    runs = (PageRun(2, 0, 0, 595, 842), PageRun(1, 0, 0, 842.5, 595))
    kept = await uploads.add("MDN-01", b"pdf", runs)
    assert (kept.pages, kept.size_bytes, kept.runs) == (3, 3, runs)
    assert await uploads.get(kept.id, "MDN-01") == kept
    assert await uploads.get(kept.id, "JKT-07") is None
    assert await documents.get_upload(kept.id) == b"pdf"
    assert 0 < await redis.ttl(keys.DOCUMENT + kept.id) <= UNUSED_S


async def test_bytes_that_could_not_be_noted_are_forgotten_all_the_same(tmp_path: Path, redis: Redis) -> None:
    scripts = Scripts(redis)
    documents = DocumentStore.from_url(tmp_path.as_uri())

    class Away(GroupCommit):
        async def run(self, args: Sequence[Arg]) -> list[Any]:
            raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        await Uploads(scripts, Away(scripts, "upload"), documents).add(
            "MDN-01", b"pdf", (PageRun(1, 0, 0, 9, 9),)
        )
    kept = next(iter(await redis.zrange(keys.UPLOADS, 0, -1)))
    assert isinstance(kept, bytes)
    assert await documents.get_upload(kept.decode()) == b"pdf"
    world = World(redis)
    world.now_ms = int(time.time() * 1000) + (UNUSED_S + 120) * 1000
    await Eraser(world.store, documents).run_once()
    assert await redis.zcard(keys.UPLOADS) == 0
    assert await documents.get_upload(kept.decode()) is None


def _environment_of_a_bucket(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ENDPOINT": url.rstrip("/"),
        "ALLOW_HTTP": "true",
        "REGION": "x-1",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)


async def test_an_s3_store_is_spoken_to_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Options of ours for its client would put all of the environment's out of force: here plain http."""
    asked: list[str] = []

    async def take(request: web.Request) -> web.Response:
        asked.append(f"{request.method} {request.path}")
        # Deleting is a POST of a list, answered with what was deleted.
        deleted = "".join(re.findall("<Key>.*?</Key>", await request.text()))
        text = f"<DeleteResult><Deleted>{deleted}</Deleted></DeleteResult>"
        return web.Response(text=text, headers={"ETag": '"1"'})

    app = web.Application(client_max_size=16 * 1024 * 1024)
    app.router.add_route("*", "/{rest:.*}", take)
    async with TestServer(app) as server:
        _environment_of_a_bucket(str(server.make_url("")), monkeypatch)
        store = DocumentStore.from_url("s3://antrean")
        # In one request, however large: of several, if they are cut short, the bucket keeps what it has.
        await store.put_stamped("o", bytes(12 * 1024 * 1024))
        assert asked == ["PUT /antrean/stamped/o.pdf"]
        await store.check_writable()
        assert (await check_document_store("s3://antrean")).level is Level.OK


async def test_an_object_is_read_in_parts_and_one_that_changes_meanwhile_is_not_whole(tmp_path: Path) -> None:
    store = DocumentStore.from_url(tmp_path.as_uri())
    pdf = os.urandom(2 * PART_BYTES + 1)
    await store.put_stamped("a", pdf)
    found = await store.get_stamped("a")
    assert found is not None
    assert found.size_bytes == len(pdf)
    parts = [part async for part in found.parts]
    assert [len(part) for part in parts] == [PART_BYTES, PART_BYTES, 1]
    assert b"".join(parts) == pdf

    changed = await store.get_stamped("a")
    assert changed is not None
    await store.put_stamped("a", pdf[::-1])
    with pytest.raises(DocumentStoreUnavailable):
        [part async for part in changed.parts]
    assert await store.get_stamped("b") is None


async def test_a_remote_store_that_gives_no_parts_gives_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def give(request: web.Request) -> web.Response:
        return web.Response(
            body=b"%PDF-", headers={"ETag": '"1"', "Last-Modified": "Sat, 28 Nov 2026 00:00:00 GMT"}
        )

    app = web.Application()
    app.router.add_get("/{rest:.*}", give)
    async with TestServer(app) as server:
        _environment_of_a_bucket(str(server.make_url("")), monkeypatch)
        found = await DocumentStore.from_url("s3://antrean").get_stamped("a")
    assert found is not None
    assert (found.size_bytes, [part async for part in found.parts]) == (5, [b"%PDF-"])


async def test_a_probe_that_can_not_be_removed_is_one_object_however_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = DocumentStore.from_url(tmp_path.as_uri())

    async def refused(path: str) -> None:
        raise DocumentStoreUnavailable("a document was not deleted")

    monkeypatch.setattr(store, "delete", refused)
    for _ in range(3):
        with pytest.raises(DocumentStoreUnavailable):
            await store.check_writable()
    assert len([path for path in (tmp_path / "probe").iterdir() if path.is_file()]) == 1


async def test_the_doctor_shows_no_password_of_an_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ENDPOINT": "https://somebody:geheim@127.0.0.1:1",
        "REGION": "x-1",
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
    }.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    found = await check_document_store("s3://antrean")
    assert found.level is Level.FAIL
    assert "127.0.0.1:1" in found.seen
    assert "geheim" not in found.seen
    assert "somebody" not in found.seen


@pytest.fixture(name="mounted")
async def _mounted(redis: Redis, tmp_path: Path) -> tuple[Path, DocumentStore]:
    """A store that is ours, with a document in it."""
    folder = tmp_path / "mount"
    store = DocumentStore.from_url(folder.as_uri(), StoreMark(redis, "file:///mount"))
    await store.claim()
    await store.put_upload("d1", b"%PDF-")
    return folder, store


async def test_an_empty_folder_under_a_disk_that_is_not_mounted_is_not_taken_for_the_store(
    mounted: tuple[Path, DocumentStore],
) -> None:
    folder, store = mounted
    assert await store.get_upload("d2") is None
    assert await store.paths("segments") == []
    folder.rename(folder.with_name("elsewhere"))
    folder.mkdir()
    for ask in (
        store.claim,
        lambda: store.get_upload("d1"),
        lambda: store.paths("x"),
        lambda: store.folders("x"),
    ):
        with pytest.raises(DocumentStoreUnavailable, match="is its disk mounted"):
            await ask()
    folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    await store.claim()
    assert await store.get_upload("d1") == b"%PDF-"


async def test_nothing_is_kept_in_the_folder_under_a_disk_that_is_not_mounted(
    mounted: tuple[Path, DocumentStore],
) -> None:
    """A disk that goes while a paper is being stamped: the order would be completed, and its paper be nowhere."""
    folder, store = mounted
    folder.rename(folder.with_name("elsewhere"))
    for there in (False, True):
        if there:
            folder.mkdir()
        with pytest.raises(DocumentStoreUnavailable, match="is its disk mounted"):
            await store.put_stamped("o1", b"%PDF-")
        assert not [path for path in folder.rglob("*") if path.is_file()]
    folder.rmdir()
    folder.with_name("elsewhere").rename(folder)
    await store.put_stamped("o1", b"%PDF-")
    assert await store.get("stamped/o1.pdf") == b"%PDF-"


async def test_what_is_kept_does_not_wait_for_redis(
    mounted: tuple[Path, DocumentStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, store = mounted
    monkeypatch.setattr(StoreMark, "read", AsyncMock(side_effect=StoreUnavailable("away")))
    await store.put_stamped("o1", b"%PDF-")
    assert await store.get("stamped/o1.pdf") == b"%PDF-"


async def test_another_folder_by_another_url_is_a_choice_and_ours_from_then_on(
    mounted: tuple[Path, DocumentStore], redis: Redis, tmp_path: Path
) -> None:
    _, before = mounted
    await before.let_go()
    moved = DocumentStore.from_url((tmp_path / "new").as_uri(), StoreMark(redis, "file:///new"))
    await moved.claim()
    assert await moved.get_upload("d1") is None
    with pytest.raises(
        DocumentStoreUnavailable, match="kept in file:///new, and this process has file:///mount"
    ):
        await before.get_upload("d2")
    # Whoever goes back to the old one finds it.
    await moved.let_go()
    await before.claim()
    assert await before.get_upload("d1") == b"%PDF-"


async def test_two_gateways_with_a_folder_each_are_not_both_ready_and_no_document_is_called_gone(
    mounted: tuple[Path, DocumentStore], redis: Redis, tmp_path: Path
) -> None:
    """Two hosts, each with the folder of its own data dir: what is uploaded to one is not with the other's worker."""
    _, store = mounted
    other = DocumentStore.from_url((tmp_path / "other").as_uri(), StoreMark(redis, "file:///other"))
    with pytest.raises(DocumentStoreUnavailable, match="ANTREAN_DOCUMENT_STORE to one"):
        await other.claim()
    with pytest.raises(DocumentStoreUnavailable, match="ANTREAN_DOCUMENT_STORE to one"):
        await other.get_upload("d1")
    await store.claim()
    # The same folder at another place of another host is the same store.
    shared = DocumentStore.from_url(mounted[0].as_uri(), StoreMark(redis, "file:///elsewhere"))
    await shared.claim()
    await store.claim()
    assert await shared.get_upload("d1") == b"%PDF-"
    await shared.let_go()  # no gateway is at work there any more
    await other.claim()


class Beginner(DocumentStore):
    """Looks into the folder no earlier than the other one, and keeps its id there after `before`."""

    both: asyncio.Barrier
    before: asyncio.Event | None = None
    looked = False

    async def _found_mark(self) -> str | None:
        found = await super()._found_mark()
        if not self.looked:
            self.looked = True
            await self.both.wait()
        return found

    async def put(self, path: str, data: bytes) -> None:
        if self.before is not None:
            await self.before.wait()
        await super().put(path, data)


class LateMark(StoreMark):
    """Tells Redis its id after `before`, having said so in `now`."""

    before: asyncio.Event
    now: asyncio.Event

    async def write(self, mark: str) -> None:
        self.now.set()
        await self.before.wait()
        await super().write(mark)


async def test_gateways_that_begin_in_an_empty_folder_at_once_agree_which_it_is(
    redis: Redis, tmp_path: Path
) -> None:
    url = (tmp_path / "new").as_uri()
    late = LateMark(redis, url)
    late.before, late.now = asyncio.Event(), asyncio.Event()
    first, second = Beginner.from_url(url, late), Beginner.from_url(url, StoreMark(redis, url))
    assert isinstance(first, Beginner)
    assert isinstance(second, Beginner)
    first.both = second.both = asyncio.Barrier(2)
    second.before = late.now
    claiming = asyncio.create_task(first.claim())
    await second.claim()
    late.before.set()
    await claiming
    await first.claim()
    await second.claim()


async def test_a_redis_that_knows_no_store_takes_the_one_that_is_there(
    mounted: tuple[Path, DocumentStore], redis: Redis
) -> None:
    folder, store = mounted
    mark = (folder / "store-id").read_text()
    await redis.flushdb()
    await store.claim()
    assert (folder / "store-id").read_text() == mark
