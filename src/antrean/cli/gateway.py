"""`antrean gateway`: the HTTP side."""

from __future__ import annotations

import click

from antrean.cli._process import announcer, ending_plainly, ready_fd_option, redis_wait_option, start_process


@click.command()
@ready_fd_option
@redis_wait_option
@click.option("--again", is_flag=True, hidden=True, help="One before it worked on this Redis.")
@click.option("--number", type=int, hidden=True, help="Its own among several gateways on this port.")
def command(ready_fd: int | None, redis_wait_s: float, again: bool, number: int | None) -> None:
    """Run the gateway alone: it accepts orders and serves the console."""
    settings = start_process()
    from antrean.config.start_checks import StartError, check_port_free

    try:
        # One in use is told by the listener itself, which may be a moment later than its predecessor's end.
        check_port_free(settings.http_host, settings.http_port, "ANTREAN_HTTP_PORT", may_be_in_use=True)
    except StartError as error:
        raise click.ClickException(str(error)) from error
    from antrean.gateway.server import run

    with ending_plainly():
        run(settings, announcer(ready_fd), redis_wait_s, again=again, number=number)
