"""`antrean up`, with small programs in place of gateway and workers, and a real Valkey."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import redis.asyncio
import structlog.testing

from antrean.config import launch as launch_module
from antrean.config.launch import FirstKeys, Launch, Plan, antrean_command, make_plan
from antrean.config.redis_client import connect
from antrean.config.settings import Settings
from antrean.config.start_checks import StartError
from antrean.orders import keys
from antrean.orders.holding import PAUSED
from processes import READY, SLEEP, lives, python, until

MakeSettings = Callable[..., Settings]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def up_settings(make_settings: MakeSettings, short_dir: Path) -> Settings:
    """A data dir and a port of the test's own; an upstream is named, so that no simulator starts."""
    return make_settings(
        data_dir=short_dir / "data",
        http_port=free_port(),
        drain_s=2,
        workers=2,
        upstream_backend_url="http://127.0.0.1:1",
    )


def small_plan(settings: Settings) -> Plan:
    """The real Valkey, and programs that only say that they are ready."""
    real = make_plan(settings)
    return Plan(
        [python(spec.name, READY + SLEEP) for spec in real.gateways],
        [python(spec.name, READY + SLEEP) for spec in real.workers],
        real.valkey,
        None,
        real.places,
    )


async def one_key(_settings: Settings, client: redis.asyncio.Redis) -> FirstKeys:
    """Stands for the making of keys: it needs a Redis that answers."""
    return [] if await client.set("first", "made", get=True) else [("terminal", "DEMO-01", "k" * 32)]


class Run:
    """A Launch under way and what it said."""

    def __init__(self, settings: Settings) -> None:
        self.said: list[str] = []
        self.launch = Launch(settings, self.said.append, plan=small_plan, first_keys=one_key)
        self.task = asyncio.create_task(self.launch.run())

    async def ready(self) -> None:
        await until(lambda: self.task.done() or any(s.startswith("ready") for s in self.said), "ready")
        if self.task.done():
            self.task.result()

    def pid(self, name: str) -> int:
        [line] = [line for line in self.said if line.startswith(f"{name} ")]
        return int(line.rpartition("process ")[2].rstrip(")"))

    async def end(self) -> None:
        self.launch.interrupt()
        await self.task


@contextlib.asynccontextmanager
async def up(settings: Settings) -> AsyncIterator[Run]:
    run = Run(settings)
    try:
        await run.ready()
        yield run
    finally:
        if not run.task.done():
            await run.end()


async def test_it_says_in_a_line_each_what_runs_where_and_shows_first_keys_once(
    up_settings: Settings,
) -> None:
    async with up(up_settings) as run:
        first_words = [line.split()[0] for line in run.said]
        assert {"data", "valkey", "gateway", "worker-1", "worker-2", "terminal", "console"} <= set(
            first_words
        )
        assert first_words[-1] == "ready"
        assert any("k" * 32 in line for line in run.said)
        assert f"http://127.0.0.1:{up_settings.http_port}/ops" in " ".join(run.said)
        pids = [run.pid(name) for name in ("valkey", "gateway", "worker-1", "worker-2")]
    assert run.said[-1] == "stopped"
    assert not any(map(lives, pids))

    async with up(up_settings) as again:
        assert not any("k" * 32 in line for line in again.said)
    for file in up_settings.data_dir.rglob("*"):
        assert not file.is_file() or b"k" * 32 not in file.read_bytes()


def test_of_all_that_it_starts_valkey_alone_is_spared_when_memory_runs_out(
    make_settings: MakeSettings, short_dir: Path
) -> None:
    plan = make_plan(make_settings(data_dir=short_dir))
    specs = [
        spec for spec in (plan.valkey, plan.simulator, *plan.gateways, *plan.workers) if spec is not None
    ]
    assert [spec.name for spec in specs if spec.spared] == ["valkey"]
    assert len(specs) == 4


async def test_a_second_up_on_the_same_data_dir_is_refused_with_the_first_ones_pid(
    up_settings: Settings,
) -> None:
    async with up(up_settings):
        with pytest.raises(StartError, match=rf"already running on .* \(process {os.getpid()}\)"):
            await Run(up_settings).task


async def test_a_port_in_use_is_told_before_anything_starts(up_settings: Settings) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", up_settings.http_port))
        other.listen()
        run = Run(up_settings)
        with pytest.raises(StartError, match=f"Port {up_settings.http_port} .* is in use.*ANTREAN_HTTP_PORT"):
            await run.task
    assert run.said == []


async def test_two_with_several_gateways_never_share_a_port_even_while_none_listens_yet(
    up_settings: Settings, tmp_path: Path
) -> None:
    first = up_settings.model_copy(update={"gateways": 2})
    # The programs of this plan listen nowhere, as gateways do that wait for a Redis which loads.
    async with up(first):
        second = Run(first.model_copy(update={"data_dir": tmp_path}))
        with pytest.raises(StartError, match=f"Port {first.http_port} .* is in use.*ANTREAN_HTTP_PORT"):
            await asyncio.wait_for(second.task, 10)
        assert second.said == []
    async with up(first):
        pass


