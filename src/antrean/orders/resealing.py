"""A change of keys, second half: everything sealed with an older key of the ring is sealed with the first one."""

from __future__ import annotations

import asyncio

from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.listing import index_parts
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
    changed = await outbox.reseal_secrets()
    async for rows in index_parts(store.scripts.redis, PAGE):
        order_ids = [order_id.decode() for order_id, _ in rows]
        for start in range(0, len(order_ids), AT_ONCE):
            changed += sum(
                await asyncio.gather(*(reseal(store, o) for o in order_ids[start : start + AT_ONCE]))
            )
    if store.archive is not None:
        changed += await store.archive.rewrite_all(store.personal.resealed_record)
    return changed
