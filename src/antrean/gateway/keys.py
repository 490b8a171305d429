"""API keys: made once, shown once, kept as hashes.

A key is `antrean_<role>_<id>_<secret>` with a secret of 256 random bits; a bootstrap key is any text of 32
characters or more. What is kept is SHA-256 of the whole text, and the record is found by it. A plain hash is
right here: salts and slow hashes protect what people can guess, and nobody walks through 2^256 secrets.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import NamedTuple

import orjson
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.cached import Cached
from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.model import StoreUnavailable
from antrean.orders.scripts import Scripts

#: A gateway trusts what it has read about a key for this long, in seconds; whoever ends a key waits as long.
CACHE_S = 0.5
CACHED_MAX = 4096
#: A key's last use is noted at most this often, in ms.
USED_EVERY_MS = 60_000
#: How often a change is tried while others change the same key.
CHANGES_MAX = 20
#: No key is longer, in characters; a longer text is not hashed.
KEY_CHARS_MAX = 512
#: How an office is named; the keys of ops without one are kept under NO_OFFICE.
OFFICE_FORM = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
OFFICE_RULE = "1 to 32 letters, digits, dots, dashes or underscores"
NO_OFFICE = "*"
#: Office of the keys made at a first start.
FIRST_OFFICE = "DEMO-01"


class Role(StrEnum):
    """What a key may do."""

    TERMINAL = "terminal"
    SUPERVISOR = "supervisor"
    OPS = "ops"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key. Times in ms since the epoch; `expires_ms` None: it does not expire."""

    id: str
    role: Role
    office: str
    created_ms: int
    expires_ms: int | None
    revoked_ms: int | None
    digest: str
    #: The key that this one was made to replace.
    replaces: str | None = None
    #: Set in the settings (a bootstrap key): it is ended at the machine only.
    fixed: bool = False

    def ended(self, now_ms: int) -> bool:
        """Revoked, or past its time."""
        return self.revoked_ms is not None or (self.expires_ms is not None and self.expires_ms <= now_ms)


class Principal(NamedTuple):
    """Who asks, as its key says."""

    key_id: str
    role: Role
    office: str

    @property
    def actor(self) -> str:
        """How it is named where it is kept who did something."""
        return f"{self.role}:{self.key_id}"


