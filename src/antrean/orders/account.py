"""Our books of the upstream account: which SNs have an owner, and the last balance that was explained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.scripts import Scripts
from antrean.orders.witness import Account, Baseline

#: Holder of an SN that is ours and belongs to no order.
POOLED = "pool"


def spellings(serial_number: str) -> Iterable[str]:
    """One SN as given, in capitals and in small letters: the spellings that `as_booked` in _common.lua tries."""
    return dict.fromkeys((serial_number, serial_number.upper(), serial_number.lower()))


class AccountBooks:
    """Reads and notes what is known of the account. Every method raises StoreUnavailable."""

    def __init__(self, scripts: Scripts) -> None:
        self._scripts = scripts
        self._redis = scripts.redis

    async def holders(self, serial_numbers: Sequence[str]) -> dict[str, str]:
        """Who has each of these SNs by our books: an order's id, or POOLED. Those that nobody has are left out."""
        asked_for = [(serial, each) for serial in serial_numbers for each in spellings(serial)]
        if not asked_for:
            return {}
        names = [each for _, each in asked_for]
        owners = await asked(self._redis.hmget(keys.SERIAL_OWNER, names))
        pooled = await asked(self._redis.hmget(keys.POOL, names))
        held: dict[str, str] = {}
        for (serial, _), owner, pool in zip(asked_for, owners, pooled, strict=True):
            if owner is not None:
                held.setdefault(serial, owner.decode().partition("@")[0])
            elif pool is not None:
                held.setdefault(serial, POOLED)
        return held

    async def users(self, serial_numbers: Sequence[str]) -> dict[str, str]:
        """The id of the order that uses each of these SNs for its PDF, or blocks it; SNs without one are left out."""
        asked_for = [(serial, each) for serial in serial_numbers for each in spellings(serial)]
        if not asked_for:
            return {}
        users = await asked(self._redis.hmget(keys.SERIAL_USE, [each for _, each in asked_for]))
        return {
            serial: user.decode()
            for (serial, _), user in zip(asked_for, users, strict=True)
            if user is not None
        }

    async def pooled(self) -> int:
        """How many SNs are ours and belong to no order."""
        return int(await asked(self._redis.hlen(keys.POOL)))

    async def read(self) -> Account:
        """The last explained balance, and what was bought since."""
        raw = await asked(self._redis.hgetall(keys.BALANCE))
        numbers = {k.decode(): int(v) for k, v in raw.items()}
        base = Baseline(numbers["value"], numbers["base"], numbers["at"]) if "value" in numbers else None
        return Account(base, numbers.get("bought", 0))

    async def set_baseline(self, balance: int, bought: int) -> None:
        """Remember a balance that our books explain."""
        await asked(self._scripts.run("baseline", balance, bought))

    async def accept_balance(self, actor: str) -> bool:
        """Lift the hold because a person has explained the balance, which counts as right from now on.

        False where there was no such hold.
        """
        code, *_ = await asked(self._scripts.run("accept_balance", actor))
        return bool(code == Code.OK)
