"""`antrean worker`: the process that fulfils orders."""

from __future__ import annotations

import click

from antrean.cli._process import (
    SettingsError,
    announcer,
    ending_plainly,
    ready_fd_option,
    redis_wait_option,
    start_process,
)


@click.command()
@ready_fd_option
@redis_wait_option
def command(ready_fd: int | None, redis_wait_s: float) -> None:
    """Run one worker: it buys and stamps what was accepted. As many may run as wanted."""
    settings = start_process()
    # `up` has told of it. Beside others one that can buy nothing would fail what it takes, and open the breaker of all.
    if ready_fd is None and (
        gaps := [part for part in ("backend", "stampv2") if not settings.upstream_urls[part]]
    ):
        names = ", ".join(f"ANTREAN_UPSTREAM_{part.upper()}_URL" for part in gaps)
        raise SettingsError(f"{names}: not set. A worker needs the addresses of the e-meterai server.")
    from antrean.config.worker_wiring import run_worker

    with ending_plainly():
        run_worker(settings, announcer(ready_fd), redis_wait_s)
