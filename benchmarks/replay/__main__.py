"""`make replay`: run what is asked for, then write report and picture from what was run."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.replay import by_hand, plain, with_antrean
from benchmarks.replay.outcome import Outcome
from benchmarks.replay.picture import draw
from benchmarks.replay.processes import Family, family
from benchmarks.replay.report import faults_seen, write_report
from benchmarks.replay.script import Script, write_script

#: Antrean's dates are those of all.
CONTENDERS: dict[str, Callable[[Script, Family, float], Awaitable[Outcome]]] = {
    "antrean": partial(with_antrean.run, on_the_minute=True),
    "by_hand": by_hand.run,
    "plain": plain.run,
}
#: A run that met fewer calls with these faults has shown nothing.
LEAST_FAULTS = {"hang": 3, "down": 10, "refuse": 3, "capacity": 10, "lost_answer": 2}


def _arguments() -> argparse.Namespace:
    env = os.environ
    parser = argparse.ArgumentParser(prog="replay", description=__doc__)
    parser.add_argument("--seconds", type=float, default=float(env.get("REPLAY_SECONDS", "200")))
    parser.add_argument("--orders", type=int, default=int(env.get("REPLAY_ORDERS", "4000")))
    parser.add_argument("--seed", type=int, default=int(env.get("REPLAY_SEED", "2024")))
    parser.add_argument("--out", type=Path, default=Path("build/replay"))
    parser.add_argument("--only", action="append", choices=(*CONTENDERS, "report"), default=[])
    return parser.parse_args()


def broken_promises(outcome: Outcome, least_faults: Mapping[str, int] = LEAST_FAULTS) -> list[str]:
    """What a run of Antrean must not show."""
    counts = outcome.counts
    found = [
        f"{name}: {counts[name]}" for name in ("lost", "sold_twice", "ledger_difference_idr") if counts[name]
    ]
    if not counts["completed"] == counts["sold"] == counts["accepted"]:
        found.append(f"completed {counts['completed']}, sold {counts['sold']}, accepted {counts['accepted']}")
    if counts["ledger_purchases_idr"] != 10_000 * counts["sold"]:
        found.append("the ledger's purchases are not the upstream's")
    return found + faults_seen(outcome, least_faults)


async def main() -> int:
    """Run; 1 where a promise was broken."""
    asked = _arguments()
    asked.out.mkdir(parents=True, exist_ok=True)
    script = write_script(asked.seed, asked.seconds, asked.orders)
    for name, run in CONTENDERS.items():
        if asked.only and name not in asked.only:
            continue
        print(
            f"{name}: {asked.orders} orders in {asked.seconds:.0f} s, and what is left after that …",
            flush=True,
        )
        with family() as processes:
            outcome = await run(script, processes, asked.seconds)
        outcome.write(asked.out / f"{name}.json")
        print(f"{name}: {outcome.counts}", flush=True)
    found = [asked.out / f"{name}.json" for name in CONTENDERS if (asked.out / f"{name}.json").exists()]
    outcomes = [Outcome.read(path) for path in found]
    if not outcomes or outcomes[0].name != "antrean":
        return 0
    (asked.out / "report.md").write_text(write_report(outcomes))
    (asked.out / "replay.svg").write_text(draw(outcomes))
    print(f"{asked.out / 'report.md'} and {asked.out / 'replay.svg'} are written")
    for fault in (broken := broken_promises(outcomes[0])):
        print(f"broken: {fault}")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
