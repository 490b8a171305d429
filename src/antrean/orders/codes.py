"""What the scripts answer, as an enum shared with Lua: no bare numbers on either side."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """First element of every script's answer."""

    OK = 0
    ALREADY = 1  # this step, by its `op`, was done before and its answer was lost: nothing changes
    MISSING = 2  # no such order
    STATE = 3  # the order is not in a state from which the table allows this step
    FENCED = 4  # the claim is not ours any more
    HELD = 5  # a hold forbids it just now
    REPLAYED = 6  # the same idempotency key with the same body: the answer is the order made then
    KEY_REUSED = 7  # the same idempotency key with another body
    FULL = 8  # the backlog of all offices is full
    OFFICE_FULL = 9  # the backlog of this office is full
    NO_DOCUMENT = 10  # no such document in this office
    NO_PURCHASE = 11  # no such purchase order in this office
    PURCHASE_OPEN = 12  # that purchase has no SN to give yet
    SERIAL_TAKEN = 13  # the SN is used by another affix order already, or was bought by another order
    SERIAL_FOREIGN = 14  # the SN was bought by another office
    POOL_EMPTY = 15  # no SN in the pool
    REFUNDED = 16  # the money was given back already
    UNFIT = 17  # that decision does not fit this order
    NO_PERMIT = 18  # the permit for the call was not granted, so its intent is not noted
    RETIRED = 19  # sealed with a key that this Redis does not know, or no longer


def lua_names() -> dict[str, str]:
    """The codes as the scripts write them (`CODE.OK`), and what stands for each."""
    return {f"CODE.{c.name}": str(int(c)) for c in Code}
