"""`antrean worker`: the process that fulfils orders."""

from __future__ import annotations

import click

from antrean.cli._process import announcer, ending_plainly, ready_fd_option, redis_wait_option, start_process


@click.command()
@ready_fd_option
@redis_wait_option
def command(ready_fd: int | None, redis_wait_s: float) -> None:
    """Run one worker: it buys and stamps what was accepted. As many may run as wanted."""
    settings = start_process()
    from antrean.config.worker_wiring import run_worker

    with ending_plainly():
        run_worker(settings, announcer(ready_fd), redis_wait_s)
