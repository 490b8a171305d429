"""An order's record as it is kept. What is still as it was when the order was accepted is left out of it. Pure.

A million held orders pay for each byte of it. `submit.lua` leaves out, `load` in `_common.lua` knows the same.
"""

from __future__ import annotations

from collections.abc import Mapping

from antrean.orders.states import State

#: Field by field, as in Redis and in the archive.
Record = dict[bytes, bytes]

_ACCEPTED = {b"ref": b"", b"deadline": b"", b"fence": b"0", b"calls": b"0", b"ver": b"1"}


def whole(kept: Mapping[bytes, bytes], order_id: str) -> Record:
    """The record with everything in it; one of layout 1 is whole already. Raises KeyError for what is no order's."""
    made = kept[b"made"]
    first_line = b"%s|%s|accepted" % (made, State.QUEUED.encode())
    return {**_ACCEPTED, b"id": order_id.encode(), b"upd": made, b"hist": first_line, **kept}
