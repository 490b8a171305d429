"""`antrean keys`: make, list and revoke the keys of terminals, supervisors and operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antrean.cli._output import counted
from antrean.cli._redis import local_time, with_redis
from antrean.cli._types import BoundedFloat

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from antrean.config.settings import Settings

ROLES = click.Choice(["terminal", "supervisor", "ops"])

#: As over HTTP: ten years.
DAYS_MAX = 3660


@click.group()
def command() -> None:
    """Make, list and revoke API keys."""


@command.command()
@click.option("--role", type=ROLES, required=True)
@click.option("--office", default="", help="Office of a terminal or supervisor key, such as MDN-01.")
@click.option(
    "--days",
    type=BoundedFloat(0, DAYS_MAX, min_open=True),
    help="Days until it expires, ten years at most; without: never.",
)
def create(role: str, office: str, days: float | None) -> None:
    """Make a key. It is printed once, alone on the last line, and kept only as a hash."""
    if role != "ops" and not office:
        raise click.ClickException(
            f"A {role} key belongs to an office: add --office, such as --office MDN-01."
        )

    async def work(settings: Settings, redis: Redis) -> str:
        import time

        from antrean.gateway.keys import NO_OFFICE, KeyRing, Role

        expires_ms = int((time.time() + days * 86400) * 1000) if days else None
        return await KeyRing(redis).create(Role(role), office or NO_OFFICE, expires_ms)

    try:
        key = with_redis(work)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    article = "An" if role == "ops" else "A"
    click.echo(f"{article} {role} key{f' of {office}' if office else ''}; it cannot be shown again:")
    click.echo(key)


@command.command("list")
def list_keys() -> None:
    """The keys, without their secrets."""

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.gateway.keys import KeyRing

        ring = KeyRing(redis)
        used_ms = await ring.last_used_ms()
        for record in await ring.list():
            ends = f"until {local_time(record.expires_ms)}" if record.expires_ms else "no end"
            revoked = "  revoked" if record.revoked_ms else ""
            made = local_time(record.created_ms)
            used = f"used {local_time(used_ms[record.id])}" if record.id in used_ms else "never used"
            click.echo(
                f"{record.id}  {record.role.value:<10} {record.office:<12} made {made}  {ends}  {used}{revoked}"
            )

    with_redis(work)


@command.command()
@click.argument("key")
def revoke(key: str) -> None:
    """Make a key useless, on all gateways, within a second. KEY is its id, or the whole key."""

    async def work(settings: Settings, redis: Redis) -> str | None:
        from antrean.gateway.keys import KeyRing

        ring = KeyRing(redis)
        key_id = await ring.id_of(key)
        if key_id is not None:
            await ring.revoke(key_id)
        return key_id

    key_id = with_redis(work)
    if key_id is None:
        # What was given may be a key of somewhere else, so it is not repeated.
        raise click.ClickException("There is no such key. `antrean keys list` shows their ids.")
    click.echo(f"{key_id} is revoked")


@command.command()
@click.argument("key_id")
@click.option(
    "--overlap-hours",
    type=BoundedFloat(0, 720),
    default=24,
    show_default=True,
    help="How long the old key goes on.",
)
def rotate(key_id: str, overlap_hours: float) -> None:
    """Replace a key. The new one is printed once, alone on the last line; the old one goes on for a while."""

    async def work(settings: Settings, redis: Redis) -> str | None:
        from antrean.gateway.keys import KeyRing

        made = await KeyRing(redis).rotate(key_id, int(overlap_hours * 3600 * 1000))
        return None if made is None else made[0]

    text = with_redis(work)
    if text is None:
        raise click.ClickException(f"{key_id} is unknown or at its end. `antrean keys list` shows the keys.")
    click.echo(f"This key replaces {key_id}, which goes on for {counted(overlap_hours, 'hour', 'hours')}:")
    click.echo(text)
