"""What is sealed opens with the right ring, in its own place, unchanged; the ring's file is its owner's alone."""

from __future__ import annotations

import asyncio
import base64
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from redis import Redis as BlockingRedis
from redis.asyncio import Redis
from structlog.testing import capture_logs

from antrean.config.durability import Level
from antrean.config.personal_keys import (
    FIRST_START_S,
    StillSealing,
    WrongRing,
    changing_key_file,
    examine_ring,
    is_private,
    join_ring,
    key_file,
    load_ring,
    load_vault,
    open_vault,
    others_are_silent,
    require_sealing,
    retire_keys,
    say_sealing,
    write_ring,
)
from antrean.config.settings import Settings
from antrean.orders import keys
from antrean.orders.scripts import Scripts
from antrean.orders.vault import Unreadable, Vault, VaultKey, parse_ring, sealing_key

OLD, NEW = VaultKey("old", b"o" * 32), VaultKey("new", b"n" * 32)


def make_older(path: Path) -> None:
    """Let it have been made before this start."""
    made_s = path.stat().st_mtime - 2 * FIRST_START_S
    os.utime(path, (made_s, made_s))


@given(st.binary(max_size=300), st.text(max_size=40))
def test_what_is_sealed_opens_in_its_place_only(plain: bytes, context: str) -> None:
    vault = Vault([OLD])
    sealed = vault.seal(plain, context)
    assert vault.open(sealed, context) == plain
    with pytest.raises(Unreadable):
        vault.open(sealed, context + "x")
    for at in range(4, len(sealed), 7):
        changed = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises(Unreadable):
            vault.open(changed, context)


def test_nothing_of_the_text_is_seen_and_no_two_sealings_are_alike() -> None:
    vault = Vault([OLD])
    first, second = (vault.seal(b"1271010101900001", "order:a") for _ in range(2))
    assert first != second
    assert b"1271" not in first


def test_every_key_of_the_ring_opens_and_the_first_seals() -> None:
    before, both, after = Vault([OLD]), Vault([NEW, OLD]), Vault([NEW])
    sealed = before.seal(b"x", "c")
    assert both.open(sealed, "c") == b"x"
    again = both.seal(b"x", "c")
    assert (sealing_key(sealed), sealing_key(again)) == ("old", "new")
    assert after.open(again, "c") == b"x"
    with pytest.raises(Unreadable, match="key old"):
        after.open(sealed, "c")
    with pytest.raises(Unreadable):
        after.open(b"", "c")
    assert "x" * 3 not in repr(OLD)
    assert b"o" * 32 not in repr(OLD).encode()


@pytest.mark.parametrize(
    "text",
    [
        "nokey",
        "a:short",
        f"a:{'*' * 44}",
        f"A!:{base64.b64encode(bytes(32)).decode()}",
        f"{OLD.text},{OLD.text}",
    ],
)
def test_a_ring_that_is_none_is_refused_by_rule_and_its_text_is_not_repeated(
    text: str, make_settings: Callable[..., Settings]
) -> None:
    with pytest.raises(ValueError) as refused:
        parse_ring(text)
    assert OLD.text.partition(":")[2] not in str(refused.value)
    with pytest.raises(ValidationError) as by_name:
        make_settings(pii_keys=text)
    assert "pii_keys" in str(by_name.value)
    assert OLD.text.partition(":")[2] not in str(by_name.value)


