"""A worker on a machine whose clock is wrong: `python tests/shifted_worker.py SECONDS_AHEAD`."""

from __future__ import annotations

import datetime
import sys
import time
from typing import Any


def shift(by_s: float) -> None:
    """Every way in which Python tells the date; clocks that only measure stay as they are."""
    real_s, real_ns = time.time, time.time_ns
    time.time = lambda: real_s() + by_s
    time.time_ns = lambda: real_ns() + int(by_s * 1e9)

    class Shifted(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(time.time(), tz)

    datetime.datetime = Shifted  # type: ignore[misc]


if __name__ == "__main__":
    shift(float(sys.argv[1]))
    from antrean.cli import main

    main(["worker"])
