"""What `submit.lua` is told of a new order, and what its refusals mean to the one who submits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from antrean.orders.codes import Code
from antrean.orders.ids import Names
from antrean.orders.model import NewOrder, Taxpayer, body_json
from antrean.orders.score import score_minute
from antrean.orders.scripts import Arg

#: How long an idempotency key is known, in seconds.
IDEMPOTENCY_S = 60 * 24 * 3600
#: Kept of the digest of an idempotency key and its office, and of the body's fingerprint.
KEY_BYTES, FINGERPRINT_BYTES = 12, 8

#: Code and text of each.
REFUSALS: dict[Code, tuple[str, str]] = {
    Code.KEY_REUSED: (
        "idempotency-key-reused",
        "This Idempotency-Key was used with another body. Use a new key.",
    ),
    Code.FULL: ("backlog-full", "The backlog is full. Try again later with the same Idempotency-Key."),
    Code.OFFICE_FULL: (
        "office-backlog-full",
        "This office has too many open orders. Try again when some are done.",
    ),
    Code.NO_DOCUMENT: (
        "document-not-found",
        "document_id: no such document in this office. Upload it first.",
    ),
    Code.NO_PURCHASE: ("purchase-not-found", "purchase_order_id: no such purchase order in this office."),
    Code.PURCHASE_OPEN: (
        "purchase-not-completed",
        "The purchase of that serial number is not completed yet.",
    ),
    Code.SERIAL_TAKEN: (
        "serial-in-use",
        "That serial number is used by another affix order already, was replaced, or its money was given back.",
    ),
    Code.RETIRED: (
        "not-ready",
        "Orders can not be encrypted just now. Try again with the same Idempotency-Key.",
    ),
    Code.SERIAL_FOREIGN: ("serial-not-found", "serial_number: not one of this office."),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the backlog, counted in open orders."""

    backlog_max: int = 1_000_000
    office_backlog_max: int = 100_000


def key_digest(office: str, idempotency_key: str) -> bytes:
    """What is kept of an office's idempotency key."""
    return hashlib.sha256(f"{office}:{idempotency_key}".encode()).digest()[:KEY_BYTES]


def submit_args(
    new: NewOrder, named: Names, masked: Taxpayer, sealed: bytes, digest: bytes, mark: bytes, limits: Limits
) -> tuple[Arg, ...]:
    """The script's arguments from the id on; only the last, the SN of an archived purchase, is not among them.

    `digest`: of the body's fingerprint, keyed. `mark`: of this Redis, as the gateway found it.
    """
    order_id, packed, token = named
    return (
        order_id,
        packed,
        new.office,
        key_digest(new.office, new.idempotency_key),
        hashlib.sha256(new.idempotency_key.encode()).hexdigest()[:32],
        IDEMPOTENCY_S,
        digest[:FINGERPRINT_BYTES],
        # Repeats of before fingerprints were keyed are known as well.
        f"{digest.hex()[:32]} {new.fingerprint}",
        new.kind,
        body_json(new, masked),
        new.reference or "",
        "" if new.deadline_ms is None else new.deadline_ms,
        score_minute(new.deadline_ms),
        token,
        new.document_id or "",
        new.serial_number or "",
        new.purchase_order_id or "",
        limits.backlog_max,
        limits.office_backlog_max,
        sealed,
        new.webhook_url or "",
        mark,
    )
