"""What the gateway needs of rooms it does not know: the wiring passes the real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """Retries of upstream calls: how many may be made now (None before the first call), were made, and were refused."""

    left: float | None
    made: int
    refused: int


class BreakerView(Protocol):
    """A breaker as ops see it. Every method raises redis.exceptions.RedisError where the state can not be read."""

    async def status(self) -> Mapping[str, Any]:
        """The fields of API.md's breaker; `state` is the one in force; times are aware datetimes."""
        ...

    async def override(
        self, state: Literal["open", "closed"], reason: str, actor: str, expires_in_s: float
    ) -> None:
        """Force a state."""
        ...

    async def lift_override(self, actor: str, reason: str) -> bool:
        """End the override; False where there was none. With '' the history keeps why it was forced."""
        ...

    async def history(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The last changes, newest first."""
        ...

    async def retry_budget(self) -> RetryBudget:
        """The fleet's retries of this breaker's calls."""
        ...
