"""`antrean doctor`: what is wrong and what to change."""

from __future__ import annotations

import click

from antrean.cli._output import console
from antrean.cli._process import start_process


@click.command()
def command() -> None:
    """Check settings, Redis, books, upstream, clock, disk and documents; say what to change.

    Exit code 1 where a check fails. Nothing is made or changed, but for probes in the document store and in the
    adapter's folders.
    """
    import asyncio

    from rich.table import Table
    from rich.text import Text

    from antrean.config.checkup import examine
    from antrean.config.durability import Level, fails

    findings = asyncio.run(examine(start_process(say_passed_over=False)))
    styles = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "bold red"}
    table = Table("", "check", "seen and, where needed, what to change", box=None, pad_edge=False)
    for finding in findings:
        told = Text(finding.seen)
        if finding.advice:
            told.append(f"\n→ {finding.advice}", style="bold")
        table.add_row(Text(finding.level, style=styles[finding.level]), Text(finding.check), told)
    console().print(table)
    if failed := fails(findings):
        click.echo(f"{len(failed)} of {len(findings)} checks failed.")
        raise SystemExit(1)
    click.echo(f"{len(findings)} checks, none failed.")
