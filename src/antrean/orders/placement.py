"""Where on which page a stamp may stand. Pure.

Pages are kept as runs of equal boxes: a document of 1,000 equal pages is one run. A box is what is seen of a
page (its CropBox inside its MediaBox) in the page's own unrotated coordinates, those that the signing adapter
takes, so it need not begin at 0,0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from antrean.orders.model import Placement


@dataclass(frozen=True, slots=True)
class PageRun:
    """`count` pages, one after the other, whose box in PDF points is from (x0, y0) to (x1, y1)."""

    count: int
    x0: float
    y0: float
    x1: float
    y1: float


@dataclass(frozen=True, slots=True)
class Fault:
    """A field that breaks a rule, by the field's name and the rule's, with words for a person."""

    field: str
    rule: str
    message: str


def box_of(runs: Sequence[PageRun], page: int) -> tuple[float, float, float, float] | None:
    """The box of a page (from 1); None where the document has no such page."""
    run = _run_of(runs, page)
    return None if run is None else (run.x0, run.y0, run.x1, run.y1)


def faults(runs: Sequence[PageRun], at: Placement) -> list[Fault]:
    """What is wrong with this placement in this document; empty where it fits."""
    run = _run_of(runs, at.page)
    if run is None:
        pages = sum(run.count for run in runs)
        return [Fault("placement.page", "page-outside-document", f"The document has {pages} page(s).")]
    found = []
    if at.x < run.x0 or at.x + at.width > run.x1:
        found.append(_outside("placement.x", "width", run.x0, run.x1))
    if at.y < run.y0 or at.y + at.height > run.y1:
        found.append(_outside("placement.y", "height", run.y0, run.y1))
    return found


def _run_of(runs: Sequence[PageRun], page: int) -> PageRun | None:
    seen = 0
    for run in runs:
        seen += run.count
        if 1 <= page <= seen:
            return run
    return None


def _outside(field: str, side: str, low: float, high: float) -> Fault:
    axis = field[-1]
    return Fault(
        field,
        "box-outside-page",
        f"The box must lie inside the page: {axis} and {axis} + {side} from {low:g} to {high:g} points.",
    )
