"""Random bits that are fetched a page at a time are given out once."""

from __future__ import annotations

import os
import threading

from antrean.orders.entropy import PAGE_BYTES, Entropy


def test_draws_have_their_size_and_no_two_are_the_same_over_many_pages() -> None:
    entropy = Entropy()
    draws = [entropy.bits(155) for _ in range(3 * PAGE_BYTES // 20)]
    assert len(set(draws)) == len(draws)
    assert all(draw.bit_length() <= 155 for draw in draws)
    assert max(draw.bit_length() for draw in draws) == 155
    assert entropy.bits(8 * PAGE_BYTES).bit_length() > 7 * PAGE_BYTES


def test_threads_share_no_draw() -> None:
    entropy = Entropy()
    drawn: list[list[int]] = [[] for _ in range(4)]
    threads = [
        threading.Thread(target=lambda mine=mine: mine.extend(entropy.bits(155) for _ in range(5000)))
        for mine in drawn
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set().union(*drawn)) == 4 * 5000


def test_a_child_does_not_draw_what_its_parent_draws() -> None:
    entropy = Entropy()
    entropy.bits(155)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writing, str(entropy.bits(155)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        assert int(answer.read()) != entropy.bits(155)