def test_a_key_file_is_made_once_for_its_owner_alone(settings: Settings) -> None:
    with ThreadPoolExecutor(8) as pool:
        rings = list(pool.map(lambda _: load_ring(settings), range(8)))
    assert all(ring == rings[0] for ring in rings)
    path = key_file(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert is_private(path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_a_setting_goes_before_the_file(settings: Settings, make_settings: Callable[..., Settings]) -> None:
    given_ring = make_settings(data_dir=settings.data_dir, pii_keys=f"{NEW.text}, {OLD.text}")
    assert load_ring(given_ring) == [NEW, OLD]
    assert not Path(settings.data_dir).exists()


def test_a_file_that_holds_no_ring_is_told_by_its_path(settings: Settings) -> None:
    path = key_file(settings)
    path.parent.mkdir(parents=True)
    for text in ("", "garbage"):
        path.write_text(text)
        with pytest.raises(WrongRing, match=r"personal\.keys"):
            load_vault(settings)


async def test_a_process_with_other_keys_is_stopped_at_its_start(redis: Redis) -> None:
    first = await join_ring([OLD], redis, "here")
    assert (await join_ring([OLD], redis, "here")).digest("x") == first.digest("x")
    with pytest.raises(WrongRing, match="ANTREAN_PII_KEYS"):
        await join_ring([NEW], redis, "there")
    with pytest.raises(WrongRing, match="is not the one"):
        await join_ring([VaultKey("old", b"x" * 32)], redis, "there")
    assert await redis.hkeys(keys.RING) == [b"old"]


async def test_digests_outlive_a_change_of_keys(redis: Redis) -> None:
    first = await join_ring([OLD], redis, "here")
    both = await join_ring([NEW, OLD], redis, "here")
    with pytest.raises(WrongRing, match="key new"):
        await join_ring([OLD], redis, "here")
    assert await retire_keys(both, Scripts(redis)) == ["old"]
    after = await join_ring([NEW], redis, "here")
    assert first.digest("body") == both.digest("body") == after.digest("body")
    await redis.delete(keys.RING)
    assert (await join_ring([NEW], redis, "here")).digest("body") != first.digest("body")


async def test_a_backup_from_before_a_change_of_keys_starts_with_the_retired_key_second(redis: Redis) -> None:
    before = await join_ring([OLD], redis, "here")
    sealed, backup = before.seal(b"body", "x"), await redis.dump(keys.RING)
    assert backup is not None
    await retire_keys(await join_ring([NEW, OLD], redis, "here"), Scripts(redis))
    await redis.flushdb()
    await redis.restore(keys.RING, 0, backup)
    with pytest.raises(WrongRing, match="put the retired key second"):
        await join_ring([NEW], redis, "here")
    assert (await join_ring([NEW, OLD], redis, "here")).open(sealed, "x") == b"body"


async def test_a_key_is_retired_only_when_no_gateway_seals_with_it_any_more(
    redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_ms, waits = 1_800_000_000_000, []
    scripts = Scripts(redis, lambda: now_ms)
    before, after = await join_ring([OLD], redis, "here"), await join_ring([NEW, OLD], redis, "here")
    for vault in (before, after):
        assert await say_sealing(vault, scripts) == []
    still_there = True

    async def wait(seconds: float) -> None:
        nonlocal now_ms
        waits.append(seconds)
        now_ms += int(seconds * 1000)
        if still_there:
            await say_sealing(before, scripts)

    monkeypatch.setattr(asyncio, "sleep", wait)
    now_ms += 4_000
    said: list[str] = []
    with pytest.raises(StillSealing, match=r"encrypts with old\. Start every gateway and worker again"):
        await others_are_silent(after, scripts, said.append)
    assert waits == [16.0]
    assert "old" in said[0]
    with pytest.raises(StillSealing):
        await retire_keys(after, scripts)
    assert set(await redis.hkeys(keys.RING)) == {b"old", b"new"}
    now_ms -= 3_600_000  # the server's clock is set back
    still_there = False
    await others_are_silent(after, scripts, said.append)
    assert waits == [16.0, 20.0]
    now_ms += 3_600_000
    assert await retire_keys(after, scripts) == ["old"]
    assert await redis.hkeys(keys.RING) == [b"new"]
    assert await redis.hkeys(keys.RING_SEEN) == [b"new"]


async def test_a_retired_key_does_not_come_back_with_a_gateway_that_was_overlooked(redis: Redis) -> None:
    await join_ring([OLD], redis, "here")
    both = await join_ring([NEW, OLD], redis, "here")
    await retire_keys(both, Scripts(redis))
    with pytest.raises(WrongRing, match="old was retired: put the key that came after it first"):
        await join_ring([OLD, NEW], redis, "here")
    assert await redis.hkeys(keys.RING) == [b"new"]


async def test_two_that_retire_each_other_s_key_leave_the_ring_one(redis: Redis) -> None:
    one, other = await join_ring([OLD, NEW], redis, "here"), await join_ring([NEW, OLD], redis, "there")
    await retire_keys(one, Scripts(redis))
    with pytest.raises(StillSealing, match="No gateway encrypts with new yet"):
        await retire_keys(other, Scripts(redis))
    assert await redis.hkeys(keys.RING) == [b"old"]


async def test_a_gateway_knows_its_redis_again_whoever_began_anew_on_an_empty_one(redis: Redis) -> None:
    vault, scripts = await join_ring([OLD], redis, "here"), Scripts(redis)
    assert await say_sealing(vault, scripts) == []
    await redis.flushdb()
    (said,) = await say_sealing(vault, scripts)
    assert "restore it before any is started" in said
    anew = await join_ring([OLD], redis, "there")
    assert await say_sealing(anew, scripts) == []
    assert len(await say_sealing(vault, scripts)) == 1


async def test_only_a_gateway_notes_its_key(redis: Redis, settings: Settings) -> None:
    vault = await open_vault(settings, redis)
    assert await redis.exists(keys.RING) == 0
    with pytest.raises(StillSealing):
        await require_sealing(vault, redis)
    assert (await open_vault(settings, redis, seals=True)).primary == vault.primary
    await require_sealing(await open_vault(settings, redis), redis)


async def test_one_that_is_begun_again_does_not_begin_anew_on_an_empty_redis(
    redis: Redis, settings: Settings
) -> None:
    await open_vault(settings, redis, seals=True)
    await open_vault(settings, redis, seals=True, again=True)
    await redis.flushdb()
    with pytest.raises(WrongRing, match="Redis is empty, and was not"):
        await open_vault(settings, redis, seals=True, again=True)
    make_older(key_file(settings))
    with capture_logs() as logs:
        await open_vault(settings, redis, seals=True)
    assert [line["log_level"] for line in logs] == ["warning"]


async def test_two_that_change_the_key_file_at_once_lose_no_key(settings: Settings) -> None:
    kept = load_ring(settings)

    def add() -> None:
        with changing_key_file(settings) as ring:
            ring.insert(0, VaultKey.new())

    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(add) for _ in range(8)]:
            done.result()
    assert (len(load_ring(settings)), load_ring(settings)[-1]) == (9, kept[0])


async def test_many_that_start_at_once_have_one_digest_key(redis: Redis) -> None:
    rings = [[OLD, NEW], [NEW, OLD]] * 5
    vaults = await asyncio.gather(*(join_ring(ring, redis, "here") for ring in rings))
    assert len({vault.digest("x") for vault in vaults}) == 1


def test_a_worker_with_other_keys_says_so_in_one_line_and_makes_no_file(
    valkey_url: str, tmp_path: Path
) -> None:
    client = BlockingRedis.from_url(valkey_url, protocol=2)
    client.flushdb()
    client.hset(keys.RING, "old", Vault([OLD]).seal(b"antrean", "ring"))
    client.close()
    environment = {**os.environ, "ANTREAN_REDIS_URL": valkey_url, "ANTREAN_DATA_DIR": str(tmp_path / "data")}
    environment |= {f"ANTREAN_UPSTREAM_{part}_URL": "http://127.0.0.1:1" for part in ("BACKEND", "STAMPV2")}
    for ring, said in (
        ("", "personal.keys is not there"),
        (NEW.text, "key old of the orders in Redis is not in"),
        (NEW.text, "put the retired key second"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "antrean", "worker"],
            env=environment | {"ANTREAN_PII_KEYS": ring},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (done.returncode, said in done.stderr) == (1, True), done.stderr
        assert "Traceback" not in done.stderr
        assert NEW.text not in done.stderr
        assert not (tmp_path / "data" / "personal.keys").exists()


async def test_only_a_key_file_from_before_the_start_makes_an_empty_redis_suspect(
    redis: Redis, settings: Settings
) -> None:
    """At a first start gateway and workers begin together: the key file that one of them made is not an old one."""

    async def warned() -> bool:
        with capture_logs() as logs:
            await open_vault(alone, redis)
        return any(entry["log_level"] == "warning" for entry in logs)

    alone = settings.model_copy(update={"redis_url": ""})
    assert not await warned()
    assert not await warned()
    make_older(key_file(alone))
    assert await warned()


async def test_the_doctor_sees_a_ring_that_is_gone_open_to_others_or_another_one(
    redis: Redis, settings: Settings, make_settings: Callable[..., Settings]
) -> None:
    async def seen(of: Settings) -> tuple[Level, str]:
        finding = await examine_ring(of, redis)
        return finding.level, f"{finding.seen} {finding.advice}"

    alone = settings.model_copy(update={"redis_url": ""})
    assert (await seen(alone))[0] is Level.OK
    assert not key_file(alone).exists()
    vault = await open_vault(alone, redis, seals=True)
    assert (await seen(alone))[0] is Level.OK
    ahead = alone.model_copy(update={"pii_keys": SecretStr(f"{NEW.text},{load_ring(alone)[0].text}")})
    assert (await seen(ahead))[0] is Level.WARN
    await redis.sadd(keys.RING_RETIRED, "new")
    assert (await seen(ahead))[0] is Level.FAIL
    await redis.rename(keys.RING, "aside")
    level, said = await seen(alone)
    assert (level, "has lost them or is another one" in said) == (Level.WARN, True)
    await redis.rename("aside", keys.RING)
    level, said = await seen(settings)
    assert (level, "ANTREAN_PII_KEYS" in said) == (Level.WARN, True)
    key_file(alone).chmod(0o644)
    level, said = await seen(alone)
    assert (level, "chmod 600" in said) == (Level.WARN, True)
    write_ring(key_file(alone), [OLD], replace=True)
    level, said = await seen(alone)
    assert (level, vault.primary in said) == (Level.FAIL, True)
    assert OLD.text not in said
    key_file(alone).unlink()
    level, said = await seen(alone)
    assert (level, "missing" in said) == (Level.FAIL, True)
    level, _ = await seen(make_settings(pii_keys=OLD.text, redis_url=settings.redis_url))
    assert level is Level.FAIL
