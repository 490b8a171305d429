"""The account's books: quota, every SN with the file it was bought for, and what became of it.

At every moment  granted = left + sold + seeded_spent + drift.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from antrean.simulator.journal import Journal

#: SNs one simulated account can hold; memory is the reason.
SERIALS_MAX: Final = 2_000_000
SERIAL_CHARS: Final = 22
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"

Status = Literal["STAMP", "NOTSTAMP"]
Origin = Literal["generate", "batch", "seed"]


class QuotaUsedUp(Exception):
    """No stamp is left to sell."""


class AccountFull(Exception):
    """The simulated account holds SERIALS_MAX SNs."""


class SerialUnusable(Exception):
    """The SN cannot be put on this document: 92 the account does not know it, 97 it is on another."""

    def __init__(self, code: Literal["92", "97"], message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True)
class Serial:
    """One SN. `file`: the `namafile` it was bought with. Times are Unix seconds."""

    serial_number: str
    file: str
    origin: Origin
    sold_at: float
    updated_at: float
    status: Status = "NOTSTAMP"
    document_sha256: str | None = None
    stamping: int = 0
    reserved_sha256: str | None = None


class Account:
    """One account. Not thread-safe: all calls come from the event loop. `clock`: Unix seconds."""

    def __init__(
        self, quota: int, seed: int, clock: Callable[[], float], journal: Journal | None = None
    ) -> None:
        self._quota_at_start = quota
        self._seed = seed
        self._clock = clock
        self._journal: Journal | None = None
        self._clear(quota, clock())
        if journal is not None:
            for entry in journal.entries():
                self._apply(entry)
            self._journal = journal
            if journal.is_new:
                self._write(op="open", quota=quota, at=self.opened_at)

    def _clear(self, quota: int, opened_at: float) -> None:
        self.opened_at = opened_at
        self.granted = quota
        self.left = quota
        self.sold = 0
        self.seeded = 0
        self.seeded_spent = 0
        self.drift = 0
        self.stamped = 0
        self.stamps_repeated = 0
        self._serials: dict[str, Serial] = {}
        self._in_order: list[Serial] = []
        self._sales_by_file: Counter[str] = Counter()
        self._number = 0

    # What changes the books

    def sell(self, file: str, origin: Origin = "generate") -> Serial:
        """Sell one SN for a file. Raises QuotaUsedUp, AccountFull, OSError (books cannot be written)."""
        if self.left < 1:
            raise QuotaUsedUp
        return self._enter(self._next_serial_number(), file, origin, spend=True)

    def seed(self, file: str, *, serial_number: str | None = None, spend: bool = False) -> Serial:
        """An SN that no call bought. Raises QuotaUsedUp, AccountFull, ValueError (the SN exists), OSError."""
        if serial_number is not None and serial_number in self._serials:
            raise ValueError("this SN exists already")
        if spend and self.left < 1:
            raise QuotaUsedUp
        return self._enter(serial_number or self._next_serial_number(), file, "seed", spend=spend)

    def set_quota(self, left: int) -> None:
        """From now on `left` stamps are left. Raises OSError."""
        self._write(op="quota", left=left)
        self._set_quota(left)

    def drift_by(self, count: int) -> None:
        """Take `count` stamps off the balance without a sale (negative: add). Raises OSError."""
        count = min(count, self.left)
        self._write(op="drift", count=count)
        self._drift_by(count)

    def reserve(self, serial_number: str, document_sha256: str) -> Serial:
        """Claim the SN for a document that is being stamped. Raises SerialUnusable. Follow by stamped or release."""
        serial = self._serials.get(serial_number)
        if serial is None:
            raise SerialUnusable("92", "Serial number tidak dikenal")
        holder = serial.document_sha256 or serial.reserved_sha256
        if holder is not None and holder != document_sha256:
            raise SerialUnusable("97", "Serial number sudah digunakan pada dokumen lain")
        serial.reserved_sha256 = document_sha256
        serial.stamping += 1
        return serial

    def release(self, serial: Serial) -> None:
        """The stamping that `reserve` was for is over, done or not."""
        serial.stamping -= 1
        if serial.stamping == 0:
            serial.reserved_sha256 = None

    def mark_stamped(self, serial: Serial, document_sha256: str) -> None:
        """The SN is on the document. Again on the same one changes nothing. Raises OSError."""
        if serial.status == "STAMP":
            self.stamps_repeated += 1
            return
        now = self._clock()
        self._write(op="stamp", sn=serial.serial_number, sha256=document_sha256, at=now)
        self._mark_stamped(serial, document_sha256, now)

    def touch(self, serial: Serial) -> None:
        """The data of the SN were changed."""
        serial.updated_at = self._clock()

    def reset(self) -> None:
        """Empty books, with the quota of the start. Raises OSError."""
        if self._journal is not None:
            self._journal.restart()
        self._clear(self._quota_at_start, self._clock())
        self._write(op="open", quota=self._quota_at_start, at=self.opened_at)

    # What asks the books

    def find(self, serial_number: str) -> Serial | None:
        """The SN, or None where the account does not have it."""
        return self._serials.get(serial_number)

    def newest_first(self, offset: int, limit: int, *, sold_before: float | None = None) -> Sequence[Serial]:
        """SNs from the newest on; with `sold_before` (Unix seconds) later ones are passed over."""
        end = self._visible(sold_before) - offset
        if end <= 0:
            return []
        return self._in_order[max(0, end - limit) : end][::-1]

    def count(self, *, sold_before: float | None = None) -> int:
        """How many SNs `newest_first` walks over."""
        return self._visible(sold_before)

    def oldest_first(self, offset: int, limit: int) -> Sequence[Serial]:
        """SNs in the order they came."""
        return self._in_order[offset : offset + limit]

    def summary(self) -> dict[str, Any]:
        """The books for `/_sim/state`. `sold_twice`: files for which more than one SN was sold."""
        twice = [file for file, sales in self._sales_by_file.items() if sales > 1]
        return {
            "sold": self.sold,
            "stamped": self.stamped,
            "stamps_repeated": self.stamps_repeated,
            "seeded": self.seeded,
            "seeded_spent": self.seeded_spent,
            "drift": self.drift,
            "quota_left": self.left,
            "quota_granted": self.granted,
            "sold_twice": len(twice),
            "sold_twice_files": twice[:100],
        }

    def _visible(self, sold_before: float | None) -> int:
        if sold_before is None:
            return len(self._in_order)
        low, high = 0, len(self._in_order)
        while low < high:
            middle = (low + high) // 2
            if self._in_order[middle].sold_at <= sold_before:
                low = middle + 1
            else:
                high = middle
        return low

    # How an entry changes the books: the same for a call and for a journal read at the start

    def _enter(self, serial_number: str, file: str, origin: Origin, *, spend: bool) -> Serial:
        if len(self._in_order) >= SERIALS_MAX:
            raise AccountFull
        now = self._clock()
        self._write(op="sell", sn=serial_number, file=file, origin=origin, at=now, spend=spend)
        return self._add(Serial(serial_number, file, origin, now, now), spend=spend)

    def _add(self, serial: Serial, *, spend: bool) -> Serial:
        self._serials[serial.serial_number] = serial
        self._in_order.append(serial)
        self._number += 1
        if spend:
            self.left -= 1
        if serial.origin == "seed":
            self.seeded += 1
            self.seeded_spent += spend
        else:
            self.sold += 1
            self._sales_by_file[serial.file] += 1
        return serial

    def _mark_stamped(self, serial: Serial, document_sha256: str, at: float) -> None:
        serial.status = "STAMP"
        serial.document_sha256 = document_sha256
        serial.updated_at = at
        self.stamped += 1

    def _set_quota(self, left: int) -> None:
        self.granted += left - self.left
        self.left = left

    def _drift_by(self, count: int) -> None:
        self.left -= count
        self.drift += count

    def _apply(self, entry: dict[str, Any]) -> None:
        match entry["op"]:
            case "open":
                self._clear(entry["quota"], entry["at"])
            case "sell":
                at = entry["at"]
                self._add(Serial(entry["sn"], entry["file"], entry["origin"], at, at), spend=entry["spend"])
            case "stamp":
                self._mark_stamped(self._serials[entry["sn"]], entry["sha256"], entry["at"])
            case "quota":
                self._set_quota(entry["left"])
            case "drift":
                self._drift_by(entry["count"])

    def _write(self, **entry: Any) -> None:
        if self._journal is not None:
            self._journal.append(entry)

    def _next_serial_number(self) -> str:
        """Unlike any other, also of an earlier run with the same seed: the books' opening time goes in."""
        text = f"{self._seed}:{self.opened_at}:{self._number}"
        value = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest(), "big")
        letters = []
        for _ in range(SERIAL_CHARS):
            value, digit = divmod(value, 36)
            letters.append(_ALPHABET[digit])
        return "".join(letters)