async def test_a_data_dir_that_can_not_be_written_is_told(
    make_settings: MakeSettings, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    settings = make_settings(data_dir=tmp_path / "file" / "data", http_port=free_port())
    with pytest.raises(StartError, match=r"can not be written .* Set ANTREAN_DATA_DIR"):
        await Run(settings).task


async def test_a_redis_that_is_away_is_told_without_its_password(
    make_settings: MakeSettings, short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch_module, "REDIS_WAIT_S", 0.1)
    settings = make_settings(
        data_dir=short_dir,
        http_port=free_port(),
        redis_url="redis://me:hunter2@127.0.0.1:1/0",
        upstream_backend_url="http://127.0.0.1:1",
    )
    with pytest.raises(StartError, match=r"redis://127.0.0.1:1/0 gives no answer") as failure:
        await Run(settings).task
    assert "hunter2" not in str(failure.value)


async def test_a_valkey_that_does_not_start_is_told_with_the_end_of_its_log(up_settings: Settings) -> None:
    folder = up_settings.data_dir / "valkey" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("not a manifest\n")
    with pytest.raises(StartError, match=r"(?s)^valkey: it ended with code 1 .*manifest"):
        await Run(up_settings).task


async def test_valkey_that_dies_comes_back_with_what_it_had(up_settings: Settings) -> None:
    async with up(up_settings) as run:
        client = connect(up_settings.effective_redis_url, up_settings)
        await client.set("order", "accepted")
        await client.connection_pool.disconnect()
        os.kill(run.pid("valkey"), signal.SIGKILL)
        await until(lambda: not lives(run.pid("valkey")), "its death")

        async def kept() -> object:
            with contextlib.suppress(redis.exceptions.ConnectionError):
                return await client.get("order")
            return None

        async with asyncio.timeout(10):
            while await kept() != b"accepted":
                await asyncio.sleep(0.01)
        await client.aclose()


@pytest.mark.parametrize("orders", [0, 3])
async def test_orders_that_look_restored_from_a_backup_are_not_bought_before_somebody_says_so(
    up_settings: Settings, orders: int
) -> None:
    url, folder = up_settings.effective_redis_url, up_settings.data_dir / "valkey"

    async def held(run: Run, *, lift: bool = False) -> bool:
        client = connect(url, up_settings)
        found = await client.hexists(keys.HOLDS, PAUSED)
        if lift:
            await client.hdel(keys.HOLDS, PAUSED)
        await client.aclose()
        assert found == any(line.startswith("paused ") for line in run.said)
        return bool(found)

    async with up(up_settings) as run:
        client = connect(url, up_settings)
        if orders:
            await client.incrby(keys.SEQUENCE, orders)
        await client.aclose()
        assert not await held(run)
    async with up(up_settings) as again:
        assert not await held(again)
    shutil.copytree(folder / "appendonlydir", up_settings.data_dir / "backup")
    shutil.rmtree(folder)
    shutil.copytree(up_settings.data_dir / "backup", folder / "appendonlydir")
    if orders:  # a first start that fails does not make it forgotten
        manifest = folder / "appendonlydir" / "appendonly.aof.manifest"
        written = manifest.read_text()
        manifest.write_text("not a manifest\n")
        with pytest.raises(StartError, match="valkey"):
            await Run(up_settings).task
        manifest.write_text(written)
    async with up(up_settings) as restored:
        assert await held(restored, lift=True) == bool(orders)
        assert bool(orders) == any("restored from a backup" in line for line in restored.said)
    async with up(up_settings) as later:
        assert not await held(later)


async def test_an_interrupt_during_the_start_leaves_nothing_behind(up_settings: Settings) -> None:
    run = Run(up_settings)
    await until(lambda: any(line.startswith("valkey") for line in run.said), "valkey")
    await run.end()
    assert not lives(run.pid("valkey"))


async def test_the_same_order_to_stop_told_twice_is_no_order_to_stop_at_once(
    up_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def killed(one_order_s: float) -> bool:
        monkeypatch.setattr(launch_module, "ONE_ORDER_S", one_order_s)
        async with up(up_settings) as run:
            run.launch.interrupt()
            run.launch.interrupt()
            with structlog.testing.capture_logs() as logged:
                await run.task
        return any(line["event"] == "child_killed" for line in logged)

    assert not await killed(launch_module.ONE_ORDER_S)
    assert await killed(0.0)


async def test_after_a_killed_up_a_new_one_waits_for_its_orphans_and_starts(
    up_settings: Settings, tmp_path: Path
) -> None:
    # Given an `up` whose Valkey takes its time to go
    program = """
import asyncio, sys
from test_up import Run, Settings
async def main():
    data_dir, port = sys.argv[1:]
    run = Run(Settings(_env_file=None, data_dir=data_dir, http_port=port, upstream_backend_url="http://127.0.0.1:1"))
    await run.ready()
    print(run.pid("valkey"), run.pid("gateway"), flush=True)
    await run.task
asyncio.run(main())
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, str(Path(__file__).parent)])}
    argv = [sys.executable, "-c", program, str(up_settings.data_dir), str(up_settings.http_port)]
    killed = subprocess.Popen(argv, env=env, stdout=subprocess.PIPE, text=True)
    assert killed.stdout is not None
    with killed.stdout:
        pids = [int(pid) for pid in (await asyncio.to_thread(killed.stdout.readline)).split()]
    valkey, gateway = pids
    os.kill(valkey, signal.SIGSTOP)
    # when it is killed and a new one is started at once
    killed.kill()
    killed.wait(10)
    run = Run(up_settings)
    await until(lambda: not lives(gateway), "the end of the orphaned gateway")
    assert lives(valkey)
    assert run.said == []
    # then the new one starts as soon as the last orphan is gone
    os.kill(valkey, signal.SIGCONT)
    await run.ready()
    assert not lives(valkey)
    await run.end()


def test_children_are_seen_in_ps_as_the_commands_that_they_are() -> None:
    assert " ".join(antrean_command()).endswith("antrean")
