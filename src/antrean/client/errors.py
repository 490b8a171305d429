"""What may go wrong for a caller of the API.

AntreanError
├── Refused   the gateway answered with a problem that a repetition does not change
└── GaveUp    no answer that counts within the caller's patience; for an order: whether it was taken is not known
"""

from __future__ import annotations

from antrean.client.models import Problem


class AntreanError(Exception):
    """Anything this package raises on purpose."""


class Refused(AntreanError):
    """A problem of RFC 9457. `name` is the last part of its type, such as `validation`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem['status']} {problem['title']}: {problem['detail']}")
        self.problem = problem
        self.status = problem["status"]
        self.name = problem["type"].rpartition("/")[2]


class GaveUp(AntreanError):
    """The time was over. Repeat with the same key to find out what became of it; `last` is the last thing seen."""

    def __init__(self, what: str, last: str) -> None:
        super().__init__(f"{what}: no answer in time ({last})")
        self.last = last
