"""What stands behind the `?` of a Redis URL: tried when settings are read, and not first in the middle of work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection
from redis.exceptions import RedisError

#: Options of a pool, which no connection takes.
_OF_POOLS = ("connection_class", "max_connections", "timeout")


def try_options(given: Mapping[str, Any]) -> None:
    """Make a connection of them and open none. Raises ValueError, without names or values: they may be a secret's."""
    kind = given.get("connection_class", Connection)
    try:
        made = kind(**{name: value for name, value in given.items() if name not in _OF_POOLS})
        if isinstance(made, SSLConnection):
            made.ssl_context.get()
    except OSError:  # an SSLError is one
        raise ValueError(
            "a file that one of its ssl_… options names can not be read, or is of another kind"
        ) from None
    except (TypeError, ValueError, RedisError):
        raise ValueError(
            "what stands behind its ? can not be read: an option has a name, or a value, that none can have there"
        ) from None
