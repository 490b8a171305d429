"""`antrean orders`: look an order up, list them, put one back that waits for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from antrean.cli._output import counted
from antrean.cli._redis import actor, compared, existing_order, local_time, with_redis
from antrean.cli._types import Office, Reason

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from antrean.config.settings import Settings
    from antrean.orders.model import Order


@click.group()
def command() -> None:
    """Look at orders, and put back those that wait for a person."""


@command.command("list")
@click.option("--state", help="Only orders in this state.")
@click.option("--office", type=Office(), help="Only orders of this office.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True)
def list_orders(state: str | None, office: str | None, limit: int) -> None:
    """The newest orders."""
    from antrean.orders.states import State

    if state is not None and state not in list(State):
        raise click.ClickException(f"There is no state {state!r}. States: {', '.join(State)}.")

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.config.store import build_store
        from antrean.orders.listing import Filter, page

        wanted = Filter(state=State(state) if state else None, office=office)
        archive = build_store(settings, redis).archive
        found: list[Order] = []
        cursor: int | None = None
        while len(found) < limit:
            shown = await page(redis, wanted, cursor, limit - len(found), archive)
            found += shown.orders
            # A page may be short, or empty, and others follow it.
            if (cursor := shown.next_cursor) is None:
                break
        for order in found:
            error = f"  {order.error.code}: {order.error.message}" if order.error else ""
            where = f"{order.id}  {local_time(order.created_ms)}  {order.office:<10} {order.kind:<8}"
            click.echo(f"{where} {order.state.value:<9} {order.serial_number or '':<24}{error}")

    with_redis(work)


@command.command()
@click.argument("order_id")
def show(order_id: str) -> None:
    """One order with its history."""

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.config.store import build_store

        order = await existing_order(build_store(settings, redis), order_id)
        rows = {
            "order": order.id,
            "office": order.office,
            "kind": order.kind,
            "state": order.state.value,
            "ticket": str(order.ticket_number),
            "serial number": order.serial_number or "-",
            "upstream calls": str(order.calls),
            "deadline": local_time(order.deadline_ms) if order.deadline_ms else "-",
            "reference": order.reference or "-",
        }
        if order.error:
            rows["error"] = f"{order.error.code}: {order.error.message}"
        for name, value in rows.items():
            click.echo(f"{name:<15} {value}")
        for entry in order.history:
            click.echo(f"  {local_time(entry.at_ms)}  {entry.state.value:<9} {entry.note}")

    with_redis(work)


@command.command()
@click.argument("order_id")
@click.option(
    "--reason",
    type=Reason(),
    default="put back by ops",
    show_default=True,
    help="Why; kept in the order's history.",
)
@click.option(
    "--decision",
    type=click.Choice(["auto", "ask", "not_bought", "new_serial"]),
    default="auto",
    show_default=True,
    help="ask: the upstream once more; not_bought: you made sure that nothing was bought; new_serial: from the pool.",
)
def replay(order_id: str, reason: str, decision: str) -> None:
    """Put back an order that waits for a person."""

    async def work(settings: Settings, redis: Redis) -> None:
        from antrean.config.store import build_store
        from antrean.orders.model import IllegalMove, SubmitRefused

        store = build_store(settings, redis)
        await existing_order(store, order_id)
        try:
            state = await store.replay(order_id, decision, f"{actor()}: {reason}")
        except (IllegalMove, SubmitRefused) as error:
            raise click.ClickException(f"{order_id}: {error}") from error
        click.echo(f"{order_id} is {state.value}")

    with_redis(work)


@command.command()
def check() -> None:
    """Is every order that was ever accepted still to be had? Reads the whole archive.

    Exit code 1 where one is gone; 4 where Redis or the archive can not be read.
    """

    async def work(settings: Settings, redis: Redis) -> int:
        from antrean.config.store import build_store
        from antrean.orders.completeness import find_gaps

        found = await find_gaps(build_store(settings, redis))
        for damage in found.damaged:
            click.echo(f"{damage}. Restore it from a copy")
        for gap in found.gaps:
            click.echo(
                f"number {gap.first} to {gap.last}: {counted(gap.orders, 'order is', 'orders are')} "
                "neither in Redis nor in the archive"
            )
        gone = sum(gap.orders for gap in found.gaps)
        click.echo(
            f"{counted(found.accepted, 'order', 'orders')} accepted, {f'{gone:,} gone' if gone else 'none is gone'}"
        )
        return gone + len(found.damaged)

    if compared(work):
        raise SystemExit(1)
