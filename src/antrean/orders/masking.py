"""What of a person may be seen by everybody who sees the order. Pure."""

from __future__ import annotations

import re

#: 15 or 16 digits (an NPWP, a NIK), written together or in groups.
_IDENTITY_NUMBER = re.compile(r"(?<!\d)\d(?:[\s.-]{0,3}\d){14,15}(?!\d)")
#: What is said of a reason that holds one.
NO_IDENTITY_NUMBER = "must not hold an identity number: reasons are kept for good"
#: Words of a name that leave a trace; the rest leaves none.
WORDS_MAX = 4


def holds_identity_number(text: str) -> bool:
    """Whether digits in it look like an identity number: they would outlive the erasure of who it belongs to."""
    return _IDENTITY_NUMBER.search(text) is not None


def mask_number(identity_number: str) -> str:
    """`1271010101900001` as `1271********0001`; of a short one nothing but the last two."""
    if len(identity_number) >= 12:
        return identity_number[:4] + "*" * (len(identity_number) - 8) + identity_number[-4:]
    return "*" * max(len(identity_number) - 2, 0) + identity_number[-2:]


def mask_name(name: str) -> str:
    """`Siti Aminah` as `S*** A***`: enough to tell two papers apart, and no length is told."""
    return " ".join([word[0] + "***" for word in name.split()[:WORDS_MAX]])
