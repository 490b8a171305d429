"""`antrean gateway`: the HTTP side."""

from __future__ import annotations

import click

from antrean.cli._process import TooOld, announcer, ready_fd_option, redis_wait_option, start_process


@click.command()
@ready_fd_option
@redis_wait_option
def command(ready_fd: int | None, redis_wait_s: float) -> None:
    """Run the gateway alone: it accepts orders and serves the console."""
    settings = start_process()
    from antrean.config.personal_keys import WrongRing
    from antrean.gateway.server import run
    from antrean.orders.layout import NewerLayout

    try:
        run(settings, announcer(ready_fd), redis_wait_s)
    except NewerLayout as error:
        raise TooOld(str(error)) from error
    except (WrongRing, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
