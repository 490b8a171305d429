"""The lanes where orders wait: which one is an order's, and who stands where."""

from __future__ import annotations

from collections.abc import Sequence

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.lateness import SAMPLES, SAMPLES_OF_ALL, Due
from antrean.orders.model import Order
from antrean.orders.score import AGE_BITS, NO_DEADLINE_MIN
from antrean.orders.scripts import Scripts
from antrean.orders.states import State


def lane_of(order: Order) -> str | None:
    """The lane where an unclaimed order of this state waits, as `lane` in _common.lua has it."""
    if order.state is State.QUEUED:
        return keys.LANE_STAMP if order.serial_number else keys.LANE_BUY + order.office
    if order.state is State.BOUGHT:
        return keys.LANE_STAMP if order.kind == "affix" else keys.LANE_FETCH
    return None


class Lanes:
    """Reads of the lanes; whatever moves an order is the store's. Every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    async def ranks(self, orders: Sequence[Order]) -> list[int | None]:
        """How many stand before each in its own lane, in one round trip; None for one that waits in none.

        One that was handed out to be stamped and is not taken up yet is the first; with None it waits for its own time.
        """
        lanes = [lane_of(order) for order in orders]
        pipe = self._redis.pipeline(transaction=False)
        for name, order in zip(lanes, orders, strict=True):
            if name is not None:
                pipe.zrank(name, order.id)
            if name == keys.LANE_STAMP:
                pipe.zscore(keys.LATER, order.id)
        answers = iter(await asked(pipe.execute()))
        ranks: list[int | None] = []
        for name in lanes:
            rank = None if name is None else next(answers)
            if name == keys.LANE_STAMP and next(answers) is None and rank is None:
                rank = 0
            ranks.append(rank)
        return ranks

    async def oldest_ms(self) -> int | None:
        """About when the oldest open order was accepted, as `oldest.lua` finds it; None where none is open."""
        _, made = await asked(self._scripts.run("oldest", NO_DEADLINE_MIN << AGE_BITS))
        return int(made) if made else None

    async def by_office(self) -> dict[str, int]:
        """Orders of each office that are not at their end, those that wait for a person among them."""
        flat = await asked(self._scripts.run("offices"))
        return {office.decode(): int(orders) for office, orders in zip(flat[::2], flat[1::2], strict=True)}

    async def dues(self) -> list[Due]:
        """Orders that wait and have a deadline, the samples of every lane."""
        found: list[Due] = []
        flat = await asked(self._scripts.run("due", NO_DEADLINE_MIN << AGE_BITS, SAMPLES, SAMPLES_OF_ALL))
        for lane, count, rows in zip(flat[::3], flat[1::3], flat[2::3], strict=True):
            each = max(1, round(count / max(len(rows) // 4, 1)))
            for order_id, office, rank, deadline in zip(*(rows[i::4] for i in range(4)), strict=True):
                found.append(
                    Due(order_id.decode(), lane.decode(), office.decode(), int(rank), int(deadline), each)
                )
        return found
