"""Where each part of the upstream is at a simulator, and its account. By itself: `antrean up` needs no more of it."""

from __future__ import annotations

from typing import Final

#: The account that a simulator has where no other is given; it guards nothing.
SIMULATOR_USER: Final = "antrean"
SIMULATOR_PASSWORD: Final = "simulated"  # noqa: S105 - see above

_PREFIXES: Final = {
    "backend": "/backend",
    "stampv2": "/stampv2",
    "inventory": "/inventory",
    "adapter": "/adapter-host",
    "fileupload": "/fileupload",
    "stampservice": "/stampservice",
}


def base_urls(origin: str) -> dict[str, str]:
    """The upstream's base URLs of a simulator at `origin` (such as http://127.0.0.1:8081)."""
    return {name: origin.rstrip("/") + prefix for name, prefix in _PREFIXES.items()}
