"""The score of an order in its lane: its deadline's minute, then its age. Pure.

25 bits and 28 bits of a double's 53; `submit.lua` puts them together.
"""

from __future__ import annotations

AGE_BITS = 28
#: Minutes are counted from 2024 so that 25 bits last until 2087; the last one stands for "no deadline".
EPOCH_MIN = 1_704_067_200_000 // 60_000
NO_DEADLINE_MIN = 2**25 - 1


def lua_names() -> dict[str, str]:
    """What a minute of the deadline weighs in a score, as the scripts write it (`SCORE.MINUTE`)."""
    return {"SCORE.MINUTE": str(1 << AGE_BITS)}


def score_minute(deadline_ms: int | None) -> int:
    """The part of a lane's score that the deadline makes, in minutes."""
    if deadline_ms is None:
        return NO_DEADLINE_MIN
    return min(max(deadline_ms // 60_000 - EPOCH_MIN, 0), NO_DEADLINE_MIN - 1)


def minutes_until(score: float, now_ms: int) -> float | None:
    """Minutes until the deadline in a lane's score, negative when late; None where there is none."""
    minute = int(score) >> AGE_BITS
    return None if minute == NO_DEADLINE_MIN else minute + EPOCH_MIN - now_ms / 60_000
