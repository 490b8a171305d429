"""A change of keys, second half: everything sealed with an older key of the ring is sealed with the first one."""

from __future__ import annotations

import asyncio

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.outbox import Outbox
from antrean.orders.store import OrderStore
from antrean.orders.vault import Unreadable

#: Orders read in one go, and of these resealed at one time.
PAGE = 500
AT_ONCE = 25


async def reseal(store: OrderStore, order_id: str) -> bool:
    """Seal the order's personal data with the key that encrypts now; False where it is already, or erased.

    Raises StoreUnavailable, Unreadable.
    """
    order = await store.get(order_id)
    anew = None if order is None else store.personal.resealed(order)
    if order is None or anew is None:
        return False
    old = order.personal
    code, *_ = await asked(
        store.scripts.run("reseal", order_id, old if isinstance(old, bytes) else "", *anew)
    )
    if code == Code.RETIRED:
        raise Unreadable(f"{store.personal.vault.primary} was retired while this went on")
    return bool(code == Code.OK)


async def reseal_all(store: OrderStore, outbox: Outbox) -> int:
    """Walk through all orders and secrets; answers how many were sealed anew. May be cut short and run again.

    Raises StoreUnavailable, Unreadable.
    """
    redis = store.scripts.redis
    changed = await outbox.reseal_secrets()
    after: str = "-inf"
    while True:
        rows = await asked(
            redis.zrangebyscore(keys.INDEX_ALL, after, "+inf", start=0, num=PAGE, withscores=True)
        )
        if not rows:
            return changed + (
                await store.archive.rewrite_all(store.personal.resealed_record) if store.archive else 0
            )
        order_ids = [order_id.decode() for order_id, _ in rows]
        for start in range(0, len(order_ids), AT_ONCE):
            done = await asyncio.gather(*(reseal(store, o) for o in order_ids[start : start + AT_ONCE]))
            changed += sum(done)
        after = f"({int(rows[-1][1])}"
