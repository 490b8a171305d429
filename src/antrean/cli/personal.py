"""`antrean personal`: keys that personal data is encrypted with, erasure, and who looked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antrean.cli._output import counted
from antrean.cli._process import read_settings
from antrean.cli._redis import actor, existing_order, local_time, with_redis
from antrean.cli._types import Reason

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from antrean.config.settings import Settings


@click.group()
def command() -> None:
    """Personal data: its keys, its erasure, who looked at it."""


@command.command("new-key")
@click.option(
    "--install", is_flag=True, help="Put it first in the key file, where ANTREAN_PII_KEYS is not set."
)
def new_key(install: bool) -> None:
    """Make a key for ANTREAN_PII_KEYS; it is kept nowhere unless --install is given."""
    from antrean.config.personal_keys import WrongRing, changing_key_file, key_file
    from antrean.orders.vault import VaultKey

    key = VaultKey.new()
    if not install:
        click.echo(key.text)
        return
    settings = read_settings()
    if settings.pii_keys.get_secret_value():
        raise click.ClickException("ANTREAN_PII_KEYS is set: put the new key first there instead.")
    try:
        with changing_key_file(settings) as ring:
            ring.insert(0, key)
    except WrongRing as error:
        raise click.ClickException(str(error)) from error
    click.echo(
        f"{key.id} encrypts from the next start on. Restart `antrean up`, then `antrean personal reseal --retire`.\n"
        f"Copy {key_file(settings)} to a safe place before that: backups from before open with its older keys alone."
    )


@command.command()
@click.option(
    "--retire", is_flag=True, help="Forget all keys but the first: every process must use it by now."
)
def reseal(retire: bool) -> None:
    """Encrypt with the first key what another one has encrypted. Works beside a running gateway."""

    async def work(settings: Settings, redis: Redis) -> tuple[int, str, str]:
        from antrean.config import personal_keys
        from antrean.config.durability import check_durability, fails
        from antrean.config.store import build_store, confirm_on_disk
        from antrean.orders.lease import alone
        from antrean.orders.outbox import Outbox
        from antrean.orders.resealing import reseal_all

        vault = await personal_keys.open_vault(settings, redis)
        await personal_keys.require_sealing(vault, redis)
        store = build_store(settings, redis, vault=vault)
        outbox = Outbox(store.scripts, vault)
        async with alone(store.scripts, "reseal"):
            if retire:
                if bad := fails(await check_durability(redis, replicas_min=settings.redis_replicas_min)):
                    raise click.ClickException(f"{bad[0].check}: {bad[0].seen}. {bad[0].advice}")
                await personal_keys.others_are_silent(
                    vault, store.scripts, lambda text: click.echo(text, err=True)
                )
            changed = await reseal_all(store, outbox)
            if retire:
                retired = await personal_keys.retire_keys(vault, store.scripts)
                # What was written while the first walk was on its way; then nothing is left for the old keys.
                while again := await reseal_all(store, outbox):
                    changed += again
                # A primary that is lost now must not take with it what was sealed anew.
                await confirm_on_disk(redis, settings)
                if not settings.pii_keys.get_secret_value():
                    with personal_keys.changing_key_file(settings) as ring:
                        ring[:] = [key for key in ring if key.id not in retired]
        return changed, vault.primary, personal_keys.place_of(settings)

    from antrean.config.personal_keys import StillSealing, WrongRing
    from antrean.orders.vault import Unreadable

    try:
        changed, primary, place = with_redis(work)
    except (StillSealing, WrongRing, Unreadable) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{counted(changed, 'record is', 'records are')} sealed anew; all are sealed with {primary}")
    if retire:
        click.echo("no other key is needed any more, but for older backups:")
        click.echo(
            "keep the retired key apart for as long as a backup from before is kept; to restore one, put it second "
            f"in {place}"
        )


@command.command()
@click.argument("order_id")
@click.option(
    "--reason", required=True, type=Reason(), help="Why before its time; kept in the order's history."
)
def erase(order_id: str, reason: str) -> None:
    """Erase the personal data and documents of an order at its end."""

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.config.documents import build_documents
        from antrean.config.store import build_store
        from antrean.orders.erasure import Eraser
        from antrean.orders.model import IllegalMove

        store = build_store(settings, redis)
        await existing_order(store, order_id)
        try:
            note = f"personal data erased by {actor()}: {reason}"
            await Eraser(store, build_documents(settings, redis)).erase(order_id, note)
        except IllegalMove as error:
            raise click.ClickException(f"{order_id}: {error}") from error

    with_redis(work)
    click.echo(f"{order_id} is erased")


@command.command()
@click.argument("order_id")
def access(order_id: str) -> None:
    """Who looked at the personal data of an order, the latest first."""

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.config.store import build_store
        from antrean.orders import accesses

        order = await existing_order(build_store(settings, redis), order_id)
        for row in await accesses.read_of(redis, order):
            click.echo(f"{local_time(row.at_ms)}  {row.what:<9} {row.actor}")

    with_redis(work)
