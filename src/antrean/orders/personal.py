"""Who pays for an order, sealed: bound to the order's id, so that one order's seal opens for no other."""

from __future__ import annotations

import orjson

from antrean.orders.model import Order, Taxpayer, body_json
from antrean.orders.record import Record
from antrean.orders.vault import Unreadable, Vault, sealing_key


class Personal:
    """Seals and opens. `vault` None: it does neither, and says so with a RuntimeError."""

    def __init__(self, vault: Vault | None) -> None:
        self._vault = vault

    @property
    def vault(self) -> Vault:
        """The ring of keys."""
        if self._vault is None:
            raise RuntimeError("this store was built without the ring of keys")
        return self._vault

    def seal(self, order_id: str, taxpayer: Taxpayer) -> bytes:
        """Number and name, to be kept with the order."""
        plain = orjson.dumps([taxpayer.identity_number, taxpayer.name])
        return self.vault.seal(plain, _place(order_id))

    def taxpayer_of(self, order: Order) -> Taxpayer:
        """Who pays, in full. Raises Unreadable: the keys here do not open it, or it was erased."""
        if isinstance(order.personal, Taxpayer):
            return order.personal
        if order.personal is None or order.masked is None:
            raise Unreadable("it was erased")
        number, name = orjson.loads(self.vault.open(order.personal, _place(order.id)))
        return Taxpayer(order.masked.identity_type, number, name)

    def resealed(self, order: Order) -> tuple[bytes, bytes] | None:
        """The seal made with the key that encrypts now, and the body beside it; None where there is nothing to do.

        Raises Unreadable.
        """
        old = order.personal
        if old is None or (isinstance(old, bytes) and sealing_key(old) == self.vault.primary):
            return None
        taxpayer = self.taxpayer_of(order)
        return self.seal(order.id, taxpayer), body_json(order, taxpayer.masked)

    def resealed_record(self, record: Record) -> Record:
        """The same for an archived record, which is answered unchanged where there is nothing to do."""
        anew = self.resealed(Order.from_hash(record))
        if anew is None:
            return record
        sealed, body = anew
        return record | {b"pii": sealed, b"body": body}


def _place(order_id: str) -> str:
    return f"order:{order_id}"
