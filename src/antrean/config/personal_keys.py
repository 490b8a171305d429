"""The ring that personal data is encrypted with: from the setting, else from a key file in the data dir.

Every process with the same Redis must have the same ring. Redis keeps a note of each key in use, sealed with it, so
that a process with another ring says so at its start and not at the first order.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
from redis.asyncio import Redis

from antrean.config.durability import Finding, Level
from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.scripts import Scripts
from antrean.orders.vault import KEY_BYTES, Unreadable, Vault, VaultKey, parse_ring

log = structlog.get_logger(__name__)

FILE_NAME = "personal.keys"
_CONTEXT = "ring"
#: Gateway and workers begin together, and one of them makes the key file: one younger than this is no old one.
FIRST_START_S = 10.0
#: Looks at what others have noted before a start is given up.
_JOINS_MAX = 10


#: Whoever put a backup into the wrong folder, or lost Redis' files, sees a queue that is empty and otherwise well.
_NOTHING_OF_THEIRS = (
    "If orders were accepted here before, this Redis has lost them or is another one: stop, and restore "
    "(docs/operations.md) before a counter repeats one of them."
)


class StillSealing(Exception):
    """A key that is to be retired is in use. The message says what to do."""


class WrongRing(Exception):
    """Orders are encrypted here with keys that this process does not have. The message says what to do."""


def key_file(settings: Settings) -> Path:
    """Where the ring lies when no setting gives it."""
    return settings.data_dir.absolute() / FILE_NAME


def load_vault(settings: Settings) -> Vault:
    """The ring of these settings, not checked; makes the key file where there is neither setting nor file.

    Raises WrongRing where the file holds no ring, OSError where it can not be read or made.
    """
    return Vault(load_ring(settings))


def load_ring(settings: Settings) -> list[VaultKey]:
    """The keys of these settings, the one that encrypts first. Raises WrongRing, OSError."""
    if given := settings.pii_keys.get_secret_value():
        return parse_ring(given)
    path = key_file(settings)
    if not path.exists():
        _make(path)
    try:
        ring = parse_ring(path.read_text("ascii"))
    except ValueError as error:
        raise WrongRing(f"{path}: {error}") from None
    if not ring:
        raise WrongRing(f"{path} is empty. Put the right file back, or set ANTREAN_PII_KEYS.")
    return ring


def write_ring(path: Path, ring: list[VaultKey], *, replace: bool) -> None:
    """Write the key file, readable by its owner alone, whole or not at all. `replace` False: unless it is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    made = Path(name)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write("".join(f"{key.text}\n" for key in ring))
            file.flush()
            os.fsync(file.fileno())
        if replace:
            made.replace(path)
        elif not path.exists():
            # A link fails where another process was quicker, and then its file counts.
            os.link(made, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        pass
    finally:
        made.unlink(missing_ok=True)


def _make(path: Path) -> None:
    write_ring(path, [VaultKey.new()], replace=False)
    log.info("key file made", path=str(path), advice="keep a copy of it apart from the data")


def is_private(path: Path) -> bool:
    """Whether nobody but its owner may read the file."""
    return not stat.S_IMODE(path.stat().st_mode) & 0o077


async def open_vault(settings: Settings, redis: Redis, *, seals: bool = False, again: bool = False) -> Vault:
    """The ring of these settings, checked against what is sealed in this Redis; a first start makes the key file.

    `seals`: a gateway begins, and its key is noted as one that seals. Nobody else notes one: on a Redis that has lost
    what it kept, that would look to the gateways that still run as if all were well. `again`: something was noted here
    before. Raises WrongRing, StoreUnavailable, OSError.
    """
    noted = await asked(redis.hgetall(keys.RING))
    if again and not noted:
        raise WrongRing(f"Redis is empty, and was not. {_NOTHING_OF_THEIRS}")
    if not has_ring(settings) and noted:
        raise WrongRing(_advice(f"orders are encrypted, and {key_file(settings)} is not there"))
    if not noted and _is_from_before(settings):
        log.warning("the key file is older than all that Redis holds", advice=_NOTHING_OF_THEIRS)
    ring, where = load_ring(settings), place_of(settings)
    return (
        await join_ring(ring, redis, where) if seals else Vault(ring, _digest_key(Vault(ring), noted, where))
    )


def _is_from_before(settings: Settings) -> bool:
    """Whether there is a key file that no other process of this first start has just made."""
    if settings.pii_keys.get_secret_value() or not has_ring(settings):
        return False
    return time.time() - key_file(settings).stat().st_mtime > FIRST_START_S


def has_ring(settings: Settings) -> bool:
    """Whether there is a setting or a key file."""
    return bool(settings.pii_keys.get_secret_value()) or key_file(settings).exists()


async def join_ring(ring: list[VaultKey], redis: Redis, where: str) -> Vault:
    """Make sure that this ring opens what is sealed in this Redis, and note the key that seals from now on.

    Redis keeps the digest key sealed with each of them, so that digests outlive a change of keys. `where`: the
    ring's place in words. Raises WrongRing, StoreUnavailable.
    """
    for _ in range(_JOINS_MAX):
        noted = await asked(redis.hgetall(keys.RING))
        digest_key = _digest_key(Vault(ring), noted, where) or os.urandom(KEY_BYTES)
        vault = Vault(ring, digest_key)
        primary = vault.primary
        if (note := noted.get(primary.encode())) is not None:
            return Vault(ring, digest_key, note)
        note = vault.seal(digest_key, _CONTEXT)
        code, *_ = await asked(Scripts(redis).run("ring", primary, note, *noted))
        if code == Code.OK:
            return Vault(ring, digest_key, note)
        if code == Code.RETIRED:
            raise WrongRing(f"key {primary} was retired: put the key that came after it first in {where}")
    raise WrongRing("other processes change the keys all the time: start again")


def _digest_key(vault: Vault, noted: dict[bytes, bytes], where: str) -> bytes | None:
    """What Redis keeps sealed with each noted key; None where none is noted. Raises WrongRing."""
    known = {key_id.decode(): sealed for key_id, sealed in noted.items()}
    if missing := sorted(known.keys() - set(vault.key_ids)):
        advice = _advice(f"key {', '.join(missing)} of the orders in Redis is not in {where}")
        raise WrongRing(
            f"{advice} To restore a backup from before a change of keys, put the retired key second."
        )
    digest_key = None
    for key_id, sealed in known.items():
        try:
            digest_key = vault.open(sealed, _CONTEXT)
        except Unreadable:
            message = f"key {key_id} in {where} is not the one that the orders in Redis are sealed with"
            raise WrongRing(_advice(message)) from None
    return digest_key


async def say_sealing(vault: Vault, scripts: Scripts) -> list[str]:
    """Tell the others that this process seals with its first key; answers why it must not. Raises StoreUnavailable."""
    code, *_ = await asked(scripts.run("ring_seen", vault.primary, vault.note))
    if code == Code.OK:
        return []
    return [
        f"keys of personal data: {vault.primary} is not in use in this Redis. Either it was retired, then start this "
        "process again with the keys of the orders; or what Redis kept is gone, then restore it before any is started."
    ]


async def others_are_silent(vault: Vault, scripts: Scripts, waiting: Callable[[str], None]) -> None:
    """Wait, and say so to `waiting`, until no gateway has told for RING_SILENT_MS that it seals with an older key.

    Raises StillSealing, StoreUnavailable.
    """
    if sealing := await _retire(vault, scripts, look=True):
        key_id, silent_ms = sealing
        wait_s = (keys.RING_SILENT_MS - silent_ms) / 1000
        waiting(f"a gateway encrypted with {key_id} just now: waiting {wait_s:.0f} s for its last sign")
        await asyncio.sleep(wait_s)
        _none_seals(vault, await _retire(vault, scripts, look=True))


async def retire_keys(vault: Vault, scripts: Scripts) -> list[str]:
    """From now on nothing is sealed with the older keys of this ring; answers which.

    Raises StillSealing, StoreUnavailable.
    """
    _none_seals(vault, await _retire(vault, scripts, look=False))
    return [key_id for key_id in vault.key_ids if key_id != vault.primary]


async def _retire(vault: Vault, scripts: Scripts, *, look: bool) -> tuple[str, int] | None:
    others = [key_id for key_id in vault.key_ids if key_id != vault.primary]
    answer = await asked(scripts.run("ring_retire", vault.primary, keys.RING_SILENT_MS, int(look), *others))
    if answer[0] == Code.RETIRED:
        raise _not_begun(vault)
    return None if answer[0] == Code.OK else (answer[1].decode(), int(answer[2]))


def _none_seals(vault: Vault, sealing: tuple[str, int] | None) -> None:
    if sealing is not None:
        raise StillSealing(
            f"A gateway encrypts with {sealing[0]}. Start every gateway and worker again with {vault.primary} first, "
            "then repeat this."
        )


async def require_sealing(vault: Vault, redis: Redis) -> None:
    """Raises StillSealing where no gateway has begun with the first key: then some process may not have it."""
    if not await asked(redis.hexists(keys.RING, vault.primary)):
        raise _not_begun(vault)


def _not_begun(vault: Vault) -> StillSealing:
    return StillSealing(
        f"No gateway encrypts with {vault.primary} yet. Start every gateway and worker again with it first."
    )


@contextmanager
def changing_key_file(settings: Settings) -> Iterator[list[VaultKey]]:
    """The file's keys, to be changed in place; written back at the end. Nobody else changes them meanwhile.

    Raises WrongRing, OSError.
    """
    load_ring(settings)  # makes it where there is none
    folder = os.open(key_file(settings).parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        ring = load_ring(settings)
        yield ring
        write_ring(key_file(settings), ring, replace=True)
    finally:
        os.close(folder)


def _is_there(path: Path) -> bool:
    """Raises OSError where this user may not look."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


async def examine_ring(settings: Settings, redis: Redis) -> Finding:
    """For `doctor`: whether the ring is there, private, shared where it must be, and the one of the orders."""
    check = "keys of personal data"
    known = await asked(redis.hgetall(keys.RING))
    given, path = settings.pii_keys.get_secret_value(), key_file(settings)
    try:
        there = _is_there(path)
    except OSError as error:
        return Finding(
            check, Level.FAIL, f"{path}: {error.strerror}", "Ask as the user who owns the data folder."
        )
    if not given and not there:
        if known:
            advice = f"Put {FILE_NAME} back, or set ANTREAN_PII_KEYS: without the keys no held order can be bought."
            return Finding(check, Level.FAIL, f"{path} is missing, and orders are encrypted", advice)
        return Finding(
            check, Level.OK, f"{path} is made at the first start; keep a copy of it apart from the data"
        )
    try:
        ring = load_ring(settings)
        vault = Vault(ring)
        _digest_key(vault, known, place_of(settings))
    except (WrongRing, OSError) as error:
        return Finding(check, Level.FAIL, str(error), "Start all processes with the keys of the orders.")
    seen = f"{place_of(settings)}: {len(ring)}, {vault.primary} encrypts"
    if not given and not known:
        return Finding(
            check, Level.WARN, f"{path} is there, and nothing in Redis is encrypted", _NOTHING_OF_THEIRS
        )
    if known and vault.primary.encode() not in known:
        if await asked(redis.sismember(keys.RING_RETIRED, vault.primary)):
            advice = f"Put the key that came after it first in {place_of(settings)}."
            return Finding(check, Level.FAIL, f"{vault.primary} was retired", advice)
        advice = "Start every gateway and worker again, then `antrean personal reseal --retire`."
        return Finding(check, Level.WARN, f"{vault.primary} encrypts from the next start on", advice)
    if not known:
        seen += "; nothing in this Redis is encrypted yet"
    if not given and not is_private(path):
        return Finding(check, Level.WARN, f"{path} can be read by others", f"chmod 600 {path}")
    if not given and settings.redis_url:
        advice = "Where more than one host works on this Redis, set ANTREAN_PII_KEYS alike on all of them."
        return Finding(check, Level.WARN, seen, advice)
    return Finding(check, Level.OK, seen)


def place_of(settings: Settings) -> str:
    """Where the ring of these settings comes from, in words."""
    return "ANTREAN_PII_KEYS" if settings.pii_keys.get_secret_value() else str(key_file(settings))


def _advice(what: str) -> str:
    return (
        f"{what}. Every gateway and worker needs the same keys: set ANTREAN_PII_KEYS alike on all of them, or "
        f"start them with the same data dir ({FILE_NAME} in it)."
    )
