"""API keys: made once, shown once, kept as hashes.

A key is `antrean_<role>_<id>_<secret>` with a secret of 256 random bits; a bootstrap key is any text of 32
characters or more. What is kept is SHA-256 of the whole text, and the record is found by it. A plain hash is
right here: salts and slow hashes protect what people can guess, and nobody walks through 2^256 secrets.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum

import orjson
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway.cached import Cached
from antrean.orders import keys
from antrean.orders.store import asked

#: A revoked key may go on for this long, in seconds: the time that a gateway trusts what it has read.
CACHE_S = 0.5
CACHED_MAX = 4096
#: No key is longer, in characters; a longer text is not hashed.
KEY_CHARS_MAX = 512
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


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks, as its key says."""

    key_id: str
    role: Role
    office: str


class KeyRing:
    """The keys in Redis. Every method that asks Redis raises StoreUnavailable."""

    def __init__(self, redis: Redis, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._redis = redis
        self._now_ms = now_ms
        self._cache: OrderedDict[str, Cached[KeyRecord | None]] = OrderedDict()

    async def create(self, role: Role, office: str, expires_ms: int | None = None) -> str:
        """Make a key and answer its text, which is kept nowhere."""
        key_id = secrets.token_hex(6)
        text = f"antrean_{role}_{key_id}_{secrets.token_urlsafe(32)}"
        await self._keep(text, key_id, role, office, expires_ms)
        return text

    async def register(self, text: str, role: Role, office: str) -> bool:
        """Take in a key made elsewhere (a bootstrap key); False where it is known, and then left as it is."""
        return await self._keep(text, secrets.token_hex(6), role, office, None)

    async def list(self) -> list[KeyRecord]:
        """All keys, oldest first; what is kept of them is no secret."""
        raw = await asked(self._redis.hgetall(keys.API_KEYS))
        return sorted((_record(value) for value in raw.values()), key=lambda r: (r.created_ms, r.id))

    async def revoke(self, key_id: str) -> bool:
        """End a key on all gateways, within CACHE_S; False where there is none of this id."""
        for record in await self.list():
            if record.id == key_id:
                if record.revoked_ms is None:
                    value = orjson.dumps(asdict(record) | {"revoked_ms": self._now_ms()})
                    await asked(self._redis.hset(keys.API_KEYS, record.digest, value))
                self._cache.pop(record.digest, None)
                return True
        return False

    async def verify(self, text: str) -> Principal | None:
        """Whose key this is; None for one that is unknown, expired or revoked."""
        if len(text) > KEY_CHARS_MAX:
            return None
        digest = _digest(text)
        record = await self._look_up(digest)
        if record is None or not hmac.compare_digest(record.digest, digest):
            return None
        now_ms = self._now_ms()
        if record.revoked_ms is not None or (record.expires_ms is not None and record.expires_ms <= now_ms):
            return None
        return Principal(record.id, record.role, record.office)

    def is_cached(self, text: str) -> bool:
        """Whether this key was good a moment ago, so that asking again costs little."""
        return len(text) <= KEY_CHARS_MAX and _digest(text) in self._cache

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

    async def _keep(self, text: str, key_id: str, role: Role, office: str, expires_ms: int | None) -> bool:
        record = KeyRecord(key_id, role, office, self._now_ms(), expires_ms, None, _digest(text))
        added = await asked(self._redis.hsetnx(keys.API_KEYS, record.digest, orjson.dumps(record).decode()))
        return bool(added)


async def ensure_first_keys(ring: KeyRing, settings: Settings) -> list[tuple[Role, str, str]]:
    """Register the bootstrap keys that are set; on an empty ring make a terminal and an ops key as well.

    Answers role, office and text of each key made here; none where there were keys already.
    """
    given = (
        (Role.TERMINAL, settings.bootstrap_terminal_key),
        (Role.OPS, settings.bootstrap_ops_key),
    )
    empty = not await ring.list()
    made = []
    for role, secret in given:
        if secret is not None:
            await ring.register(secret.get_secret_value(), role, FIRST_OFFICE)
        elif empty:
            made.append((role, FIRST_OFFICE, await ring.create(role, FIRST_OFFICE)))
    return made


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _record(value: bytes) -> KeyRecord:
    fields = orjson.loads(value)
    return KeyRecord(**(fields | {"role": Role(fields["role"])}))
