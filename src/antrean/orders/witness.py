"""The balance as second witness: what the account's stamps say about purchases that our books do not name. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Baseline:
    """A balance (stamps) that our books explained: read at `at_ms`, when they named `bought` purchases."""

    balance: int
    bought: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Account:
    """Our books: the last explained balance, and the purchases named by now."""

    baseline: Baseline | None
    bought: int

    def unnamed(self, balance: int) -> int | None:
        """Stamps gone from the account that our books do not name; negative after a top-up, None without a base."""
        if self.baseline is None:
            return None
        return self.baseline.balance - balance - (self.bought - self.baseline.bought)


class Verdict(StrEnum):
    """What the balance says of unknown purchases that a consistent list does not show."""

    AGREES = "agrees"  # nothing is missing
    SILENT = "silent"  # there is no balance to go by, as after a top-up: the list alone counts
    LATER = "later"  # purchases on their way blur the picture
    CONTRADICTS = "contradicts"  # money left the account and nobody can say for what


def judge(unnamed: int | None, in_flight: int) -> Verdict:
    """`unnamed`: stamps gone without a name; `in_flight`: purchases that may be on their way just now."""
    if unnamed is None or unnamed < 0:
        return Verdict.SILENT
    if unnamed == 0:
        return Verdict.AGREES
    return Verdict.LATER if unnamed <= in_flight else Verdict.CONTRADICTS


def unexplained(stamps: int, strange: int) -> str:
    """What ops, who decide, are told of a drop. `strange`: SNs on the list of orders that are not in our books."""
    text = f"{stamps} stamps left the account that no order explains; purchases stop until ops decide"
    if strange:
        text += (
            f". {strange} serial numbers on the account's list are of orders that are not in these books: "
            "was a backup restored?"
        )
    return text
