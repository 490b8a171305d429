"""A server that might lose an order is not trusted with one, and the finding says what to change."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from antrean.config.durability import Finding, Level, check_durability
from antrean.config.embedded_valkey import EmbeddedValkey, find_server
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.config.store import follow_durability
from antrean.config.wiring import gateway_parts
from antrean.gateway.services import READY_TIMEOUT_S
from antrean.orders.model import StoreUnavailable
from antrean.orders.states import State
from orders_support import new_order


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {f.check: f for f in findings}


@pytest.fixture
async def server(redis: Redis) -> AsyncIterator[Redis]:
    """The test's Valkey; what a test changes in its configuration is put back."""
    names = (
        "appendonly",
        "appendfsync",
        "no-appendfsync-on-rewrite",
        "maxmemory",
        "maxmemory-policy",
        "min-replicas-to-write",
    )
    before = {str(name): str(value) for name, value in (await redis.config_get(*names)).items()}
    yield redis
    for name, value in before.items():
        await redis.config_set(name, value)


async def test_a_server_that_no_longer_syncs_before_its_answer_is_waited_for(
    server: Redis, settings: Settings
) -> None:
    """The operator changed it, or a failover brought one that is configured otherwise."""
    parts = await gateway_parts(settings)
    await parts.store.scripts.load()

    async def waits(*, intent: bool = False) -> int:
        """How often WAITAOF is asked for an order accepted, or for the intent to buy it."""
        accepted = None if not intent else await parts.store.submit(new_order())
        await server.config_resetstat()
        if accepted is None:
            await parts.store.submit(new_order())
        else:
            claim = await parts.store.claim(accepted.order.id, "w1", "a")
            assert claim is not None
            await parts.store.begin(claim.order, "b", State.BUYING, "", 1)
        return int((await server.info("commandstats")).get("cmdstat_waitaof", {"calls": 0})["calls"])

    try:
        assert (await waits(), await waits(intent=True)) == (0, 0)
        await server.config_set("appendfsync", "everysec")
        assert await parts.check_ready() == []
        assert (await waits(), await waits(intent=True)) == (1, 1)
        await server.config_set("appendfsync", "always")
        assert await parts.check_ready() == []
        assert (await waits(), await waits(intent=True)) == (0, 0)
    finally:
        for close in parts.closers:
            await close()


async def test_a_server_that_does_not_tell_its_configuration_is_waited_for(
    server: Redis, settings: Settings, valkey_url: str
) -> None:
    """As many a managed one: the doctor says so, and all works, a little slower."""
    await server.execute_command("ACL", "SETUSER", "guest", "on", ">pw", "~*", "&*", "+@all", "-config")  # type: ignore[no-untyped-call]
    url = valkey_url.replace("unix://", "unix://guest:pw@")
    parts = await gateway_parts(settings.model_copy(update={"redis_url": url}))
    try:
        assert parts.store.durability.waitaof
        assert await parts.check_ready() == []
        assert (await parts.store.submit(new_order())).order.state is State.QUEUED
    finally:
        for close in parts.closers:
            await close()
        await server.execute_command("ACL", "DELUSER", "guest")  # type: ignore[no-untyped-call]


async def test_the_embedded_servers_settings_pass(server: Redis) -> None:
    assert {f.level for f in await check_durability(server)} == {Level.OK}


async def test_where_no_file_is_kept_no_intent_to_buy_counts_as_written(
    server: Redis, settings: Settings
) -> None:
    """A worker that did not start anew since the file was switched off."""
    parts = await gateway_parts(settings)
    try:
        accepted = await parts.store.submit(new_order())
        claim = await parts.store.claim(accepted.order.id, "w1", "a")
        assert claim is not None
        await server.config_set("appendonly", "no")
        await follow_durability(parts.store, server, settings)
        with pytest.raises(StoreUnavailable):
            await parts.store.begin(claim.order, "b", State.BUYING, "", 1)
    finally:
        for close in parts.closers:
            await close()


@pytest.mark.parametrize(
    ("setting", "value", "check", "level"),
    [
        ("appendonly", "no", "append-only file", Level.FAIL),
        ("appendfsync", "no", "append-only file", Level.FAIL),
        ("appendfsync", "everysec", "append-only file", Level.WARN),
        ("no-appendfsync-on-rewrite", "yes", "fsync during a rewrite", Level.FAIL),
        ("maxmemory-policy", "allkeys-lru", "eviction", Level.FAIL),
        ("maxmemory-policy", "volatile-ttl", "eviction", Level.FAIL),
        ("maxmemory", "1", "memory", Level.FAIL),
        ("min-replicas-to-write", "1", "replicas", Level.FAIL),
    ],
)
async def test_each_setting_that_loses_orders_is_found(
    server: Redis, setting: str, value: str, check: str, level: Level
) -> None:
    await server.config_set(setting, value)
    findings = by_check(await check_durability(server))
    await server.config_set("maxmemory", "0")
    await server.config_set("min-replicas-to-write", "0")

    assert findings[check].level is level
    assert findings[check].advice
    assert {f.check for f in findings.values() if f.level is not Level.OK} == {check}


