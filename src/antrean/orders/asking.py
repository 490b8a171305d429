"""Asking Redis: whatever goes wrong there or on the way becomes one error."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from antrean.orders import layout
from antrean.orders.model import StoreUnavailable

#: The code that a server's refusal begins with.
_CODE = re.compile(r"[A-Z]+(?= )")


async def asked(question: Awaitable[Any]) -> Any:
    """The answer. Raises StoreUnavailable for whatever went wrong; NewerLayout where a later release wrote the data."""
    try:
        return await question
    except (RedisError, OSError, TimeoutError) as error:
        found = unavailable(error)
        raise found from found.__cause__


def unavailable(error: RedisError | OSError) -> StoreUnavailable:
    """The one error for what went wrong, which is its cause; a NewerLayout, which says it all, has none."""
    if not isinstance(error, ResponseError):
        found = StoreUnavailable(layout.unanswered(error))
    elif newer := layout.refusal(error):
        return newer
    else:
        found = StoreUnavailable(f"Redis refuses: {_code(error)}")
    found.__cause__ = error
    return found


async def asked_beside(question: Callable[[], Awaitable[Any]]) -> Any:
    """As `asked`, for a task of its own: where that is cancelled before its first step, nothing was asked yet, and no
    coroutine is left that nobody awaits."""
    return await asked(question())


def _code(error: ResponseError) -> str:
    """The server's code, such as NOREPLICAS or OOM. The rest of its text may repeat what was sent, so it is dropped."""
    # redis-py takes the codes that it knows out of the text.
    if error.status_code:
        return error.status_code
    found = _CODE.match(str(error))
    return found[0] if found else type(error).__name__
