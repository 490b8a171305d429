"""Bars and curves of what was measured, as SVG that follows the reader's light or dark setting. Loads nothing."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH = 820
_STYLE = """
svg{font:12px system-ui,sans-serif}
.bg{fill:#fff}.t{fill:#1f2933}.m{fill:#52606d}.grid{stroke:#d9e2ec}.axis{stroke:#7b8794}
.ours{fill:#0967d2}.other{fill:#9fb3c8}.l{fill:none;stroke-width:2}
.l0{stroke:#0967d2}.l1{stroke:#b44d12}.l2{stroke:#6b46a8}.l3{stroke:#2f8132}
@media (prefers-color-scheme:dark){
.bg{fill:#12181f}.t{fill:#e4e7eb}.m{fill:#9aa5b1}.grid{stroke:#2b3742}.axis{stroke:#616e7c}
.ours{fill:#62b0ff}.other{fill:#486581}
.l0{stroke:#62b0ff}.l1{stroke:#f0a35e}.l2{stroke:#c3a6ff}.l3{stroke:#7bc47f}}
"""


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar; `ours` is drawn in the colour of Antrean."""

    label: str
    value: float
    ours: bool = False


def bars(title: str, rows: Sequence[Bar]) -> str:
    """One bar a row, from nought to the greatest."""
    left, right, top, step = 250, 80, 44, 24
    most = max((row.value for row in rows), default=0) or 1
    parts = []
    for number, row in enumerate(rows):
        y = top + number * step
        width = (WIDTH - left - right) * row.value / most
        parts += [
            f'<text class="t" x="{left - 8}" y="{y + 13}" text-anchor="end">{html.escape(row.label)}</text>',
            f'<rect class="{"ours" if row.ours else "other"}" x="{left}" y="{y}" width="{width:.1f}" height="17"/>',
            f'<text class="m" x="{left + width + 6:.1f}" y="{y + 13}">{_short(row.value)}</text>',
        ]
    return _svg(title, top + len(rows) * step + 8, parts)


def curves(title: str, unit: str, lines: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Lines over a logarithmic axis of counts; every point is written out."""
    left, right, top, height = 64, 24, 64, 200
    points = [point for line in lines.values() for point in line]
    low, high = math.log10(min(x for x, _ in points)), math.log10(max(x for x, _ in points))
    most = max(y for _, y in points) * 1.1 or 1

    def at(x: float, y: float) -> tuple[float, float]:
        share = (math.log10(x) - low) / (high - low) if high > low else 0.5
        return left + (WIDTH - left - right) * share, top + height * (1 - y / most)

    base = top + height
    parts = [f'<line class="axis" x1="{left}" x2="{WIDTH - right}" y1="{base}" y2="{base}"/>']
    for part in (0, 0.5, 1):
        y = at(10**low, most * part)[1]
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text class="m" x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(most * part)}</text>'
        )
    for x in sorted({x for x, _ in points}):
        anchor = "start" if math.log10(x) == low else "end" if math.log10(x) == high else "middle"
        parts.append(
            f'<text class="m" x="{at(x, 0)[0]:.1f}" y="{base + 18}" text-anchor="{anchor}">{x:,.0f}</text>'
        )
    key_x = float(left)
    for number, (label, line) in enumerate(lines.items()):
        path = " ".join("{:.1f},{:.1f}".format(*at(x, y)) for x, y in line)
        parts.append(f'<polyline class="l l{number % 4}" points="{path}"/>')
        parts.append(f'<line class="l l{number % 4}" x1="{key_x}" x2="{key_x + 22}" y1="44" y2="44"/>')
        parts.append(f'<text class="t" x="{key_x + 28}" y="48">{html.escape(label)}</text>')
        key_x += 50 + 7 * len(label)
    return _svg(f"{title} ({unit})", base + 30, parts)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    shown = html.escape(title)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{shown}">'
        f'<style>{_STYLE}</style><rect class="bg" width="{WIDTH}" height="{height:.0f}"/>'
        f'<text class="t" x="16" y="22" font-weight="600">{shown}</text>' + "".join(parts) + "</svg>\n"
    )
