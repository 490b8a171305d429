"""Asking Redis: what it or the way to it does wrong becomes one error."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from antrean.orders import layout
from antrean.orders.model import StoreUnavailable


async def asked(question: Awaitable[Any]) -> Any:
    """The answer, NewerLayout, or StoreUnavailable in place of anything that Redis or the way to it did."""
    try:
        return await question
    except (RedisError, OSError, TimeoutError) as error:
        if isinstance(error, ResponseError) and (newer := layout.refusal(error)):
            raise newer from None
        does = "refuses" if isinstance(error, ResponseError) else "does not answer"
        raise StoreUnavailable(f"Redis {does}: {type(error).__name__}") from error