class KeyRing:
    """The keys in Redis. Every method that asks Redis raises StoreUnavailable."""

    def __init__(self, redis: Redis, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._now_ms = now_ms
        self._cache: OrderedDict[str, Cached[KeyRecord | None]] = OrderedDict()
        self._used: OrderedDict[str, int] = OrderedDict()
        self._notes: set[asyncio.Task[None]] = set()

    async def create(self, role: Role, office: str, expires_ms: int | None = None) -> str:
        """Make a key and answer its text, which is kept nowhere."""
        return (await self.make(role, office, expires_ms))[0]

    async def make(
        self, role: Role, office: str, expires_ms: int | None = None, replaces: str | None = None
    ) -> tuple[str, KeyRecord]:
        """The same, with what is kept of it. Raises ValueError for an office that can not be one."""
        if not OFFICE_FORM.fullmatch(office) and (role is not Role.OPS or office != NO_OFFICE):
            raise ValueError(f"An office is named by {OFFICE_RULE}.")
        key_id = secrets.token_hex(6)
        text = f"antrean_{role}_{key_id}_{secrets.token_urlsafe(32)}"
        record = KeyRecord(key_id, role, office, self._now_ms(), expires_ms, None, _digest(text), replaces)
        await self._add(record)
        return text, record

    async def rotate(self, key_id: str, overlap_ms: int) -> tuple[str, KeyRecord] | None:
        """A key that replaces another, which ends `overlap_ms` from now; None where that is unknown or at its end.

        The new one lives as long as the old one was made for.
        """
        known, now_ms = await self.list(), self._now_ms()
        old = next((record for record in known if record.id == key_id), None)
        if old is None or old.ended(now_ms):
            return None
        span_ms = _made_for_ms(old, known)
        made = await self.make(old.role, old.office, None if span_ms is None else now_ms + span_ms, old.id)
        # The new one is there before the old one is bounded: an interruption leaves two keys, never none.
        ends_ms = now_ms + overlap_ms
        if not await self._change(
            old.id, lambda r: replace(r, expires_ms=min(r.expires_ms or ends_ms, ends_ms))
        ):
            # Revoked meanwhile: whoever did that wants no successor.
            await self.revoke(made[1].id)
            return None
        if overlap_ms == 0:
            await asyncio.sleep(CACHE_S)
        return made

    async def register(self, text: str, role: Role, office: str) -> bool:
        """Take in a key made elsewhere (a bootstrap key); False where it is known, and then left as it is."""
        key_id = secrets.token_hex(6)
        digest = _digest(text)
        # Looked at first: a server that is full refuses every write, and a start must not need one.
        if await asked(self._redis.hexists(keys.API_KEYS, digest)):
            return False
        return await self._add(
            KeyRecord(key_id, role, office, self._now_ms(), None, None, digest, fixed=True)
        )

    async def list(self) -> list[KeyRecord]:
        """All keys, oldest first; what is kept of them is no secret."""
        raw = await asked(self._redis.hgetall(keys.API_KEYS))
        return sorted((_record(value) for value in raw.values()), key=lambda r: (r.created_ms, r.id))

    async def find(self, key_id: str) -> KeyRecord | None:
        """One key by its id."""
        return next((record for record in await self.list() if record.id == key_id), None)

    async def id_of(self, text: str) -> str | None:
        """The id of the key that `text` is, or whose id it is; of an ended one as well."""
        digest = self.digest_of(text)
        return next((r.id for r in await self.list() if text == r.id or digest == r.digest), None)

    async def revoke(self, key_id: str) -> bool:
        """End a key; when this returns no gateway takes it any more. False where there is none of this id."""
        now_ms = self._now_ms()
        if await self._change(key_id, lambda record: replace(record, revoked_ms=now_ms), expired=True):
            await asyncio.sleep(CACHE_S)
            return True
        return await self.find(key_id) is not None

    async def last_used_ms(self) -> dict[str, int]:
        """By key id, when each was last used, to about USED_EVERY_MS."""
        raw = await asked(self._redis.hgetall(keys.API_KEYS_USED))
        return {key_id.decode(): int(ms) for key_id, ms in raw.items()}

    async def verify(self, text: str) -> Principal | None:
        """Whose key this is; None for one that is unknown, expired or revoked."""
        return await self.verify_digest(self.digest_of(text))

    async def verify_digest(self, digest: str) -> Principal | None:
        """The same for a key that is known by its digest, as a session's is."""
        if not digest:
            return None
        record = await self._look_up(digest)
        if record is None or not hmac.compare_digest(record.digest, digest):
            return None
        now_ms = self._now_ms()
        if record.ended(now_ms):
            return None
        self._note_use(record.id, now_ms)
        return Principal(record.id, record.role, record.office)

    @staticmethod
    def digest_of(text: str) -> str:
        """The digest by which a key is known; '' for a text that is longer than any key."""
        return _digest(text) if len(text) <= KEY_CHARS_MAX else ""

    async def _look_up(self, digest: str) -> KeyRecord | None:
        cached = self._cache.get(digest)
        if cached is not None:
            self._cache.move_to_end(digest)
            return await cached.get()

        async def load() -> KeyRecord | None:
            value = await asked(self._redis.hget(keys.API_KEYS, digest))
            return None if value is None else _record(value)

        cached = Cached(load, CACHE_S)
        record = await cached.get()
        if record is not None:
            # Only keys that exist take a place: a flood of wrong ones can not push them out.
            self._cache[digest] = cached
            if len(self._cache) > CACHED_MAX:
                self._cache.popitem(last=False)
        return record

    async def _add(self, record: KeyRecord) -> bool:
        kept = orjson.dumps(record).decode()
        return bool(await asked(self._redis.hsetnx(keys.API_KEYS, record.digest, kept)))

    async def _change(
        self, key_id: str, change: Callable[[KeyRecord], KeyRecord], *, expired: bool = False
    ) -> bool:
        """Change what is kept of a key, whoever else does at the same time; False where it is at its end.

        `expired`: one that is past its time may be changed all the same.
        """
        for _ in range(CHANGES_MAX):
            kept = await asked(self._redis.hvals(keys.API_KEYS))
            old = next((value for value in kept if _record(value).id == key_id), None)
            record = None if old is None else _record(old)
            if old is None or record is None or record.revoked_ms is not None:
                return False
            if not expired and record.ended(self._now_ms()):
                return False
            new = orjson.dumps(asdict(change(record)))
            (code,) = await asked(self._scripts.run("swap", keys.API_KEYS, record.digest, old, new))
            if code == Code.OK:
                self._cache.pop(record.digest, None)
                return True
        raise RuntimeError("the key is changed by others all the time")

    def _note_use(self, key_id: str, now_ms: int) -> None:
        if now_ms - self._used.get(key_id, 0) < USED_EVERY_MS:
            return
        self._used[key_id] = now_ms
        if len(self._used) > CACHED_MAX:
            self._used.popitem(last=False)
        task = asyncio.create_task(self._write_use(key_id, now_ms))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _write_use(self, key_id: str, now_ms: int) -> None:
        # Nobody waits for this note, and nothing depends on it.
        with contextlib.suppress(StoreUnavailable):
            await asked(self._redis.hset(keys.API_KEYS_USED, key_id, now_ms))


async def ensure_first_keys(ring: KeyRing, settings: Settings) -> list[tuple[Role, str, str]]:
    """Register the bootstrap keys that are set; on an empty ring make a terminal and an ops key as well.

    Answers role, office and text of each key made here; none where there were keys already.
    """
    empty = not await ring.list()
    given = await register_given_keys(ring, settings)
    return [
        (role, FIRST_OFFICE, await ring.create(role, FIRST_OFFICE))
        for role in (Role.TERMINAL, Role.OPS)
        if empty and role not in given
    ]


async def register_given_keys(ring: KeyRing, settings: Settings) -> set[Role]:
    """Take in the bootstrap keys that are set; answers for which roles there is one."""
    given = {Role.TERMINAL: settings.bootstrap_terminal_key, Role.OPS: settings.bootstrap_ops_key}
    for role, secret in given.items():
        if secret is not None:
            await ring.register(secret.get_secret_value(), role, FIRST_OFFICE)
    return {role for role, secret in given.items() if secret is not None}


def _made_for_ms(record: KeyRecord, known: list[KeyRecord]) -> int | None:
    """How long a key was made to live, in ms; None: for good.

    One that was replaced ends earlier than that, so then its first successor tells. `known`: all keys, oldest first.
    """
    successor = next((r for r in known if r.replaces == record.id), None)
    if successor is not None:
        return _made_for_ms(successor, known)
    return None if record.expires_ms is None else record.expires_ms - record.created_ms


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _record(value: bytes) -> KeyRecord:
    fields = orjson.loads(value)
    return KeyRecord(**(fields | {"role": Role(fields["role"])}))
