"""What options of several commands hold."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import click

#: Longest reason that is kept, in characters: as over HTTP.
REASON_CHARS_MAX = 128


class BoundedFloat(click.FloatRange):
    """click's own lets a NaN through, which is neither below nor above."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number."""
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not in the range {self._describe_range()}.", param, ctx)
        return number


class Day(click.ParamType["datetime"]):
    """A day of the calendar."""

    name = "YYYY-MM-DD"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Its midnight."""
        try:
            return datetime.strptime(value, "%Y-%m-%d")  # noqa: DTZ007 - only its date is looked at
        except ValueError:
            self.fail(f"{value!r} is no day: write it as YYYY-MM-DD.", param, ctx)


class Office(click.ParamType[str]):
    """An office's name, as the API takes it."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The name."""
        from antrean.gateway.keys import OFFICE_FORM, OFFICE_RULE

        if not OFFICE_FORM.fullmatch(value):
            self.fail(f"an office is {OFFICE_RULE}.", param, ctx)
        return str(value)


class Reason(click.ParamType[str]):
    """Why somebody did it; whoever reads the books must be able to."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The text, without spaces around it."""
        from antrean.orders import masking

        text = str(value).strip()
        if not (0 < len(text) <= REASON_CHARS_MAX and text.isprintable()):
            self.fail(f"say why, in 1 to {REASON_CHARS_MAX} printable characters.", param, ctx)
        if masking.holds_identity_number(text):
            self.fail(f"it {masking.NO_IDENTITY_NUMBER}.", param, ctx)
        return text