async def test_keys_that_were_thrown_away_are_told_of_also_under_a_policy_that_is_right_again(
    server: Redis,
) -> None:
    await server.config_resetstat()
    try:
        for n in range(50):
            await server.set(f"thrown:{n}", bytes(10_000))
        await server.config_set("maxmemory-policy", "allkeys-lru")
        await server.config_set("maxmemory", int((await server.info("memory"))["used_memory"]) - 100_000)
        await server.set("thrown:more", bytes(10_000))
    finally:
        await server.config_set("maxmemory-policy", "noeviction")
        await server.config_set("maxmemory", "0")
    findings = by_check(await check_durability(server))
    assert findings["eviction"].level is Level.OK
    assert findings["thrown away"].level is Level.WARN
    assert "antrean orders check" in findings["thrown away"].advice
    await server.config_resetstat()
    assert "thrown away" not in by_check(await check_durability(server))


async def test_too_few_replicas_are_found(server: Redis) -> None:
    assert by_check(await check_durability(server, replicas_min=1))["replicas"].level is Level.FAIL


async def test_a_server_that_is_away_is_a_finding(make_settings: Callable[..., Settings]) -> None:
    client = connect("redis://127.0.0.1:1", make_settings())
    [finding] = await check_durability(client)
    await client.aclose()
    assert (finding.check, finding.level) == ("reachable", Level.FAIL)


async def test_a_replica_and_a_snapshot_that_failed_are_found(
    short_dir: Path, make_settings: Callable[..., Settings]
) -> None:
    embedded = EmbeddedValkey(short_dir, short_dir / "valkey.sock", find_server())
    embedded.prepare()
    extra = ("--replicaof", "127.0.0.1", "1", "--save", "3600", "1", "--dbfilename", "snapshot.rdb")
    with embedded.log_path.open("ab") as output:
        process = subprocess.Popen(
            [*embedded.argv, *extra], stdout=output, stderr=output, start_new_session=True
        )
    settings = make_settings(data_dir=short_dir)
    client = connect(f"unix://{embedded.socket}", settings)
    try:
        await embedded.wait_ready(settings, timeout_s=10)
        assert by_check(await check_durability(client))["role"].level is Level.FAIL

        await client.replicaof("NO", "ONE")
        (short_dir / "snapshot.rdb").mkdir()  # nothing can be renamed onto a folder
        await client.bgsave()
        async with asyncio.timeout(10):
            while "snapshot" not in (findings := by_check(await check_durability(client))):
                await asyncio.sleep(0.01)
        assert findings["role"].level is Level.OK
        assert findings["snapshot"].level is Level.FAIL
    finally:
        await client.aclose()
        process.kill()
        process.wait(10)


async def test_where_config_get_is_forbidden_the_file_is_known_from_info(
    redis: Redis, settings: Settings, valkey_url: str
) -> None:
    await redis.acl_setuser(
        "managed", enabled=True, passwords="+pw", keys="*", categories=["+@all"], commands=["-config"]
    )
    client = connect(valkey_url.replace("unix://", "unix://managed:pw@"), settings)
    findings = by_check(await check_durability(client))
    await client.aclose()
    await redis.acl_deluser("managed")

    assert findings["configuration"].level is Level.WARN
    assert findings["append-only file"].level is Level.WARN


@contextlib.asynccontextmanager
async def _half_a_second_away(url: str, at_once: asyncio.Event) -> AsyncIterator[str]:
    """A way to the test's Valkey that brings its answers late, unless `at_once`."""
    carrying: set[asyncio.Task[None]] = set()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late: bool) -> None:
        while data := await reader.read(65536):
            if late and not at_once.is_set():
                await asyncio.sleep(0.55)
            writer.write(data)
        writer.close()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(url.removeprefix("unix://"))
        carrying.add(asyncio.create_task(carry(reader, up_writer, late=False)))
        carrying.add(asyncio.create_task(carry(up_reader, writer, late=True)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await asyncio.gather(*carrying)


async def test_a_server_that_is_half_a_second_away_is_found_ready_in_time(
    server: Redis, settings: Settings, valkey_url: str
) -> None:
    """What it is asked is asked at once: one after the other, the answers would come after READY_TIMEOUT_S."""
    at_once = asyncio.Event()
    at_once.set()
    async with _half_a_second_away(valkey_url, at_once) as url:
        parts = await gateway_parts(settings.model_copy(update={"redis_url": url}))
        try:
            assert await parts.check_ready() == []  # opens the connections
            at_once.clear()
            async with asyncio.timeout(READY_TIMEOUT_S):
                assert await parts.check_ready() == []
        finally:
            for close in parts.closers:
                await close()
