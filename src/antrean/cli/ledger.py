"""`antrean ledger`: the totals, the entries as CSV, the comparison with the upstream, a refund."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antrean.cli._output import counted
from antrean.cli._redis import NOT_COMPARED, NotCompared, actor, compared, existing_order, with_redis
from antrean.cli._types import Day, Office, Reason

if TYPE_CHECKING:
    from datetime import datetime

    from redis.asyncio import Redis

    from antrean.config.settings import Settings


@click.group(invoke_without_command=True)
@click.option(
    "--until",
    type=Day(),
    help="Last of the days shown, YYYY-MM-DD; today if not given. A month up to it is shown.",
)
@click.pass_context
def command(context: click.Context, until: datetime | None) -> None:
    """Show where every rupiah is: paid = stamped + bought_unused + refunded + held."""
    if context.invoked_subcommand is None:
        _totals(until)


def _totals(until: datetime | None) -> None:
    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.config.store import build_store
        from antrean.orders.books import PAID, PARTS, difference_idr
        from antrean.orders.ledger import Ledger

        ledger = Ledger(build_store(settings, redis))
        totals = await ledger.totals()
        for account in (PAID, *PARTS):
            click.echo(f"{account:<14} Rp {totals[account]:>15,}")
        click.echo(f"{'difference':<14} Rp {difference_idr(totals):>15,}")
        days = await ledger.days(until.date() if until else None)
        if days:
            click.echo("changes by day (Jakarta) and office")
        for day in days:
            amounts = "  ".join(f"{a} {day.totals_idr[a]:,}" for a in (PAID, *PARTS))
            click.echo(f"{day.day}  {day.office:<12} {amounts}")

    with_redis(work)


@command.command()
@click.option("--office", type=Office(), help="Only this office's entries.")
@click.option("--from", "first", type=Day(), help="The first day wanted (Jakarta), YYYY-MM-DD.")
@click.option("--to", "last", type=Day(), help="The last day wanted.")
@click.option(
    "--separator",
    type=click.Choice(["comma", "semicolon"]),
    default="comma",
    help="Excel with the settings of Indonesia needs the semicolon.",
)
def csv(office: str | None, first: datetime | None, last: datetime | None, separator: str) -> None:
    """Entries as CSV, safe to open in a spreadsheet: all of them, one office's, or those of some days."""
    if first and last and last < first:
        raise click.BadParameter("it is before --from.", param_hint="'--to'")

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.config.store import build_store
        from antrean.orders.books import Selection
        from antrean.orders.ledger import Ledger
        from antrean.orders.ledger_csv import Separator, header, lines

        wanted = Selection(office, first.date() if first else None, last.date() if last else None)
        between = Separator(separator)
        click.echo(header(between), nl=False)
        async for page in Ledger(build_store(settings, redis)).pages(wanted.first):
            click.echo(lines(page, wanted, between), nl=False)

    with_redis(work)


@command.command()
def check() -> None:
    """Read the whole book: do its entries give the totals, and no order more than it paid? Exit code 1 where not; 4
    where the book can not be read, as with Redis away.

    Work may go on meanwhile. Takes some 0.4 kB of memory for each order that is held or whose SN is not used, and
    0.1 kB for each other SN.
    """

    async def work(settings: Settings, redis: Redis) -> int:
        from antrean.config.store import build_store
        from antrean.orders.ledger_check import check_ledger

        found = await check_ledger(build_store(settings, redis))
        for fault in found.faults:
            click.echo(f"{fault.where}  {fault.what}")
        if found.untold:
            click.echo(f"… and {found.untold:,} more")
        faults = len(found.faults) + found.untold
        told = counted(faults, "fault", "faults") if faults else "no fault"
        click.echo(f"{counted(found.entries, 'entry', 'entries')}, {told}")
        return faults

    if compared(work):
        raise SystemExit(1)


@command.command()
def reconcile() -> None:
    """Compare our books with the account's list upstream.

    Exit code 1 where they differ; 4 where the upstream or Redis can not be asked, or the list has no end and what was
    read of it does not differ.
    """

    async def work(settings: Settings, redis: Redis) -> int:
        from antrean.config.launch import with_upstream
        from antrean.config.store import build_store
        from antrean.config.upstream import build_adapter, build_breakers, build_provider
        from antrean.orders.reconcile import reconcile
        from antrean.provider.errors import ProviderError

        settings = with_upstream(settings)
        provider = build_provider(settings, build_adapter(settings, redis), build_breakers(settings, redis))
        try:
            found = await reconcile(build_store(settings, redis), provider)
        except ProviderError as error:
            raise NotCompared(f"The upstream cannot be asked: {error.message}") from error
        finally:
            await provider.aclose()
        for difference in found.differences:
            click.echo(f"{difference.serial_number}  {difference.order_id or '-'}  {difference.what}")
        if found.others:
            click.echo(
                f"{counted(found.others, 'serial number', 'serial numbers')} on the account's list "
                f"{'was' if found.others == 1 else 'were'} bought by others, not by us"
            )
        if not found.complete:
            click.echo("The list is too long to be read to its end: nothing is said of what it does not show")
        click.echo(counted(len(found.differences), "difference", "differences"))
        if ours := found.ours:
            click.echo(
                f"Of our serial numbers on the list {ours.stamped:,} are stamped, {ours.unused:,} with a citizen, "
                f"{ours.pooled:,} in the pool, {ours.written_off:,} written off (refunded or replaced)"
            )
        else:
            click.echo(
                "A part of the ledger is lost, so ours on the list are not counted: `antrean ledger check`"
            )
        return 1 if found.differences else 0 if found.complete else NOT_COMPARED

    if code := compared(work):
        raise SystemExit(code)


@command.command()
@click.argument("order_id")
@click.option("--reason", required=True, type=Reason(), help="Why; kept in the ledger.")
def refund(order_id: str, reason: str) -> None:
    """Record that a citizen's money was given back."""

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.config.store import build_store
        from antrean.orders.ledger import Ledger
        from antrean.orders.model import IllegalMove

        store = build_store(settings, redis)
        await existing_order(store, order_id)
        try:
            account = await Ledger(store).refund(order_id, f"{actor()}: {reason}")
        except IllegalMove as error:
            raise click.ClickException(f"{order_id}: {error}") from error
        click.echo(f"Rp 10,000 went from {account} to refunded")

    with_redis(work)
