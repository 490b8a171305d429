"""Shapes of an answer in which integrations differ; which one is given can be switched while running."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Final

MODE_CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "generate_qr": ("image", "filenameQR"),
    "none_found": ("list", "string", "empty_data"),
    "qrimage": ("json", "bare"),
    "past_last_page": ("empty", "repeat"),
    "bad_token_http": ("200", "401"),
    "stamp_code": ("text", "number"),
}


@dataclass(slots=True)
class Modes:
    """The shapes in force."""

    generate_qr: str = "image"
    none_found: str = "list"
    qrimage: str = "json"
    past_last_page: str = "empty"
    bad_token_http: str = "200"  # noqa: S105 - an HTTP status
    stamp_code: str = "text"

    def update(self, given: dict[str, Any]) -> None:
        """Switch some. Raises ValueError and changes nothing where one is not known."""
        for name, value in given.items():
            if value not in MODE_CHOICES.get(name, ()):
                raise ValueError(f"modes: {', '.join(f'{n}: {c}' for n, c in MODE_CHOICES.items())}")
        for name, value in given.items():
            setattr(self, name, value)

    def reset(self) -> None:
        """The shapes seen most often."""
        for each in fields(self):
            setattr(self, each.name, each.default)

    def as_dict(self) -> dict[str, str]:
        """By name."""
        return asdict(self)
