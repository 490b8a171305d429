"""What the commands that work beside a running `up` share: settings, a connection, one event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

import click

from antrean.cli._process import TooOld, read_settings

if TYPE_CHECKING:
    from datetime import datetime

    from redis.asyncio import Redis

    from antrean.config.settings import Settings
    from antrean.orders.model import Order
    from antrean.orders.store import OrderStore

T = TypeVar("T")

#: Exit code of a comparison that could not be made, or not to the end.
NOT_COMPARED = 4


class NotCompared(click.ClickException):
    """A comparison could not be made: exit code 1 would say that something is wrong."""

    exit_code = NOT_COMPARED


def with_redis(work: Callable[[Settings, Redis], Awaitable[T]]) -> T:
    """Run `work` with a connection that is closed afterwards. Raises click.ClickException where Redis is away."""
    import asyncio

    from redis.exceptions import ResponseError

    from antrean.config.redis_client import connect
    from antrean.orders.archive import ArchiveDamaged
    from antrean.orders.layout import NewerLayout, require_known_layout
    from antrean.orders.model import StoreUnavailable

    settings = read_settings()

    async def main() -> T:
        redis = connect(settings.effective_redis_url, settings)
        try:
            await require_known_layout(redis)
            return await work(settings, redis)
        finally:
            await redis.aclose()

    try:
        return asyncio.run(main())
    except NewerLayout as error:
        raise TooOld(str(error)) from error
    except ArchiveDamaged as error:
        raise click.ClickException(f"{error}. Restore it from a copy.") from error
    except StoreUnavailable as error:
        if isinstance(error.__cause__, ResponseError):
            raise  # it answered; `main` tells what
        raise click.ClickException(
            f"{error}. Is `antrean up` running with the same settings (ANTREAN_DATA_DIR, ANTREAN_REDIS_URL)?"
        ) from error


def compared(work: Callable[[Settings, Redis], Awaitable[T]]) -> T:
    """As `with_redis`, for a command that ends with 1 where it has found something. Raises NotCompared where it can not
    look: an outage is no finding."""
    from antrean.orders.documents import DocumentStoreUnavailable
    from antrean.orders.model import StoreUnavailable

    try:
        return with_redis(work)
    except DocumentStoreUnavailable as error:
        raise NotCompared(not_stored(error)) from error
    except click.ClickException as error:
        if error.exit_code != 1:
            raise
        raise NotCompared(error.message) from error
    except StoreUnavailable as error:
        raise NotCompared(refused(error.__cause__)) from error


def not_stored(why: object) -> str:
    """A line of what is wrong with the document store."""
    return f"The document store: {why}. `antrean doctor` says more."


def refused(why: object) -> str:
    """A line of what Redis itself said, which may end in a full stop or not."""
    return f"Redis refused: {str(why).removesuffix('.')}. `antrean doctor` says more."


def actor() -> str:
    """Who sits at the terminal, as far as the system knows: kept with every decision."""
    import getpass

    try:
        return f"cli:{getpass.getuser()}"
    except OSError:
        return "cli"


def shown_time(at: datetime) -> str:
    """A time for a person: the machine's own zone, with its name, since it may be compared with other machines'."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def local_time(ms: int | float) -> str:
    """The same of milliseconds. One beyond what a calendar holds is shown as its last day."""
    from antrean.orders.model import moment

    return shown_time(moment(ms))


async def existing_order(store: OrderStore, order_id: str) -> Order:
    """The order of that id. Raises click.ClickException where there is none."""
    order = await store.get(order_id)
    if order is None:
        raise click.ClickException(f"There is no order {order_id}.")
    return order
