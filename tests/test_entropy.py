"""Random letters that are fetched a page at a time are given out once."""

from __future__ import annotations

import os
import threading
from collections import Counter

from antrean.orders.entropy import ALPHABET, PAGE_LETTERS, Entropy


def test_draws_have_their_size_and_no_two_are_the_same_over_many_pages() -> None:
    entropy = Entropy()
    draws = [entropy.letters(31) for _ in range(3 * PAGE_LETTERS // 31)]
    assert len(set(draws)) == len(draws)
    assert {len(draw) for draw in draws} == {31}
    seen = Counter(b"".join(draws).decode())
    assert set(seen) == set(ALPHABET)
    # About 95 of each are expected; ten times the standard deviation is never seen.
    assert all(abs(count - len(draws) * 31 / 32) < 100 for count in seen.values())
    assert len(entropy.letters(PAGE_LETTERS)) == PAGE_LETTERS


def test_threads_share_no_draw() -> None:
    entropy = Entropy()
    drawn: list[list[bytes]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(entropy.letters(31) for _ in range(5000)))
        for mine in drawn
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*drawn)) == 4 * 5000


def test_a_child_does_not_draw_what_its_parent_draws() -> None:
    entropy = Entropy()
    entropy.letters(31)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, entropy.letters(31))
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        assert answer.read() != entropy.letters(31)
