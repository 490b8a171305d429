"""pybreaker's storage for a breaker whose truth is elsewhere: it mirrors what a script last answered.

pybreaker's own Redis storage swallows Redis errors and so fails open, and its machine would move the state from
whichever process it runs in. Here only the scripts move it; a change seen through the mirror makes pybreaker
swap its state object and call its listeners' `state_change`, which is all it is asked to do.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pybreaker

from antrean.provider.policy import BreakerState

_NAMES = {
    BreakerState.CLOSED: pybreaker.STATE_CLOSED,
    BreakerState.OPEN: pybreaker.STATE_OPEN,
    BreakerState.HALF_OPEN: pybreaker.STATE_HALF_OPEN,
}

#: pybreaker leaves "open" by itself after this many seconds; ours is left by a probe alone.
NEVER_S = 10.0 * 365 * 86400
#: pybreaker opens by itself after this many failures in a row; ours opens by the window's rates alone.
NEVER_FAILURES = 2**62


class MirrorStorage(pybreaker.CircuitBreakerStorage):
    """The state last seen. Its setters change nothing: a process may not move a state that all share."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._seen = BreakerState.CLOSED

    def see(self, state: BreakerState) -> None:
        """Take over what a script answered, or `open` where Redis could not be asked."""
        self._seen = state

    @property
    def state(self) -> str:
        """The state last seen, spelled as pybreaker spells it."""
        return _NAMES[self._seen]

    @state.setter
    def state(self, state: str) -> None:
        """Does nothing, see the class."""

    @property
    def counter(self) -> int:
        """Zero: the counts are in the shared window."""
        return 0

    @property
    def success_counter(self) -> int:
        """Zero: the counts are in the shared window."""
        return 0

    @property
    def opened_at(self) -> datetime | None:
        """Now, as long as it is open, so that pybreaker never thinks its time is over."""
        return datetime.now(UTC)

    @opened_at.setter
    def opened_at(self, at: datetime) -> None:
        """Does nothing, see the class."""


def machine(name: str, storage: MirrorStorage) -> pybreaker.CircuitBreaker:
    """pybreaker's state machine on top of the mirror: its state classes and listeners, none of its decisions."""
    return pybreaker.CircuitBreaker(
        fail_max=NEVER_FAILURES,
        reset_timeout=NEVER_S,
        state_storage=storage,
        name=name,
        throw_new_error_on_trip=False,
    )
