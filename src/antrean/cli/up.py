"""`antrean up`: everything on one machine."""

from __future__ import annotations

import click

from antrean.cli._process import TooOld, start_process


@click.command()
@click.option("--paused", is_flag=True, help="Accept orders, buy and stamp nothing yet: after a restore.")
def command(paused: bool) -> None:
    """Run everything on this machine: Valkey, gateway, workers, and a simulator where no upstream is set.

    Ctrl-C drains and stops all. Settings are environment variables ANTREAN_… or lines of a .env file.
    """
    import asyncio

    from antrean.config.launch import Launch
    from antrean.config.start_checks import StartError
    from antrean.orders.layout import NewerLayout

    settings = start_process()
    try:
        asyncio.run(Launch(settings, click.echo, paused=paused).run())
    except NewerLayout as error:
        raise TooOld(str(error)) from error
    except StartError as error:
        raise click.ClickException(str(error)) from error
