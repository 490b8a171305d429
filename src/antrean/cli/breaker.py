"""`antrean breaker`: see the breakers, force them, lift the force."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antrean.cli._output import console, counted
from antrean.cli._redis import actor, shown_time, with_redis
from antrean.cli._types import BoundedFloat, Reason

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from antrean.config.settings import Settings
    from antrean.provider.breaker import SharedBreaker

NAMES = click.Choice(["provider", "adapter"])
#: As short as over HTTP: a second.
MINUTES_MIN = 0.02


@click.group(invoke_without_command=True)
@click.pass_context
def command(context: click.Context) -> None:
    """Show the breakers; `open`, `close` or `lift` one. Every change is kept with who and why."""
    if context.invoked_subcommand is None:
        _show()


def _of(settings: Settings, redis: Redis, name: str) -> SharedBreaker:
    from antrean.config.upstream import build_breakers

    breakers = build_breakers(settings, redis)
    return breakers.provider if name == "provider" else breakers.adapter


def _show() -> None:
    from rich.table import Table

    async def work(settings: Settings, redis: Redis) -> None:
        table = Table(
            "breaker", "state", "since", "reason", "failed", "slow", "calls", "limit", "next probe", box=None
        )
        for name in NAMES.choices:
            status, pace = await _of(settings, redis, name).look()
            forced = f" (forced by {status.override.actor})" if status.override else ""
            table.add_row(
                name,
                f"{status.state.value}{forced}",
                shown_time(status.since),
                status.reason or "",
                f"{status.failure_rate:.0%}",
                f"{status.slow_rate:.0%}",
                str(status.calls_in_window),
                f"{pace.in_flight}/{pace.limit}",
                shown_time(status.next_probe_at) if status.next_probe_at else "",
            )
        console().print(table)

    with_redis(work)


def _force(name: str, state: str, reason: str, minutes: float) -> None:
    from antrean.provider.policy import BreakerState

    async def work(settings: Settings, redis: Redis) -> None:
        await _of(settings, redis, name).override(BreakerState(state), reason, actor(), minutes * 60)

    with_redis(work)
    click.echo(f"{name} is held {state} for {counted(minutes, 'minute', 'minutes')}: {reason}")


reason_option = click.option("--reason", required=True, type=Reason(), help="Why; kept with the change.")
minutes_option = click.option(
    "--minutes", type=BoundedFloat(MINUTES_MIN, 24 * 60), default=30, show_default=True
)


@command.command("open")
@click.argument("name", type=NAMES)
@reason_option
@minutes_option
def force_open(name: str, reason: str, minutes: float) -> None:
    """Let nothing through, whatever the upstream's health."""
    _force(name, "open", reason, minutes)


@command.command("close")
@click.argument("name", type=NAMES)
@reason_option
@minutes_option
def force_closed(name: str, reason: str, minutes: float) -> None:
    """Let calls through, whatever the upstream's health."""
    _force(name, "closed", reason, minutes)


@command.command()
@click.argument("name", type=NAMES)
def lift(name: str) -> None:
    """End a forced state."""

    async def work(settings: Settings, redis: Redis) -> bool:
        return await _of(settings, redis, name).lift_override(actor())

    click.echo("lifted" if with_redis(work) else "there was no forced state")


@command.command()
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True)
@click.argument("name", type=NAMES, required=False)
def history(name: str | None, limit: int) -> None:
    """The last changes, newest first: of one breaker, or of both."""

    async def work(settings: Settings, redis: Redis) -> None:
        changes = [
            (change, each)
            for each in ([name] if name else NAMES.choices)
            for change in await _of(settings, redis, each).history(limit)
        ]
        changes.sort(key=lambda found: found[0].at, reverse=True)
        for c, each in changes[:limit]:
            states = f"{c.from_state} → {c.to_state}"
            click.echo(f"{shown_time(c.at)}  {each:<8}  {states}  {c.reason}  ({c.actor})")

    with_redis(work)
