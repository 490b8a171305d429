"""Whether a Redis or Valkey keeps what was accepted: asked by `doctor`, by `/readyz` and at the start.

The rule (promise 1): 202 is answered only for what is on disk. That needs an append-only file that is synced
before the answer (`appendfsync always`) or a server that can be waited for (WAITAOF, from 7.2 on), and a server
that neither evicts, nor is read-only, nor loads, nor has failed to write.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import redis.asyncio
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

#: First version with WAITAOF, in Redis and in Valkey.
WAITAOF_VERSION = (7, 2)
#: Above this share of `maxmemory` a person is told; at the whole of it writes are refused.
MEMORY_WARN_SHARE = 0.9

_SETTINGS = (
    "appendonly",
    "appendfsync",
    "no-appendfsync-on-rewrite",
    "maxmemory",
    "maxmemory-policy",
    "save",
    "stop-writes-on-bgsave-error",
    "min-replicas-to-write",
)
_SECTIONS = ("server", "memory", "persistence", "replication", "cluster", "stats")


class Level(StrEnum):
    """How a check came out."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at: what was seen and, where it is not as it should be, what to change."""

    check: str
    level: Level
    seen: str
    advice: str = ""


def fails(findings: list[Finding]) -> list[Finding]:
    """Those that forbid to accept orders."""
    return [f for f in findings if f.level is Level.FAIL]


async def check_durability(redis: redis.asyncio.Redis, *, replicas_min: int = 0) -> list[Finding]:
    """Ask the server, in one round trip, whether it may be trusted with orders.

    `replicas_min`: replicas that must hold a 202. Never raises for what the server answers or fails to answer:
    that is a finding too.
    """
    try:
        async with redis.pipeline(transaction=False) as pipe:
            pipe.config_get(*_SETTINGS)
            for section in _SECTIONS:
                pipe.info(section)
            config, *sections = await pipe.execute(raise_on_error=False)
    except BusyLoadingError:
        return [_loading("it is still reading its file")]
    except AuthenticationError as error:
        advice = "Correct the user and the password in ANTREAN_REDIS_URL."
        return [Finding("reachable", Level.FAIL, _short(error), advice)]
    except (RedisError, OSError) as error:
        advice = "Start Redis or `antrean up`, or correct ANTREAN_REDIS_URL."
        return [Finding("reachable", Level.FAIL, _short(error), advice)]

    facts: dict[str, str] = {}
    for answer in sections:
        if isinstance(answer, BusyLoadingError):
            return [_loading("it is still reading its file")]
        if isinstance(answer, Mapping):
            facts.update({str(k): str(v) for k, v in answer.items()})
    if "redis_version" not in facts:
        refusal = next((a for a in sections if isinstance(a, Exception)), None)
        seen = _short(refusal) if refusal else "INFO tells no version"
        return [
            Finding("reachable", Level.FAIL, seen, "Allow the commands INFO and CONFIG GET to this user.")
        ]
    if facts.get("loading", "0") != "0":
        return [_loading(f"{facts.get('loading_loaded_perc', '?')} % read")]

    settings = {_text(k): _text(v) for k, v in config.items()} if isinstance(config, Mapping) else {}
    findings = [_version(facts), *_state(facts, settings, replicas_min)]
    if isinstance(config, ResponseError) or not isinstance(config, Mapping):
        seen = (
            f"CONFIG GET is refused: {_short(config)}"
            if isinstance(config, Exception)
            else "CONFIG GET is empty"
        )
        # Managed servers forbid it. Whether the file is switched on is in INFO; the rest has to be believed.
        findings.append(_append_only(facts.get("aof_enabled") == "1", None, _server_version(facts)))
        advice = "Check by hand: maxmemory-policy noeviction, no-appendfsync-on-rewrite no."
        findings.append(Finding("configuration", Level.WARN, seen, advice))
        return findings
    return [*findings, *_configuration(settings, facts)]


def _configuration(settings: Mapping[str, str], facts: Mapping[str, str]) -> list[Finding]:
    fsync = settings.get("appendfsync")
    findings = [_append_only(settings.get("appendonly") == "yes", fsync, _server_version(facts))]

    on_rewrite = settings.get("no-appendfsync-on-rewrite", "no")
    findings.append(
        Finding("fsync during a rewrite", Level.OK, "goes on")
        if on_rewrite == "no"
        else Finding(
            "fsync during a rewrite",
            Level.FAIL,
            "no-appendfsync-on-rewrite yes: nothing is synced while the file is rewritten",
            "CONFIG SET no-appendfsync-on-rewrite no, and in the server's configuration.",
        )
    )

    policy = settings.get("maxmemory-policy", "noeviction")
    findings.append(
        Finding("eviction", Level.OK, "noeviction")
        if policy == "noeviction"
        else Finding(
            "eviction",
            Level.FAIL,
            f"maxmemory-policy {policy}: orders may be thrown away",
            "CONFIG SET maxmemory-policy noeviction, and in the server's configuration.",
        )
    )
    findings.append(_memory(int(settings.get("maxmemory", "0")), int(facts.get("used_memory", "0"))))

    snapshot_failed = facts.get("rdb_last_bgsave_status", "ok") != "ok"
    if snapshot_failed and settings.get("save") and settings.get("stop-writes-on-bgsave-error") == "yes":
        findings.append(
            Finding(
                "snapshot",
                Level.FAIL,
                "the last snapshot failed, so writes are refused (MISCONF)",
                "Free the disk, then BGSAVE; or do without snapshots: CONFIG SET save ''.",
            )
        )
    return findings


