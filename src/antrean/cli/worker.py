"""`antrean worker`: the process that fulfils orders."""

from __future__ import annotations

import click

from antrean.cli._process import TooOld, announcer, ready_fd_option, redis_wait_option, start_process


@click.command()
@ready_fd_option
@redis_wait_option
def command(ready_fd: int | None, redis_wait_s: float) -> None:
    """Run one worker: it buys and stamps what was accepted. As many may run as wanted."""
    settings = start_process()
    from antrean.config.personal_keys import WrongRing
    from antrean.config.worker_wiring import run_worker
    from antrean.orders.layout import NewerLayout

    try:
        run_worker(settings, announcer(ready_fd), redis_wait_s)
    except NewerLayout as error:
        raise TooOld(str(error)) from error
    except (WrongRing, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
