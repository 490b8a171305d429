"""One picture of a replay, as SVG: what came, how the upstream was, what waited, what was done.

Readable in light and dark: the colours follow the reader's own setting (`prefers-color-scheme`).
Nothing is loaded from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from benchmarks.replay.outcome import Outcome, Sample
from benchmarks.replay.report import TITLES

WIDTH, LEFT, RIGHT = 960, 64, 16
_STYLE = """
svg{font:12px system-ui,sans-serif}
.bg{fill:#fff}.t{fill:#1f2933}.m{fill:#52606d}.grid{stroke:#d9e2ec}.axis{stroke:#7b8794}
.up{fill:#a7d8b3}.half{fill:#f5d48a}.down{fill:#e59a92}
.closed{fill:#a7d8b3}.half_open{fill:#f5d48a}.open{fill:#e59a92}
.arr{fill:#9fb3c8}.wait{fill:#bcccdc}.held{fill:#e8a598}
.l{fill:none;stroke-width:2}.antrean{stroke:#0967d2}.by_hand{stroke:#b44d12}.plain{stroke:#6b46a8}
.come{stroke:#52606d;stroke-dasharray:4 3}.kill{stroke:#ba2525;stroke-width:1.5}
@media (prefers-color-scheme:dark){
.bg{fill:#12181f}.t{fill:#e4e7eb}.m{fill:#9aa5b1}.grid{stroke:#2b3742}.axis{stroke:#616e7c}
.up,.closed{fill:#2f6b43}.half,.half_open{fill:#8a6d1f}.down,.open{fill:#8f3a33}
.arr{fill:#486581}.wait{fill:#334e68}.held{fill:#8a4a41}
.antrean{stroke:#62b0ff}.by_hand{stroke:#f0a35e}.plain{stroke:#c3a6ff}.come{stroke:#9aa5b1}.kill{stroke:#ff8080}}
"""


class _Panel:
    """A rectangle with a scale in both directions."""

    def __init__(self, top: float, height: float, end_s: float, value_max: float) -> None:
        self.top, self.height, self.end_s, self.value_max = top, height, end_s, max(value_max, 1)

    def x(self, at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(at_s, 0.0), self.end_s) / self.end_s

    def y(self, value: float) -> float:
        return self.top + self.height * (1 - min(value, self.value_max) / self.value_max)

    def line(self, points: Sequence[tuple[float, float]], style: str) -> str:
        path = " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in points)
        return f'<polyline class="l {style}" points="{path}"/>'

    def area(self, points: Sequence[tuple[float, float]], style: str) -> str:
        path = " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in points)
        base = self.top + self.height
        first, last = self.x(points[0][0]), self.x(points[-1][0])
        return f'<polygon class="{style}" points="{first:.1f},{base:.1f} {path} {last:.1f},{base:.1f}"/>'

    def frame(self, title: str) -> list[str]:
        base, middle = self.top + self.height, self.y(self.value_max / 2)
        return [
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{middle:.1f}" y2="{middle:.1f}"/>',
            f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{base:.1f}" y2="{base:.1f}"/>',
            f'<text class="t" x="{LEFT}" y="{self.top - 6:.1f}">{title}</text>',
            *(
                f'<text class="m" x="{LEFT - 6}" y="{self.y(value) + 4:.1f}" text-anchor="end">{value:,.0f}</text>'
                for value in (0, self.value_max / 2, self.value_max)
            ),
        ]


def _band(panel: _Panel, title: str, spans: Sequence[tuple[float, float, str]]) -> list[str]:
    bars = [
        f'<rect class="{style}" x="{panel.x(start):.1f}" y="{panel.top}" height="{panel.height}" '
        f'width="{max(panel.x(end) - panel.x(start), 0.5):.1f}"/>'
        for start, end, style in spans
    ]
    return [*bars, f'<text class="t" x="{LEFT}" y="{panel.top - 4:.1f}">{title}</text>']


def _spans(changes: Sequence[tuple[float, str]], end_s: float) -> list[tuple[float, float, str]]:
    ends = [start for start, _ in changes[1:]] + [end_s]
    return [(start, end, style) for (start, style), end in zip(changes, ends, strict=True)]


def _series(samples: Sequence[Sample], value: Callable[[Sample], float]) -> list[tuple[float, float]]:
    return [(sample.at_s, value(sample)) for sample in samples] or [(0.0, 0.0)]


def draw(outcomes: Sequence[Outcome]) -> str:
    """The picture; the first outcome is Antrean's."""
    ours = outcomes[0]
    end_s = max(outcome.end_s for outcome in outcomes)
    step_s = max(end_s / 120, 0.5)
    bins = [0] * (int(end_s / step_s) + 1)
    for order in ours.orders:
        bins[int(order.arrived_s / step_s)] += 1
    rate = [(n * step_s, count / step_s) for n, count in enumerate(bins)]
    total = len(ours.orders)
    health = _Panel(40, 16, end_s, 1)
    breaker = _Panel(80, 16, end_s, 1)
    arrivals = _Panel(124, 80, end_s, max(value for _, value in rate))
    waiting = _Panel(236, 120, end_s, max(s.waiting for s in ours.samples))
    done = _Panel(388, 150, end_s, total)
    come = [(o.arrived_s, n) for n, o in enumerate(sorted(ours.orders, key=lambda o: o.arrived_s), 1)][
        :: max(1, total // 300)
    ]
    come.append((end_s, total))
    parts = [
        *_band(health, "upstream: up, half, down", _spans([(at, h) for at, _, h in ours.phases], end_s)),
        *_band(breaker, "Antrean's breaker: closed, half open, open",
               _spans([(s.at_s, s.breaker) for s in ours.samples], ours.end_s)),
        arrivals.area(rate, "arr"), *arrivals.frame("arrivals a second"),
        waiting.area(_series(ours.samples, lambda s: s.waiting), "wait"),
        waiting.area(_series(ours.samples, lambda s: s.held), "held"),
        *waiting.frame("Antrean: orders waiting; red: held by an outage; lines: killed with SIGKILL"),
        *(f'<line class="kill" x1="{waiting.x(at):.1f}" x2="{waiting.x(at):.1f}" y1="{waiting.top}" '
          f'y2="{waiting.top + waiting.height}"><title>{what} killed</title></line>'
          f'<text class="m" x="{waiting.x(at) + 3:.1f}" y="{waiting.top + 10 + 13 * (n % 3)}">{what}</text>'
          for n, (at, what) in enumerate(ours.kills)),
        done.line(come, "come"), *(done.line(_series(o.samples, lambda s: s.done), o.name) for o in outcomes),
        *done.frame("orders done"),
    ]  # fmt: skip
    seconds = [end_s * n / 6 for n in range(7)]
    base = done.top + done.height
    parts += [
        f'<text class="m" x="{done.x(at):.1f}" y="{base + 16:.1f}" text-anchor="middle">{at:.0f} s</text>'
        for at in seconds
    ]
    x = float(LEFT)
    for style, title in (("come", "came"), *((o.name, TITLES[o.name]) for o in outcomes)):
        parts.append(f'<line class="l {style}" x1="{x}" x2="{x + 26}" y1="{base + 34}" y2="{base + 34}"/>')
        parts.append(f'<text class="t" x="{x + 32}" y="{base + 38}">{title}</text>')
        x += 60 + 7 * len(title)
    height = base + 52
    label = "September 2024 again: arrivals, upstream, waiting and done"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">'
        f'<style>{_STYLE}</style><rect class="bg" width="{WIDTH}" height="{height:.0f}"/>'
        f'<text class="t" x="{LEFT}" y="18" font-weight="600">Three days of September 2024 in {ours.span_s:.0f} s: '
        f"{total:,} orders, 40 offices</text>" + "".join(parts) + "</svg>\n"
    )