def _append_only(enabled: bool, fsync: str | None, version: tuple[int, ...]) -> Finding:
    """The append-only file and its sync. `fsync` None: it can not be known."""
    if not enabled:
        advice = "CONFIG SET appendonly yes, and in the server's configuration."
        return Finding("append-only file", Level.FAIL, "appendonly no: a restart forgets every order", advice)
    if fsync == "always":
        return Finding("append-only file", Level.OK, "appendonly yes, appendfsync always")
    advice = "CONFIG SET appendfsync always, and in the server's configuration."
    if fsync == "no" or version < WAITAOF_VERSION:
        seen = f"appendfsync {fsync or 'unknown'}: an answer does not wait for the disk"
        return Finding("append-only file", Level.FAIL, seen, advice)
    seen = f"appendfsync {fsync or 'unknown'}: every acceptance has to wait for WAITAOF, up to a second"
    return Finding("append-only file", Level.WARN, seen, advice)


def _memory(limit_bytes: int, used_bytes: int) -> Finding:
    if limit_bytes == 0:
        return Finding("memory", Level.OK, f"{used_bytes >> 20} MiB used, no limit")
    seen = f"{used_bytes >> 20} of {limit_bytes >> 20} MiB used"
    if used_bytes >= limit_bytes:
        return Finding("memory", Level.FAIL, f"{seen}: writes are refused (OOM)", "Raise maxmemory.")
    if used_bytes >= limit_bytes * MEMORY_WARN_SHARE:
        return Finding("memory", Level.WARN, seen, "Raise maxmemory before it is full.")
    return Finding("memory", Level.OK, seen)


def replicas_of(facts: Mapping[str, Any]) -> int:
    """Replicas of this primary by INFO; where it demands good ones (min-replicas-to-write), the good ones alone."""
    return int(facts.get("min_slaves_good_slaves", facts.get("connected_slaves", 0)))


def _replicas(facts: Mapping[str, str], settings: Mapping[str, str], replicas_min: int) -> list[Finding]:
    connected = facts.get("connected_slaves", "0")
    count = replicas_of(facts)
    # Without CONFIG GET it is not known how many it demands; that it demands one is, by what INFO tells.
    demanded = int(settings.get("min-replicas-to-write", "1"))
    if "min_slaves_good_slaves" in facts and count < demanded:
        seen = f"{count} of {demanded} good replicas ({connected} connected): writes are refused (NOREPLICAS)"
        advice = (
            "Bring the replicas back, or their lag below min-replicas-max-lag. To do without them lower both"
            " min-replicas-to-write and ANTREAN_REDIS_REPLICAS_MIN."
        )
        return [Finding("replicas", Level.FAIL, seen, advice)]
    if count < replicas_min:
        seen = f"{count} of {replicas_min} replicas are connected"
        advice = "Bring the replicas back, or lower ANTREAN_REDIS_REPLICAS_MIN."
        return [Finding("replicas", Level.FAIL, seen, advice)]
    return []


def _state(facts: Mapping[str, str], settings: Mapping[str, str], replicas_min: int) -> list[Finding]:
    """What the server is doing, apart from how it is configured."""
    findings = []
    if facts.get("role", "master") != "master":
        advice = "Let ANTREAN_REDIS_URL name the primary."
        findings.append(Finding("role", Level.FAIL, "a read-only replica", advice))
    else:
        findings.append(Finding("role", Level.OK, f"primary, {facts.get('connected_slaves', '0')} replicas"))
        findings += _replicas(facts, settings, replicas_min)
    if facts.get("cluster_enabled", "0") != "0":
        advice = "Use one primary, with replicas if wanted: an order's keys must stand on one server."
        findings.append(Finding("cluster", Level.FAIL, "cluster mode", advice))
    if (thrown_away := int(facts.get("evicted_keys", "0"))) > 0:
        # Whatever its policy is by now. Nothing else shows that an order is gone.
        seen = f"{thrown_away} keys since this server's start; orders that were accepted may be among them"
        advice = (
            "`antrean orders check` says whether one is gone; then restore the backup (docs/operations.md)."
        )
        findings.append(Finding("thrown away", Level.WARN, seen, advice))
    if facts.get("aof_last_write_status", "ok") != "ok":
        seen = "the last write to the append-only file failed (disk full?)"
        findings.append(Finding("last write", Level.FAIL, seen, "Free the disk; then it goes on by itself."))
    else:
        findings.append(Finding("last write", Level.OK, "ok"))
    if facts.get("aof_last_bgrewrite_status", "ok") != "ok":
        seen = "the last rewrite of the append-only file failed: the file goes on growing"
        findings.append(
            Finding("last rewrite", Level.WARN, seen, "Look at memory and disk, then BGREWRITEAOF.")
        )
    return findings


def _version(facts: Mapping[str, str]) -> Finding:
    name = facts.get("server_name", "redis")
    shown = f"{name} {facts.get('valkey_version', facts['redis_version'])}"
    if _server_version(facts) < WAITAOF_VERSION:
        return Finding("version", Level.WARN, shown, "Use Valkey 8 or Redis 7.2 or newer.")
    return Finding("version", Level.OK, shown)


def _server_version(facts: Mapping[str, str]) -> tuple[int, ...]:
    """Valkey tells 7.2.4 as `redis_version`, the Redis it stems from; what it can do follows from that."""
    return tuple(int(part) for part in facts["redis_version"].split(".")[:2] if part.isdigit())


def _loading(seen: str) -> Finding:
    return Finding("loading", Level.FAIL, seen, "Wait: it accepts when the file is read.")


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _short(error: BaseException) -> str:
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__
