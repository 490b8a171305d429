"""What a gateway does beside its requests goes on, whatever happens to it."""

from __future__ import annotations

import asyncio

import pytest

from antrean.gateway.app import kept_running


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
