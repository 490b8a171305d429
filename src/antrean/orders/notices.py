"""What a webhook says and when it is said again. Pure.

Standard Webhooks: a notice has an id that stays, each try has a time, and both are signed with the body under the
office's secret. https://www.standardwebhooks.com
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import random
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from antrean.orders.view import rfc3339

SECRET_PREFIX = "whsec_"  # noqa: S105 - how a secret begins
SECRET_BYTES = 32
#: A notice is given up this long after the first try that was due, in ms.
GIVE_UP_MS = 48 * 3600 * 1000
#: An address where every try failed for this long, in ms, is not asked any more until ops say so.
DISABLE_MS = 5 * 24 * 3600 * 1000
#: Pause after the first failed try and the longest one, in ms; doubled from try to try.
PAUSE_FIRST_MS = 5_000
PAUSE_MAX_MS = 4 * 3600 * 1000
#: After this many failures in a row an address gets one notice at a time, with these pauses, in ms.
FAILING_AFTER = 3
FAILING_PAUSE_MAX_MS = 10 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Notice:
    """One change of one order that is to be told. Times in ms; `since_ms`: when its 48 hours began."""

    id: str
    order_id: str
    office: str
    kind: str
    state: str
    at_ms: int
    since_ms: int
    url: str = field(repr=False)
    ticket_number: int
    serial_number: str | None
    reference: str | None
    error_code: str | None
    #: Tries that failed so far, and what the last one met.
    tries: int
    why: str

    @classmethod
    def from_json(cls, notice_id: str, text: bytes) -> Self:
        """As the scripts write it. Raises KeyError or ValueError."""
        f = orjson.loads(text)
        return cls(
            id=notice_id,
            order_id=f["order"],
            office=f["office"],
            kind=f["kind"],
            state=f["state"],
            at_ms=int(f["at"]),
            since_ms=int(f["since"]),
            url=f["url"],
            ticket_number=int(f["number"]),
            serial_number=f["sn"] or None,
            reference=f["ref"] or None,
            error_code=f["err"].partition("\n")[0] or None,
            tries=int(f["tries"]),
            why=f.get("why", ""),
        )

    @property
    def type(self) -> str:
        """`order.completed` and its sisters."""
        return f"order.{self.state}"

    @property
    def payload(self) -> bytes:
        """The body: the same bytes at each try, and nothing of a person."""
        data: dict[str, Any] = {
            "order_id": self.order_id,
            "office": self.office,
            "kind": self.kind,
            "state": self.state,
            "ticket_number": self.ticket_number,
            "serial_number": self.serial_number,
            "reference": self.reference,
            "error_code": self.error_code,
        }
        return orjson.dumps({"type": self.type, "timestamp": rfc3339(self.at_ms), "data": data})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address of an office where the last tries failed: how often in a row, and since when (ms)."""

    office: str
    host: str
    since_ms: int
    last_ms: int
    failures: int
    #: Not asked any more since then.
    disabled_ms: int | None
    why: str

    @classmethod
    def from_json(cls, name: str, text: bytes) -> Self:
        """As the scripts write it, under `office|host`. Raises KeyError or ValueError."""
        f = orjson.loads(text)
        office, host = name.split("|", 1)
        disabled = int(f["disabled"]) if "disabled" in f else None
        return cls(office, host, int(f["since"]), int(f["last"]), int(f["failures"]), disabled, f["why"])

    @property
    def rests_until_ms(self) -> int:
        """Before this nothing is sent there, so that one dead address does not take everybody's turn."""
        if self.failures < FAILING_AFTER:
            return 0
        doublings = min(self.failures - FAILING_AFTER, 20)
        return self.last_ms + min(PAUSE_FIRST_MS << doublings, FAILING_PAUSE_MAX_MS)


def pause_ms(tries: int, rng: random.Random) -> int:
    """How long to wait after that many failed tries: doubled each time, and between half and all of it by lot."""
    longest = min(PAUSE_FIRST_MS << min(tries - 1, 20), PAUSE_MAX_MS)
    return int(longest * rng.uniform(0.5, 1))


@dataclass(frozen=True, slots=True)
class Secrets:
    """An office's secret, and the one before until `overlap_until_ms`."""

    current: str = field(repr=False)
    previous: str | None = field(default=None, repr=False)
    overlap_until_ms: int = 0

    @classmethod
    def new(cls) -> Self:
        """A fresh one."""
        return cls(new_secret())

    def rotated(self, until_ms: int) -> Secrets:
        """A fresh one; today's goes on beside it until then."""
        return Secrets(new_secret(), self.current, until_ms)

    def valid(self, now_ms: int) -> list[str]:
        """Those to sign with, the newest first."""
        if self.previous is not None and now_ms < self.overlap_until_ms:
            return [self.current, self.previous]
        return [self.current]


def new_secret() -> str:
    """`whsec_` and 256 random bits in base64."""
    return SECRET_PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def headers(notice_id: str, now_ms: int, payload: bytes, secrets: list[str]) -> dict[str, str]:
    """The three headers of one try: id, time in seconds, one signature for each secret."""
    now_s = str(now_ms // 1000)
    signed = f"{notice_id}.{now_s}.".encode() + payload
    return {
        "webhook-id": notice_id,
        "webhook-timestamp": now_s,
        "webhook-signature": " ".join(f"v1,{_signature(secret, signed)}" for secret in secrets),
    }


def _signature(secret: str, signed: bytes) -> str:
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
