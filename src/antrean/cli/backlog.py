"""`antrean backlog`: what waits, what holds it, how fast it goes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from antrean.cli._output import console, counted
from antrean.cli._redis import local_time, with_redis

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from rich.console import RenderableType
    from rich.table import Table

    from antrean.config.settings import Settings
    from antrean.orders.situation import Situation

#: Seconds between two looks of `--watch`.
WATCH_EVERY_S = 1.0
#: Offices shown.
OFFICES_MAX = 15


@click.command()
@click.option(
    "--watch", is_flag=True, help="Look again every second until Ctrl-C; in a pipe, one table after another."
)
def command(watch: bool) -> None:
    """Show the orders that wait, by state, lane and office."""
    import asyncio

    from rich.live import Live

    async def work(settings: Settings, redis: Redis) -> None:
        screen = console()
        if not watch:
            screen.print(await _look(settings, redis))
            return
        if not screen.is_terminal:  # where a table that is renewed in its place shows nothing
            while True:
                screen.print(await _look(settings, redis), "")
                await asyncio.sleep(WATCH_EVERY_S)
        with Live(await _look(settings, redis), console=screen) as live:
            while True:
                await asyncio.sleep(WATCH_EVERY_S)
                live.update(await _look(settings, redis))

    try:
        with_redis(work)
    except KeyboardInterrupt:
        return


async def _look(settings: Settings, redis: Redis) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    from antrean.config.store import build_store
    from antrean.config.upstream import build_breakers
    from antrean.orders import eta
    from antrean.orders.promises import Promises, Turned
    from antrean.orders.view import Pace

    store = build_store(settings, redis)
    situation, by_office = await store.situation(), await store.lanes.by_office()
    workers = await store.alive(situation.now_ms)
    pace = Pace(situation.now_ms, tuple(await store.completions(situation.now_ms, eta.SPANS)))
    breakers = build_breakers(settings, redis)
    lines = [
        Text(
            f"{counted(situation.open, 'order is', 'orders are')} open, "
            f"{counted(workers, 'worker is', 'workers are')} alive",
            style="bold",
        ),
        Text(f"completed a minute, lately: {pace.per_minute:,.1f}"),
    ]
    for name in ("provider", "adapter"):
        status, limit = await getattr(breakers, name).look()
        lines.append(
            Text(f"{name}: {status.state.value}, {limit.in_flight} of {limit.limit} calls in flight")
        )
    for hold in situation.holds.values():
        lines.append(
            Text(f"held: {hold.reason} since {local_time(hold.since_ms)} {hold.text}", style="bold yellow")
        )
    if pooled := await store.account.pooled():
        lines.append(
            Text(
                f"{counted(pooled, 'serial number', 'serial numbers')} in the pool: bought, and for the next orders"
            )
        )
    kept = await Promises(redis).kept()
    if told := sum(kept.values()):
        lines.append(Text(f"promised times that held: {kept[Turned.WITHIN] / told:.0%} of {told:,}"))
    return Group(*lines, *_tables(situation, by_office))


def _tables(situation: Situation, by_office: Mapping[str, int]) -> list[Table]:
    from rich.table import Table

    states = Table("state", "orders", box=None)
    for state, count in situation.by_state.items():
        if count:
            states.add_row(state.value, f"{count:,}")
    lanes = Table("waits for", "orders", box=None)
    for lane, count in (
        ("its purchase", situation.buy),
        ("its picture", situation.fetch),
        ("its stamp", situation.stamp),
        ("its next try", situation.later),
        ("being worked on", situation.claimed),
    ):
        lanes.add_row(lane, f"{count:,}")
    offices = Table("office", "open", box=None)
    for office, orders in sorted(by_office.items(), key=lambda o: -o[1])[:OFFICES_MAX]:
        offices.add_row(office, f"{orders:,}")
    return [states, lanes, offices]
