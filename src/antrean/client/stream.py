"""Server-sent events (WHATWG HTML, 9.2), as far as the API uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

#: Bytes of one event: an order is a few kilobytes.
EVENT_CHARS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Event:
    """One event with its id, and the pause that the server asks for before the next connection, in ms."""

    id: str
    data: str
    retry_ms: int | None


async def events(lines: AsyncIterator[str]) -> AsyncIterator[Event]:
    """The events in a stream of lines; one that is cut off is left out. Raises ValueError for one beyond all bounds."""
    last_id, retry_ms = "", None
    data: list[str] = []
    size = 0
    async for line in lines:
        if not line:
            if data:
                yield Event(last_id, "\n".join(data), retry_ms)
            data, size = [], 0
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            data.append(value)
            size += len(value)
            if size > EVENT_CHARS_MAX:
                raise ValueError("an event is too large")
        elif name == "id":
            last_id = value
        elif name == "retry" and value.isascii() and value.isdigit():
            retry_ms = int(value)
