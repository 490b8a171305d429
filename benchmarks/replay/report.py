"""The report of a replay: one table for all contenders, and what only Antrean can be asked for."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.replay.best import Best, best_schedule, places
from benchmarks.replay.outcome import Outcome
from benchmarks.replay.script import OFFICES

TITLES = {
    "antrean": "Antrean",
    "by_hand": "no gateway: clerks retry",
    "plain": "RQ + pybreaker as they come",
}


@dataclass(frozen=True, slots=True)
class Waits:
    """Seconds from arrival to done, of the orders that were done."""

    p50_s: float
    p95_s: float
    max_s: float

    @classmethod
    def of(cls, waits: Sequence[float]) -> Waits:
        """Of at least one."""
        ordered = sorted(waits)
        return cls(
            ordered[len(ordered) // 2], ordered[min(len(ordered) - 1, len(ordered) * 95 // 100)], ordered[-1]
        )


def missed(outcome: Outcome) -> int:
    """Orders with a deadline that were done after it, or not at all."""
    return sum(
        order.due_s is not None and (order.done_s is None or order.done_s > order.due_s)
        for order in outcome.orders
    )


def best_of(outcome: Outcome) -> Best:
    """The best that was possible with these arrivals and this upstream."""
    return best_schedule(outcome.orders, places(outcome.phases, outcome.full_per_s, outcome.half_per_s))


def waits_of(outcome: Outcome) -> list[float]:
    """Seconds from arrival to done."""
    return [order.done_s - order.arrived_s for order in outcome.orders if order.done_s is not None]


def kept_promises(outcome: Outcome, *, at_acceptance: bool) -> tuple[int, int, int, int]:
    """How many ranges were shown; of these: done before, within, after."""
    shown = [p for p in outcome.promises if p.at_acceptance is at_acceptance]
    before = sum(p.done_s < p.earliest_s for p in shown)
    after = sum(p.done_s > p.latest_s for p in shown)
    return len(shown), before, len(shown) - before - after, after


def office_waits(outcome: Outcome) -> dict[str, Waits]:
    """Waits by office."""
    by_office: dict[str, list[float]] = defaultdict(list)
    for order in outcome.orders:
        if order.done_s is not None:
            by_office[order.office].append(order.done_s - order.arrived_s)
    return {office: Waits.of(waits) for office, waits in sorted(by_office.items())}


def _row(title: str, cells: Sequence[object]) -> str:
    return f"| {title} | " + " | ".join(f"{c:,}" if isinstance(c, int) else str(c) for c in cells) + " |"


def _seconds(value: float) -> str:
    return f"{value:.1f} s"


def _comparison(outcomes: Sequence[Outcome]) -> list[str]:
    lines = [
        "| | " + " | ".join(TITLES[o.name] for o in outcomes) + " |",
        "|---|" + "---:|" * len(outcomes),
        _row("orders", [len(o.orders) for o in outcomes]),
        _row("done", [o.counts["completed"] for o in outcomes]),
        _row("not done at the end", [len(o.orders) - o.counts["completed"] for o in outcomes]),
        _row("orders paid for twice or more", [o.counts["sold_twice"] for o in outcomes]),
        _row("stamps bought", [o.counts["sold"] for o in outcomes]),
        _row("paid, and nothing in hand", [o.counts.get("paid_not_delivered", 0) for o in outcomes]),
        _row("deadlines missed", [missed(o) for o in outcomes]),
        _row("… the best possible", [best_of(o).missed for o in outcomes]),
        _row("wait, middle order", [_seconds(Waits.of(waits_of(o)).p50_s) for o in outcomes]),
        _row("wait, 95 of 100", [_seconds(Waits.of(waits_of(o)).p95_s) for o in outcomes]),
        _row("last order done at", [_seconds(max(x.done_s or 0 for x in o.orders)) for o in outcomes]),
        _row("… the best possible", [_seconds(best_of(o).end_s) for o in outcomes]),
        _row("generate calls to a dead server", [o.counts["generate_in_outage"] for o in outcomes]),
        _row("all calls to a dead server", [o.counts["calls_in_outage"] for o in outcomes]),
    ]
    plain = next((o for o in outcomes if o.name == "plain"), None)
    if plain:
        lines += [
            "",
            f"Of the {len(plain.orders) - plain.counts['completed']:,} that the plain way did not finish, "
            f"{plain.counts['failed']:,} used up their tries and stand in RQ's failed list; "
            f"{plain.counts['vanished']:,} are in no list (gone with Valkey, or with a worker).",
        ]
    return lines


def _ours(outcome: Outcome) -> list[str]:
    best, waits, by_office = best_of(outcome), Waits.of(waits_of(outcome)), office_waits(outcome)
    least = Waits.of(best.waits_s)
    counts = outcome.counts
    medians = sorted(w.p50_s for w in by_office.values())
    lines = [
        "| promise | seen |",
        "|---|---|",
        f"| accepted and lost | {counts['lost']} of {counts['accepted']:,} |",
        f"| bought twice | {counts['sold_twice']} ({counts['sold']:,} stamps for {counts['completed']:,} orders) |",
        f"| ledger: paid less its parts | Rp {counts['ledger_difference_idr']:,} |",
        f"| ledger's purchases less the upstream's | Rp {counts['ledger_purchases_idr'] - 10_000 * counts['sold']:,} |",
        f"| deadlines missed | {missed(outcome)}; best possible {best.missed} |",
        f"| wait p50 / p95 / longest | {waits.p50_s:.0f} / {waits.p95_s:.0f} / {waits.max_s:.0f} s; "
        f"best possible {least.p50_s:.0f} / {least.p95_s:.0f} / {least.max_s:.0f} s |",
        f"| last order done | {max(o.done_s or 0 for o in outcome.orders):.0f} s after the start; "
        f"best possible {best.end_s:.0f} s |",
        f"| median wait by office | {medians[0]:.0f} to {medians[-1]:.0f} s, "
        f"middle {statistics.median(medians):.0f} s, "
        f"standard deviation {statistics.pstdev(medians):.1f} s |",
        f"| calls while the server was dead | {counts['calls_in_outage']}, of these generate "
        f"{counts['generate_in_outage']} |",
    ]
    for first, title in ((True, "time range shown at acceptance"), (False, "time range shown while waiting")):
        total, before, within, after = kept_promises(outcome, at_acceptance=first)
        if total:
            lines.append(
                f"| {title} | {total:,} shown; done within it {100 * within / total:.0f} %, "
                f"before {100 * before / total:.0f} %, after {100 * after / total:.0f} % |"
            )
    lines.append(f"| looks at an order when no range was shown | {outcome.no_promise:,} |")
    killed = ", ".join(f"{what} at {at:.0f} s" for at, what in outcome.kills)
    hits = ", ".join(f"{kind} {n:,}" for kind, n in sorted(outcome.fault_hits.items()))
    lines += ["", f"Killed with SIGKILL: {killed}. Calls changed by a fault: {hits}."]
    lines += [
        "",
        "Waiting time by office, in seconds:",
        "",
        "| office | orders | p50 | p95 |",
        "|---|---:|---:|---:|",
    ]
    for office, w in by_office.items():
        count = sum(o.office == office for o in outcome.orders)
        lines.append(f"| {office} | {count} | {w.p50_s:.0f} | {w.p95_s:.0f} |")
    return lines


def write_report(outcomes: Sequence[Outcome]) -> str:
    """Markdown; the first outcome is Antrean's."""
    ours = outcomes[0]
    dues = {order.number: order.due_s for order in ours.orders}
    for other in outcomes[1:]:
        # Due on a full minute, which fell otherwise in a run that began at another second.
        for order in other.orders:
            order.due_s = dues.get(order.number, order.due_s)
    head = (
        f"{ours.date}, seed {ours.seed}, {ours.cores} cores; {len(ours.orders):,} orders of {OFFICES} offices; "
        f"three days in {ours.span_s:.0f} seconds; the upstream takes {ours.full_per_s:.0f} purchases a second, "
        f"at half capacity {ours.half_per_s:.0f}."
    )
    return "\n".join([head, "", *_comparison(outcomes), "", "## Antrean's run", "", *_ours(ours), ""])


def faults_seen(outcome: Outcome, least: Mapping[str, int]) -> list[str]:
    """Which faults befell fewer calls than they should have, for a run that must not pass by missing them."""
    hits = outcome.fault_hits
    return [f"{kind}: {hits.get(kind, 0)} of {n}" for kind, n in least.items() if hits.get(kind, 0) < n]
