"""The documents: uploads, QR pictures and stamped PDFs in an object store, so that S3 is a setting."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import ObjectStore, from_url

from antrean.orders.document_folder import DocumentFolder
from antrean.orders.model import StoreUnavailable
from antrean.orders.store_mark import Mark, StoreMark

if TYPE_CHECKING:
    from obstore import GetOptions

#: A file in the folder holds the store's id, so that another folder is not taken for it.
MARK_PATH = "store-id"
#: Longest wait for a remote store, in seconds, for all tries of one call together.
REMOTE_TIMEOUT_S = 30
REMOTE_RETRIES_MAX = 2
#: Bytes of a part, where an object is read in parts: each of those who read it takes no more memory, however slowly. A
#: remote store is asked less often.
PART_BYTES, REMOTE_PART_BYTES = 256 * 1024, 1024 * 1024


class DocumentStoreUnavailable(OSError):
    """The object store could not be reached, or did not take what it was given."""


@dataclass(frozen=True, slots=True)
class InParts:
    """An object that is read as it is asked for. `parts` raises DocumentStoreUnavailable where one can not be read, or
    is another object's by now, as far as the store tags them: then it is not whole."""

    size_bytes: int
    parts: AsyncIterator[bytes] = field(repr=False)


class DocumentStore:
    """Bytes by id. Every method raises DocumentStoreUnavailable, an OSError; a get answers None where nothing is.

    On `file://` a put returns after the file and its folder are synced: an order that was accepted with a
    document must find it after a power cut (promise 1). An S3 store acknowledges what it keeps.
    """

    def __init__(self, store: ObjectStore, folder: Path | None = None, mark: StoreMark | None = None) -> None:
        """`folder`: where a local store keeps its files, so that they can be synced.

        `mark`: which store is ours; what is missing in another one is not taken for deleted.
        """
        self._store = store
        self._folder = DocumentFolder(folder) if folder is not None else None
        self._mark = mark if folder is not None else None
        self._holds = False
        #: The id that lay in the folder when it was last known to be ours.
        self._ours: str | None = None
        #: One name for the life of this process: if its delete is refused, only one object is left behind.
        self._probe = f"probe/{secrets.token_hex(10)}"

    @classmethod
    def from_url(cls, url: str, mark: StoreMark | None = None) -> DocumentStore:
        """The store behind a `file://…` or `s3://…` URL; a local folder is made. Raises DocumentStoreUnavailable."""
        try:
            if url.startswith("file:"):
                folder = Path(unquote(urlsplit(url).path))
                # New folders are for this user alone, whatever the umask; one that was there keeps its mode.
                for each in (*reversed(folder.parents), folder):
                    each.mkdir(mode=0o700, exist_ok=True)
                return cls(from_url(url), folder, mark)
            # No client options here: they would disable all those of the environment (AWS_ALLOW_HTTP, AWS_PROXY_URL).
            # Without them a try ends after 30 seconds.
            return cls(
                from_url(
                    url,
                    retry_config={
                        "max_retries": REMOTE_RETRIES_MAX,
                        "retry_timeout": timedelta(seconds=REMOTE_TIMEOUT_S),
                    },
                )
            )
        except (BaseError, OSError, ValueError) as error:
            raise DocumentStoreUnavailable(
                f"the document store can not be opened: {type(error).__name__}"
            ) from error

    async def put_upload(self, document_id: str, pdf: bytes) -> None:
        """Keep an uploaded PDF."""
        await self.put(f"uploads/{document_id}.pdf", pdf)

    async def get_upload(self, document_id: str) -> bytes | None:
        """An uploaded PDF."""
        return await self.get(f"uploads/{document_id}.pdf")

    async def delete_upload(self, document_id: str) -> None:
        """Forget an uploaded PDF; it may be gone already."""
        await self.delete(f"uploads/{document_id}.pdf")

    async def put_qr(self, order_id: str, png: bytes) -> None:
        """Keep the QR picture of an order's SN."""
        await self.put(f"qr/{order_id}.png", png)

    async def get_qr(self, order_id: str) -> bytes | None:
        """The QR picture of an order's SN."""
        return await self.get(f"qr/{order_id}.png")

    async def delete_qr(self, order_id: str) -> None:
        """Forget the QR picture of an order's SN; it may be gone already."""
        await self.delete(f"qr/{order_id}.png")

    async def put_stamped(self, order_id: str, pdf: bytes) -> None:
        """Keep an order's stamped PDF."""
        await self.put(f"stamped/{order_id}.pdf", pdf)

    async def get_stamped(self, order_id: str) -> InParts | None:
        """An order's stamped PDF, to be read in parts."""
        return await self.in_parts(f"stamped/{order_id}.pdf")

    async def delete_stamped(self, order_id: str) -> None:
        """Forget an order's stamped PDF; it may be gone already."""
        await self.delete(f"stamped/{order_id}.pdf")

    async def check_writable(self) -> None:
        """Write and remove a small object, as readiness and `doctor` want to know it."""
        await self.put(self._probe, b"probe")
        await self.delete(self._probe)

    async def claim(self) -> None:
        """Make sure that the folder is the one in which documents were kept before.

        A first folder, or one named by another URL, becomes ours from now on, unless a gateway at work keeps its
        documents in the one before. Gateways call this, since they start before anything is kept, and say so again
        while they are at work. Raises StoreUnavailable where Redis can not be asked.
        """
        if self._mark is None:
            return
        self._holds = False
        known, found = await self._mark.read(), await self._found_mark()
        if known and found != known.id and (self._mark.url == known.url or await self._mark.held(known.id)):
            raise _another_store(known, self._mark.url)
        if found is None:
            found = await self._marked(self._mark.new())
        if known != (found, self._mark.url):
            await self._mark.write(found)
        await self._mark.hold(found)
        self._holds = True

    async def let_go(self) -> None:
        """A gateway stops: another folder by another URL is a choice at once. Redis may be away.

        One that was refused lets go of nothing: the hold is another's.
        """
        if self._mark is not None and self._holds:
            with contextlib.suppress(StoreUnavailable):
                await self._mark.let_go()

    async def _marked(self, mark: str) -> str:
        """The id that lies in the folder from now on: of those who begin in it at once the first says which."""
        try:
            await obstore.put_async(self._store, MARK_PATH, mark.encode(), mode="create")
        except AlreadyExistsError:
            mark = await self._found_mark() or mark
        except (BaseError, OSError):
            # Some disks can not make a file only where there is none; then the last one says which.
            pass
        await self.put(MARK_PATH, mark.encode())  # as durably as all that is in it
        return mark

    async def _found_mark(self) -> str | None:
        try:
            answer = await obstore.get_async(self._store, MARK_PATH)
            return bytes(await answer.bytes_async()).decode("ascii", "replace")
        except FileNotFoundError:
            return None
        except (BaseError, OSError) as error:
            raise DocumentStoreUnavailable(f"its id was not read: {type(error).__name__}") from error

    async def require_ours(self) -> None:
        """Raises DocumentStoreUnavailable where this is not our store: what is missing here may be in ours, and others
        look in ours for what is put here."""
        if self._mark is None:
            return
        try:
            known = await self._mark.read()
        except StoreUnavailable as error:
            raise DocumentStoreUnavailable("whether it is ours can not be told just now") from error
        if known is not None and await self._found_mark() != known.id:
            raise _another_store(known, self._mark.url)

    async def _require_mounted(self) -> None:
        """As `require_ours`, and Redis is asked only where the folder's id is another than before: what was stamped is
        kept while Redis is away. So that another address became ours meanwhile is not seen here."""
        if self._mark is None:
            return
        found = await self._found_mark()
        if found is None or found != self._ours:
            await self.require_ours()
            self._ours = found

    async def put(self, path: str, data: bytes) -> None:
        """Keep an object by its path. A folder that lost its disk is none to keep it in: nobody would find it again."""
        if path != MARK_PATH:
            await self._require_mounted()
        try:
            if self._folder is None:
                # Of an upload in several requests that is cut short the bucket keeps what it has.
                await obstore.put_async(self._store, path, data, use_multipart=False)
            else:
                # Written and synced on one visit to a thread: two would double the cost for the event loop.
                await asyncio.to_thread(self._folder.keep, path, data)
        except (BaseError, OSError) as error:
            raise DocumentStoreUnavailable(f"a document was not kept: {type(error).__name__}") from error

    async def get(self, path: str) -> bytes | None:
        """An object by its path."""
        try:
            found = await obstore.get_async(self._store, path)
            return bytes(await found.bytes_async())
        except FileNotFoundError:
            await self.require_ours()
            return None
        except (BaseError, OSError) as error:
            raise DocumentStoreUnavailable(f"a document was not read: {type(error).__name__}") from error

    async def in_parts(self, path: str) -> InParts | None:
        """The same in parts. Each is a read of its own: nobody who reads slowly keeps a file or a connection open."""
        try:
            size, tag, first = await self._part(path, 0, None)
        except FileNotFoundError:
            await self.require_ours()
            return None
        except (BaseError, OSError) as error:
            if "non-partial" in str(error):  # a store that gives objects only as a whole
                whole = await self.get(path)
                return None if whole is None else InParts(len(whole), _one(whole))
            raise DocumentStoreUnavailable(f"a document was not read: {type(error).__name__}") from error

        async def parts() -> AsyncIterator[bytes]:
            yield first
            start = len(first)
            while start < size:
                try:
                    _, _, part = await self._part(path, start, tag)
                except (BaseError, OSError) as error:
                    why = f"a document was not read to its end: {type(error).__name__}"
                    raise DocumentStoreUnavailable(why) from error
                yield part
                start += len(part)

        return InParts(size, parts())

    async def _part(self, path: str, start: int, tag: str | None) -> tuple[int, str | None, bytes]:
        """The object's size and tag, and a part of it, never empty. `tag`: that of the object it must be part of."""
        most = PART_BYTES if self._folder is not None else REMOTE_PART_BYTES
        options: GetOptions = {"range": (start, start + most)}
        if tag is not None:
            options["if_match"] = tag
        found = await obstore.get_async(self._store, path, options=options)
        part = bytes(await found.bytes_async())
        if not part:
            raise OSError("nothing was read")
        return found.meta["size"], found.meta["e_tag"], part

    async def paths(self, prefix: str) -> list[str]:
        """Paths of all objects in the folder `prefix`, and in those under it."""
        try:
            found = [item["path"] for item in await obstore.list(self._store, prefix).collect_async()]
        except FileNotFoundError:
            found = []
        except (BaseError, OSError) as error:
            raise DocumentStoreUnavailable(f"a folder was not listed: {type(error).__name__}") from error
        if not found:
            await self.require_ours()
        return found

    async def folders(self, prefix: str) -> list[str]:
        """Paths of the folders directly in the folder `prefix`."""
        try:
            listed = await obstore.list_with_delimiter_async(self._store, prefix)
            found = list(listed["common_prefixes"])
        except FileNotFoundError:
            found = []
        except (BaseError, OSError) as error:
            raise DocumentStoreUnavailable(f"a folder was not listed: {type(error).__name__}") from error
        if not found:
            await self.require_ours()
        return found

    async def delete(self, path: str) -> None:
        """Forget an object; it may be gone already."""
        try:
            await obstore.delete_async(self._store, path)
        except FileNotFoundError:
            return
        except (BaseError, OSError) as error:
            raise DocumentStoreUnavailable(f"a document was not deleted: {type(error).__name__}") from error

    async def tidy(self) -> bool:
        """Remove what processes that were killed had begun to keep: nobody else would find it. False: that was all.

        A bucket holds nothing of the kind, since each object is put there by one request.
        """
        if self._folder is not None:
            await asyncio.to_thread(self._folder.tidy)
        return False


async def _one(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _another_store(known: Mark, url: str) -> DocumentStoreUnavailable:
    if known.url != url:
        return DocumentStoreUnavailable(
            f"documents are kept in {known.url}, and this process has {url}: set ANTREAN_DOCUMENT_STORE to one "
            "that all gateways and workers share"
        )
    return DocumentStoreUnavailable(
        f"the folder is not the one that documents were kept in ({MARK_PATH} is not in it, or another's): is its disk "
        "mounted? To go on with an empty one, name another folder in ANTREAN_DOCUMENT_STORE"
    )
