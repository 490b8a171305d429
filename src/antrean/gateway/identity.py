"""Whether an identity number can be one. Pure; no message here holds a number."""

from __future__ import annotations

import re

#: First two digits of a NIK: provinces by Kemendagri's code, with the gaps that new ones have filled so far.
PROVINCES = frozenset(
    {*range(11, 22), *range(31, 37), *range(51, 54), *range(61, 66), *range(71, 77), 81, 82, *range(91, 98)}
)
#: A woman's day of birth is written with 40 added.
WOMAN = 40
#: Days of each month, by number. The century is not told, so 29 February is taken in any year.
_DAYS = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PASSPORT = re.compile(r"[A-Z0-9]{5,20}")


def _nik_pattern() -> str:
    provinces = "|".join(f"{code:02}" for code in sorted(PROVINCES))
    tens = "(?:0[1-9]|[1-9][0-9])"
    # Days as they are written for men and for women, with the months that have them.
    births = (
        "(?:(?:0[1-9]|[12][0-9]|4[1-9]|[56][0-9])(?:0[1-9]|1[0-2])"
        "|(?:30|70)(?:0[13-9]|1[0-2])|(?:31|71)(?:0[13578]|1[02]))"
    )
    return f"^(?:{provinces}){tens}{tens}{births}[0-9]{{2}}(?!0000)[0-9]{{4}}$"


#: The same rules as patterns, for the OpenAPI document.
PATTERNS = {
    "KTP": _nik_pattern(),
    "NPWP": "^[0-9]{15,16}$",
    **dict.fromkeys(("PASSPORT", "KITAS", "KITAP"), "^[A-Z0-9]{5,20}$"),
}

_NIK = re.compile(PATTERNS["KTP"])


def fault(identity_type: str, number: str) -> tuple[str, str] | None:
    """The rule that a number breaks and words for it, or None."""
    if identity_type == "KTP":
        return nik_fault(number)
    if identity_type == "NPWP":
        if not (number.isascii() and number.isdigit() and len(number) in (15, 16)):
            return "npwp-digits", "an NPWP has 15 or 16 digits"
        return None
    if not _PASSPORT.fullmatch(number):
        return "alphanumeric", "must be 5 to 20 capital letters and digits"
    return None


def nik_fault(nik: str) -> tuple[str, str] | None:
    """Region (6), date of birth DDMMYY (6, day + 40 for women), running number (4)."""
    # Nearly all are sound, and one comparison tells.
    if _NIK.fullmatch(nik):
        return None
    if not (len(nik) == 16 and nik.isascii() and nik.isdigit()):
        return "nik-digits", "a NIK has exactly 16 digits"
    if int(nik[:2]) not in PROVINCES or nik[2:4] == "00" or nik[4:6] == "00":
        return "nik-region", "the NIK's first six digits are no region"
    day, month = int(nik[6:8]), int(nik[8:10])
    day -= WOMAN if day > WOMAN else 0
    if not (1 <= month <= 12 and 1 <= day <= _DAYS[month]):
        return "nik-birth-date", "the NIK's digits 7 to 12 are no date of birth (DDMMYY, day + 40 for women)"
    if nik[12:] == "0000":
        return "nik-serial", "the NIK's last four digits must not be 0000"
    return None
