"""Reads that keep the gateway busy take turns: one counter's searches hold up no other's order."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from antrean.gateway.long_reads import LongReads
from antrean.gateway.problems import Problem


class _Reads:
    """Reads that go on until they are let go."""

    def __init__(self, turns: LongReads) -> None:
        self._turns = turns
        self._end = asyncio.Event()
        self.at_it: Counter[str] = Counter()
        self.most: Counter[str] = Counter()

    async def read(self, key_id: str) -> None:
        async with self._turns.turn(key_id):
            self.at_it[key_id] += 1
            self.most[key_id] = max(self.most[key_id], self.at_it[key_id])
            self.most["all"] = max(self.most["all"], self.at_it.total())
            await self._end.wait()
            self.at_it[key_id] -= 1

    def let_go(self) -> None:
        self._end.set()


async def test_those_of_one_key_go_one_by_one_and_few_of_all_together() -> None:
    reads = _Reads(LongReads(together_max=2))
    tasks = [asyncio.create_task(reads.read(key)) for key in "aaaabbc" for _ in range(2)]
    while reads.at_it.total() < 2:
        await asyncio.sleep(0)
    reads.let_go()
    await asyncio.gather(*tasks)
    assert reads.most == {"a": 1, "b": 1, "c": 1, "all": 2}


async def test_another_key_waits_for_one_of_the_first_at_most() -> None:
    turns = LongReads(together_max=1)
    order: list[str] = []

    async def read(key_id: str) -> None:
        async with turns.turn(key_id):
            order.append(key_id)
            await asyncio.sleep(0)

    await asyncio.gather(*(read(key) for key in "aaaab"))
    assert order.index("b") <= 1
    assert not turns._asked
    assert not turns._turns


async def test_what_one_key_may_have_waiting_is_bounded_and_others_are_not_concerned() -> None:
    turns = LongReads(waiting_max=2)
    reads = _Reads(turns)
    tasks = [asyncio.create_task(reads.read("a")) for _ in range(3)]
    while not reads.at_it["a"]:
        await asyncio.sleep(0)
    with pytest.raises(Problem) as refused:
        await reads.read("a")
    assert refused.value.status == 429
    assert refused.value.headers["Retry-After"] == "1"
    tasks.append(asyncio.create_task(reads.read("b")))
    while not reads.at_it["b"]:
        await asyncio.sleep(0)
    reads.let_go()
    await asyncio.gather(*tasks)
