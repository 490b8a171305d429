"""`antrean send`: orders from a file, over HTTP as a terminal sends them."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from antrean.cli._process import read_settings

if TYPE_CHECKING:
    from antrean.client import BatchRow, Client, NewOrder

#: Rows sent in one go.
ROWS_AT_ONCE = 100


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--url", help="Where the gateway is.  [default: that of ANTREAN_HTTP_HOST and ANTREAN_HTTP_PORT]"
)
@click.option(
    "--key", envvar="ANTREAN_SEND_KEY", required=True, help="A terminal's key; best in ANTREAN_SEND_KEY."
)
@click.option("--wait", is_flag=True, help="Wait until each order is at its end or in a person's hands.")
def command(file: Path, url: str | None, key: str, wait: bool) -> None:
    """Send orders from a file of JSON lines, each with its own `idempotency_key`.

    Run it again after an interruption: what was accepted before is not ordered twice. Prints a line for each row:
    its key, and the order's id and state or what is wrong with it. Exit code 1 where a row was not accepted.
    """
    import asyncio

    # By line feeds alone: a text may hold what Python takes for the end of a line as well.
    lines = file.read_bytes().removeprefix(codecs.BOM_UTF8).split(b"\n")
    rows = [_row(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not asyncio.run(_send(rows, url or _here(), key, wait)):
        raise SystemExit(1)


def _here() -> str:
    from antrean.config.urls import origin

    settings = read_settings()
    return origin(settings.http_host, settings.http_port)


def _row(number: int, line: bytes) -> tuple[str, NewOrder]:
    try:
        row: Any = json.loads(line.decode())
        return row.pop("idempotency_key"), row
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise click.ClickException(
            f"Line {number} is no JSON object in UTF-8 with an idempotency_key."
        ) from error


async def _send(rows: list[tuple[str, NewOrder]], url: str, key: str, wait: bool) -> bool:
    from antrean.client import AntreanError, Client, Patience

    place = url.rpartition("@")[2]  # without a password

    def waiting(what: str, last: str) -> None:
        click.echo(
            f"{what} at {place}: not taken yet ({last}), tried again for two minutes at most", err=True
        )

    good = True
    try:
        client = Client(url, key, patience=Patience(waiting=waiting))
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    try:
        async with client as antrean:
            for start in range(0, len(rows), ROWS_AT_ONCE):
                part = rows[start : start + ROWS_AT_ONCE]
                for (name, _), result in zip(part, await antrean.submit_batch(part), strict=True):
                    good &= "order" in result
                    click.echo(f"{name}  {await _outcome(antrean, result, wait)}")
    except AntreanError as error:
        raise click.ClickException(str(error)) from error
    return good


async def _outcome(antrean: Client, result: BatchRow, wait: bool) -> str:
    if "order" not in result:
        return f"{result['status']} {result['problem']['detail']}"
    order = await antrean.wait(result["order"]["id"]) if wait else result["order"]
    return f"{order['id']} {order['state']} {order['serial_number'] or ''}".rstrip()
