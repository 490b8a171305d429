"""The `antrean` command. A file in this folder is a command: its module-level `command`, named as the file.

Files whose names begin with `_` are no commands. A command's module imports only click at the top and the rest
when it runs, so that `antrean --help` stays quick.
"""

from __future__ import annotations

import errno
import importlib
import pkgutil
import sys
from typing import Any

import click

from antrean import __version__


class CommandFolder(click.Group):
    """Finds commands by file name and imports a file only when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        command = importlib.import_module(f"{__name__}.{cmd_name}").command
        if not isinstance(command, click.Command):
            raise TypeError(f"{__name__}.{cmd_name}.command is no click command")
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            if message := _fault(error):
                raise click.ClickException(message) from error
            raise


def _fault(error: Exception) -> str | None:
    """A line for the terminal where the fault is a store's, so that nobody has to read a traceback for it."""
    if "antrean.orders.documents" in sys.modules:
        from antrean.orders.documents import DocumentStoreUnavailable

        if isinstance(error, DocumentStoreUnavailable):
            from antrean.cli._redis import not_stored

            return not_stored(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "There is no space left to write to."
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        return f"{error.strerror}. Stop what listens there, or set ANTREAN_HTTP_PORT to another port."
    if "redis" not in sys.modules:
        return None
    import redis.exceptions as faults

    if isinstance(error.__cause__, faults.RedisError):
        error = error.__cause__  # as a store that can not be worked with says it
    if isinstance(error, faults.ConnectionError | faults.TimeoutError):
        return f"Redis does not answer ({error}). Is `antrean up` running with the same settings?"
    if isinstance(error, faults.RedisError):
        from antrean.cli._redis import refused

        return refused(error)
    return None


@click.group(cls=CommandFolder, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="antrean")
def main() -> None:
    """A durable queue between stamp counters and the e-meterai server."""
