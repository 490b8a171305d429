"""Walks through the account's list of SNs and takes in every SN of ours that nobody has recorded.

Our order's id stands in each SN's file name.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from antrean.orders.account import POOLED
from antrean.orders.account_list import AccountList, Reading, order_id_of
from antrean.orders.codes import Code
from antrean.orders.store import OrderStore
from antrean.provider.protocol import Provider, SerialRecord

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Walk(Reading):
    """What one reading of the account's list has shown."""

    files: dict[str, str] = field(default_factory=dict)
    #: Orders whose SN our books give to another order, as after an answer that was another call's.
    taken_by_others: set[str] = field(default_factory=set)
    #: SNs that went to their order or to the pool.
    taken: int = 0
    #: SNs of ours for orders which our books do not have, as after a restored backup.
    strange: int = 0
    #: SNs of orders that a worker has, or had and nobody has taken from it yet: to be taken in by a later walk.
    busy: int = 0


class Walker:
    """Walks for one resolver."""

    def __init__(self, store: OrderStore, provider: Provider) -> None:
        self._store = store
        self._list = AccountList(provider)

    async def walk(self, back_ms: int | None, in_doubt: set[str]) -> Walk:
        """Read what was sold up to `back_ms` before the newest, or to the list's end with None.

        An order of `in_doubt` that gets its SN is taken out of it. Raises StoreUnavailable, ProviderError.
        """
        walk = Walk()
        await self._list.read(walk, back_ms, lambda rows: self._take_in(rows, walk, in_doubt))
        return walk

    async def _take_in(self, rows: list[SerialRecord], walk: Walk, in_doubt: set[str]) -> None:
        ours = {r.serial_number: r for r in rows if order_id_of(r.file)}
        holders = await self._store.account.holders(list(ours))
        for serial, row in ours.items():
            order_id = order_id_of(row.file)
            assert order_id is not None
            holder = holders.get(serial)
            code = None
            # One in the pool may be what an order in doubt has waited for: it came while a later try was under way.
            if holder is None or (holder == POOLED and order_id in in_doubt):
                used = row.status != "NOTSTAMP" and order_id not in in_doubt
                code = await self._store.found(
                    order_id, serial, "found on the account's list", walk=True, used=used
                )
                if code in (Code.OK, Code.POOL_EMPTY):
                    log.warning(
                        "SN found on the account",
                        order_id=order_id,
                        serial_number=serial,
                        pooled=code != Code.OK,
                    )
                if code == Code.OK:
                    in_doubt.discard(order_id)
                walk.taken += code in (Code.OK, Code.POOL_EMPTY)
                walk.strange += code == Code.MISSING
                walk.busy += code == Code.STATE
            if code == Code.MISSING and order_id in in_doubt:
                # Somebody gave it with an affix: whose it is, a person decides.
                walk.taken_by_others.add(order_id)
            elif holder in (None, POOLED, order_id):
                walk.files[order_id] = serial
            else:
                walk.taken_by_others.add(order_id)
