"""Thousands of histories with every fault at every step: nothing lost, nothing bought twice, the books add up.

A failing seed is printed; `python tests/test_simulation.py SEED [COUNT]` plays it again (VALKEY_URL names a Valkey).
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import redis
import structlog

from simulation.history import History, load_scripts

#: Histories in the test run, in shares that pytest's processes take from each other.
HISTORIES = int(os.environ.get("ANTREAN_TEST_HISTORIES", "480"))
SHARES = 8
FIRST_SEED = 20_240_903
#: Longest run of one share, in seconds.
RUN_S = 600

FAULTS = {
    "redis_refuses",
    "redis_answer_lost",
    "kill_before",
    "kill_after",
    "pause",
    "refused",
    "unavailable",
    "generate_lost_before",
    "generate_lost_after",
    "generate_late",
    "stamp_lost",
    "ask_fails",
    "job_lost",
    "job_doubled",
    "clock_set",
}


def play(url: str, first: int, count: int) -> int:
    """Play `count` histories and print what they came to; the exit code says whether all promises held."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    client = redis.Redis.from_url(url, protocol=2)
    load_scripts(client)
    faults: Counter[str] = Counter()
    completed = attention = wrong = 0
    for seed in range(first, first + count):
        verdict = History(seed, client).run()
        faults += verdict.faults
        completed += verdict.completed
        attention += verdict.attention
        if verdict.wrong:
            wrong += 1
            print(f"seed {seed}: {'; '.join(verdict.wrong)}; faults {dict(verdict.faults)}", flush=True)
    print(f"histories={count} completed={completed} attention={attention} wrong={wrong}")
    print("faults", *(f"{k}={v}" for k, v in sorted(faults.items())))
    client.close()
    return 1 if wrong else 0


def test_the_same_seed_plays_the_same_history(quick_valkey_url: str) -> None:
    client = redis.Redis.from_url(quick_valkey_url, protocol=2)
    load_scripts(client)
    first, again = (History(7, client).run() for _ in range(2))
    assert (first.completed, first.faults) == (again.completed, again.faults)
    assert sum(first.faults.values()) > 0
    client.close()


@pytest.mark.parametrize("number", range(SHARES))
def test_in_every_history_each_order_is_kept_and_bought_once_and_the_books_add_up(
    quick_valkey_url: str, number: int
) -> None:
    count = HISTORIES // SHARES
    words = [str(FIRST_SEED + number * count), str(count)]
    played = subprocess.run(
        [sys.executable, __file__, *words],
        env=os.environ | {"VALKEY_URL": quick_valkey_url},
        capture_output=True,
        text=True,
        timeout=RUN_S,
        check=False,
    )
    assert played.returncode == 0, played.stdout + played.stderr
    seen = {name: int(value) for name, _, value in (w.partition("=") for w in played.stdout.split()) if value}
    # A run in which every call fails would pass as well: each fault struck, and most orders came through.
    assert all(seen.get(fault, 0) >= max(1, count // 100) for fault in FAULTS), seen
    assert seen["completed"] >= 2 * count
    assert seen["attention"] <= seen["completed"] // 50


if __name__ == "__main__":
    seed, count = (int(a) for a in [*sys.argv[1:], "1"][:2])
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(play(os.environ["VALKEY_URL"], seed, count))
