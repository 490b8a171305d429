"""Asking Redis: what it or the way to it does wrong becomes one error."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from redis.exceptions import RedisError

from antrean.orders.model import StoreUnavailable


async def asked(question: Awaitable[Any]) -> Any:
    """The answer, or StoreUnavailable in place of anything that Redis or the way to it did."""
    try:
        return await question
    except (RedisError, OSError, TimeoutError) as error:
        raise StoreUnavailable(f"Redis does not answer: {type(error).__name__}") from error
