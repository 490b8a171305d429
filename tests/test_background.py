"""What a gateway does beside its requests goes on, whatever happens to it."""

from __future__ import annotations

import asyncio
import contextlib
import socket

import pytest
from redis.asyncio import Redis

from antrean.config import tasks
from antrean.config.settings import Settings
from antrean.config.tasks import cancelled
from antrean.gateway import server
from antrean.gateway.app import kept_running
from gateway_support import running_gateway


async def test_a_loop_that_fails_is_told_of_and_begun_again(capsys: pytest.CaptureFixture[str]) -> None:
    begun = 0
    again = asyncio.Event()

    async def loop() -> None:
        nonlocal begun
        begun += 1
        if begun == 1:
            raise ValueError("something nobody thought of")
        again.set()
        await asyncio.Event().wait()

    running = asyncio.create_task(kept_running(loop, pause_s=0))
    await asyncio.wait_for(again.wait(), 5)
    assert "a background loop failed" in capsys.readouterr().out
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_task_that_loses_a_cancellation_is_cancelled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    lost = 0

    async def loses_one() -> None:
        nonlocal lost
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            lost += 1
        await asyncio.Event().wait()

    async def fails() -> None:
        raise ValueError("its own affair")

    all_of_them = [asyncio.create_task(loses_one()), asyncio.create_task(fails())]
    await asyncio.sleep(0)
    await asyncio.wait_for(cancelled(all_of_them), 5)
    assert lost == 1
    assert all(task.done() for task in all_of_them)


async def test_a_gateway_whose_port_is_taken_ends_though_a_loop_loses_its_cancellation(
    redis: Redis, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)

    async def loses_one() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        await asyncio.Event().wait()

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with running_gateway(redis, settings.model_copy(update={"http_port": port})) as gateway:
            monkeypatch.setattr(gateway.parts.hub, "run", loses_one)
            with pytest.raises(OSError, match="in use"):
                await asyncio.wait_for(server.serve(gateway.parts, asyncio.Event(), lambda: None), 10)
