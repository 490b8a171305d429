"""`antrean keys`: make, list and revoke the keys of terminals, supervisors and operations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antrean.cli._redis import local_time, with_redis

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from antrean.config.settings import Settings

ROLES = click.Choice(["terminal", "supervisor", "ops"])


@click.group()
def command() -> None:
    """Make, list and revoke API keys."""


@command.command()
@click.option("--role", type=ROLES, required=True)
@click.option("--office", default="", help="Office of a terminal or supervisor key, such as MDN-01.")
@click.option(
    "--days", type=click.FloatRange(0, min_open=True), help="Days until it expires; without: never."
)
def create(role: str, office: str, days: float | None) -> None:
    """Make a key. It is printed once, alone on the last line, and kept only as a hash."""
    if role != "ops" and not office:
        raise click.ClickException(
            f"A {role} key belongs to an office: add --office, such as --office MDN-01."
        )

    async def work(settings: Settings, redis: Redis) -> str:
        import time

        from antrean.gateway.keys import KeyRing, Role

        expires_ms = int((time.time() + days * 86400) * 1000) if days else None
        return await KeyRing(redis).create(Role(role), office or "*", expires_ms)

    try:
        key = with_redis(work)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"A {role} key{f' of {office}' if office else ''}; it cannot be shown again:")
    click.echo(key)


@command.command("list")
def list_keys() -> None:
    """The keys, without their secrets."""

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.gateway.keys import KeyRing

        for record in await KeyRing(redis).list():
            ends = f"until {local_time(record.expires_ms)}" if record.expires_ms else "no end"
            revoked = "  revoked" if record.revoked_ms else ""
            made = local_time(record.created_ms)
            click.echo(
                f"{record.id}  {record.role.value:<10} {record.office:<12} made {made}  {ends}{revoked}"
            )

    with_redis(work)


@command.command()
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """Make a key useless, on all gateways, within a second."""

    async def work(settings: Settings, redis: Redis) -> bool:
        from antrean.gateway.keys import KeyRing

        return await KeyRing(redis).revoke(key_id)

    if not with_redis(work):
        raise click.ClickException(f"There is no key {key_id}. `antrean keys list` shows them.")
    click.echo(f"{key_id} is revoked")
