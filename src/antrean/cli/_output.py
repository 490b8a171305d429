"""How commands put things on the screen: numbers with their words, tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


def counted(number: float, one: str, many: str) -> str:
    """The number with the word for it: `1 order`, `1,000 orders`, `0.5 minutes`."""
    shown = f"{number:,}" if isinstance(number, int) else f"{number:,.6g}"
    return f"{shown} {one if number == 1 else many}"


def console() -> Console:
    """Where tables go. In a pipe no width is known; rows broken at 80 columns would be hard to search."""
    from rich.console import Console

    found = Console()
    return found if found.is_terminal else Console(width=200)
