"""The provider's errors, one tree, made in one place.

    ProviderError
    ├── Unavailable       did not happen; safe to repeat (refused, 503/429, breaker open, no token)
    ├── OutcomeUnknown    may have happened: lost or unreadable answer after the request was sent
    ├── Rejected          the upstream said no, for good; nothing happened
    ├── QuotaExhausted    the account's quota is used up; nothing happened, no fault of order or server
    └── SerialUnusable    this SN can not be stamped (upstream codes 97 and 92)

Everything above the provider decides by these five and by nothing else. Foreign errors (httpx, JSON,
redis) are translated once, at the edge. Messages never hold an identity number, a name or a token.
"""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

#: The longest Retry-After that is simply kept to, in seconds. An upstream that asks for more says that it is away. Then
#: the breaker opens, so that orders are shown as held and the probes notice when it is back sooner.
ASKED_WAIT_MAX_S = 10.0


class ProviderError(Exception):
    """Base of the tree; never raised itself.

    `message` is fit to be shown to a clerk: no secret, no personal data.
    """

    #: Seconds between two trials of a half-open breaker, where this error is the outcome of such a trial: it says
    #: little about the order then. 0 for any other call.
    trial_every_s = 0.0
    #: False where nothing was sent because we held the call back ourselves, as an open breaker does.
    tried = True

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Unavailable(ProviderError):
    """The call did not take effect, so it may be repeated.

    `retry_after_s`: seconds the upstream asked us to wait, when it did.
    `sent`: False where no byte of the request can have reached the upstream.
    `refused_by_breaker`: True where the breaker is open.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        sent: bool = False,
        refused_by_breaker: bool = False,
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.sent = sent
        self.refused_by_breaker = refused_by_breaker
        if refused_by_breaker:
            self.tried = False


class OutcomeUnknown(ProviderError):
    """The call may have taken effect: never repeat a generate after this, ask instead.

    `late`: the call that goes on in the background after we gave up waiting; it ends with the same
    result type as the call itself, or with a ProviderError. None where the connection is gone.
    """

    def __init__(self, message: str, *, late: Awaitable[Any] | None = None) -> None:
        super().__init__(message)
        self.late = late


class Rejected(ProviderError):
    """A final no, with the upstream's own code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class QuotaExhausted(ProviderError):
    """The account has no stamps left (upstream code 93)."""


class SerialUnusable(ProviderError):
    """This SN can not be stamped on this document (upstream codes 97, 92)."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
