"""What a person at a counter types to find an order again: the number on the ticket, its code, whose it is, or a part
of what the order names. Pure.

Names and identity numbers are compared whole: whoever asks knows them, and nobody learns one by trying its beginnings.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from antrean.orders import ids
from antrean.orders.model import Order, Taxpayer

#: Digits from which on a number is taken for that of a person and not of a ticket.
IDENTITY_DIGITS_MIN = 8
#: Characters from which on a text is looked for as a part of others.
PART_CHARS_MIN = 3

#: Who pays for an order, in full; None where that can not be read.
Opened = Callable[[Order], Taxpayer | None]


def finder(text: str, opened: Opened) -> Callable[[Order], bool]:
    """Whether an order is what `text` asks for."""
    words = " ".join(text.split())
    token = words.rsplit("/t/", 1)[-1]
    if ids.is_token(token):
        return lambda order: order.ticket_token == token
    wanted, digits = words.casefold(), re.sub(r"[\s.-]", "", words)
    is_number = digits.isascii() and digits.isdigit()

    def names(order: Order) -> bool:
        if len(wanted) < PART_CHARS_MIN:
            return False
        texts = (order.reference, order.document.number, order.serial_number)
        return any(wanted in each.casefold() for each in texts if each)

    def is_for(order: Order) -> bool:
        taxpayer = opened(order) if order.personal is not None else None
        if taxpayer is None:
            return False
        if is_number:
            return taxpayer.identity_number == digits
        return " ".join(taxpayer.name.split()).casefold() == wanted

    def fits(order: Order) -> bool:
        if is_number and len(digits) < IDENTITY_DIGITS_MIN:
            return order.ticket_number == int(digits) or names(order)
        return names(order) or is_for(order)

    return fits
