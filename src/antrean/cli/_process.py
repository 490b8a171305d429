"""What the commands that run a process share: settings with readable errors, logging, the word that it is ready."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from antrean.config.settings import Settings

#: Exit code for a setting that is wrong.
EXIT_SETTINGS = 2
#: Exit code for data that a later release wrote: starting again does not help.
EXIT_LAYOUT = 3

ready_fd_option = click.option(
    "--ready-fd", type=int, hidden=True, help="Where to tell `up` that it is ready."
)

redis_wait_option = click.option(
    "--redis-wait-s", type=float, default=0.0, hidden=True, help="How long Redis may take to answer at first."
)


class SettingsError(click.ClickException):
    """A setting that breaks its rule. Shown without a traceback and without the value, which may be secret."""

    exit_code = EXIT_SETTINGS


class TooOld(click.ClickException):
    """This release does not know the layout of the data."""

    exit_code = EXIT_LAYOUT


@contextmanager
def ending_plainly() -> Iterator[None]:
    """What keeps a process from its work becomes one line that says what to do. Raises click.ClickException."""
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import RedisError
    from redis.exceptions import TimeoutError as RedisTimeoutError

    from antrean.config.personal_keys import WrongRing
    from antrean.orders.layout import NewerLayout
    from antrean.orders.model import StoreUnavailable

    try:
        yield
    except NewerLayout as error:
        raise TooOld(str(error)) from error
    except (WrongRing, TimeoutError) as error:
        raise click.ClickException(str(error)) from error
    except (StoreUnavailable, RedisError) as error:
        cause = error.__cause__ if isinstance(error, StoreUnavailable) else error
        if not isinstance(cause, (RedisConnectionError, RedisTimeoutError, OSError)):
            raise  # it answered, and what it said is for whoever mends the program
        raise click.ClickException(
            f"{error}. Does Redis run, and is ANTREAN_REDIS_URL its address? `antrean doctor` says more."
        ) from error


def read_settings() -> Settings:
    """The settings. Raises SettingsError naming each variable at fault and the rule it breaks."""
    from pydantic import ValidationError

    from antrean.config.settings import load_settings

    try:
        return load_settings()
    except ValidationError as error:
        lines = [
            # Pydantic puts its own word before what our rules say.
            f"ANTREAN_{'_'.join(map(str, fault['loc'])).upper()}: {fault['msg'].removeprefix('Value error, ')}"
            for fault in error.errors(include_url=False, include_input=False, include_context=False)
        ]
        raise SettingsError("\n".join(lines)) from error
    except UnicodeDecodeError:
        raise SettingsError("The file .env is not UTF-8: write it so, or take it away.") from None
    except OSError as error:
        raise SettingsError(f"The file .env can not be read: {error.strerror}.") from error


def start_process(*, say_passed_over: bool = True) -> Settings:
    """Settings read and logging set up. Raises SettingsError.

    `say_passed_over`: warn of settings that are set and not read. A child of `up` leaves it to `up`.
    """
    import logging

    from antrean.config.logs import configure_logging

    # What it says of a line that it can not read, `passed_over` says with the name.
    logging.getLogger("dotenv.main").setLevel(logging.ERROR)
    settings = read_settings()
    try:
        configure_logging(settings.log_level, settings.log_format)
    except ValueError as error:
        raise SettingsError(f"ANTREAN_LOG_LEVEL or ANTREAN_LOG_FORMAT: {error}") from error
    if say_passed_over and click.get_current_context().params.get("ready_fd") is None:
        import structlog

        from antrean.config.setting_names import passed_over

        log = structlog.get_logger(__name__)
        for line in passed_over():
            log.warning(line)
    return settings


def announcer(ready_fd: int | None) -> Callable[[], None]:
    """What a process calls, once, when it can do its work."""

    def announce() -> None:
        if ready_fd is not None:
            from antrean.config.supervisor import READY_LINE

            os.write(ready_fd, READY_LINE)
            os.close(ready_fd)

    return announce
