"""`antrean webhooks`: what waits and what fails, replay, and each office's secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antrean.cli._output import counted
from antrean.cli._redis import local_time, with_redis
from antrean.cli._types import BoundedFloat, Office

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from antrean.config.settings import Settings
    from antrean.orders.outbox import Outbox


@click.group()
def command() -> None:
    """Look at webhooks, send again what was given up, show and rotate secrets."""


@command.command()
def show() -> None:
    """What waits, what was given up, where it fails."""

    async def work(settings: Settings, redis: Redis) -> None:
        view = await (await _outbox(settings, redis)).view()
        click.echo(f"{view.pending} on their way, {view.given_up} given up")
        for endpoint in view.endpoints:
            state = "DISABLED" if endpoint.disabled_ms is not None else "failing"
            since = f"since {local_time(endpoint.since_ms)}, {counted(endpoint.failures, 'time', 'times')}"
            click.echo(f"{state:<9} {endpoint.office:<12} {endpoint.host}  {since}: {endpoint.why}")
        for notice, at_ms in view.dead:
            click.echo(f"given up  {local_time(at_ms)}  {notice.id}  {notice.type}  {notice.why}")

    with_redis(work)


@command.command()
@click.argument("notice_ids", nargs=-1)
@click.option("--office", type=Office(), help="All that was given up for this office.")
@click.option("--all", "everything", is_flag=True, help="All that was given up.")
def replay(notice_ids: tuple[str, ...], office: str | None, everything: bool) -> None:
    """Send again what was given up: by id, of one office, or all."""
    if not (notice_ids or office or everything):
        raise click.UsageError("Name notices, or give --office or --all.")
    if notice_ids and (office or everything):
        raise click.UsageError("Name notices, or give --office or --all, not both.")

    async def work(settings: Settings, redis: Redis) -> tuple[int, list[str]]:
        from antrean.orders import keys

        outbox = await _outbox(settings, redis)
        if not notice_ids:
            return await outbox.replay_all(office), []
        unknown = [name for name in notice_ids if await redis.zscore(keys.NOTICES_DEAD, name) is None]
        return await outbox.replay(list(notice_ids)), unknown

    sent, unknown = with_redis(work)
    click.echo(f"{counted(sent, 'is', 'are')} sent again")
    if unknown:
        raise click.ClickException(
            f"There is no such notice among those given up: {', '.join(unknown)}. "
            "`antrean webhooks show` lists them."
        )


@command.command()
@click.argument("office", type=Office())
@click.argument("host")
def enable(office: str, host: str) -> None:
    """Ask a disabled address again. HOST as `show` has it."""

    async def work(settings: Settings, redis: Redis) -> bool:
        return await (await _outbox(settings, redis)).enable(office, host)

    if not with_redis(work):
        raise click.ClickException(
            f"{host} does not fail for {office}. `antrean webhooks show` lists those that do."
        )
    click.echo(
        f"{host} is asked again for {office}; `antrean webhooks replay --office {office}` sends what was missed"
    )


@command.command()
@click.option("--office", type=Office(), required=True, help="Such as MDN-01.")
@click.option("--rotate", is_flag=True, help="Make a new one; the old signs beside it for a while.")
@click.option(
    "--overlap-hours", type=BoundedFloat(0, 720), default=24, show_default=True, help="How long it does."
)
def secret(office: str, rotate: bool, overlap_hours: float) -> None:
    """The secret that an office's webhooks are signed with, alone on the last line."""

    async def work(settings: Settings, redis: Redis) -> str:
        import time

        outbox = await _outbox(settings, redis)
        if rotate:
            return (
                await outbox.rotate(office, int(overlap_hours * 3600_000), int(time.time() * 1000))
            ).current
        return (await outbox.secrets(office)).current

    from antrean.config.personal_keys import WrongRing
    from antrean.orders.vault import Unreadable

    try:
        text = with_redis(work)
    except (WrongRing, Unreadable) as error:
        raise click.ClickException(str(error)) from error
    click.echo(text)


async def _outbox(settings: Settings, redis: Redis) -> Outbox:
    from antrean.config.personal_keys import open_vault
    from antrean.orders.outbox import Outbox
    from antrean.orders.scripts import Scripts

    return Outbox(Scripts(redis), await open_vault(settings, redis))
