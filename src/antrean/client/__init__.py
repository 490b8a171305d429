"""A client for Antrean's HTTP API: typed, asynchronous, and patient in the way the API asks for.

    async with Client("https://antrean.example", key) as antrean:
        order = await antrean.submit({"kind": "purchase", ...})
        order = await antrean.wait(order["id"])

An order is sent with one Idempotency-Key however often it takes, so a lost answer never buys twice. This package
imports nothing else of Antrean and can be used without it.
"""

from antrean.client.client import Client
from antrean.client.errors import AntreanError, GaveUp, Refused
from antrean.client.models import (
    Affix,
    Batch,
    BatchRow,
    Document,
    FieldFault,
    NewOrder,
    Order,
    OrderError,
    Placement,
    Problem,
    Purchase,
    Taxpayer,
    Ticket,
    Upload,
)
from antrean.client.retrying import Patience

__all__ = [
    "Affix",
    "AntreanError",
    "Batch",
    "BatchRow",
    "Client",
    "Document",
    "FieldFault",
    "GaveUp",
    "NewOrder",
    "Order",
    "OrderError",
    "Patience",
    "Placement",
    "Problem",
    "Purchase",
    "Refused",
    "Taxpayer",
    "Ticket",
    "Upload",
]
