"""Foreign errors become the provider's five here, and nowhere else: httpx errors, HTTP statuses, result codes.

The one question asked of each is: what could have happened upstream?

    what we saw                                     a call that spends or stamps    a free question
    ------------------------------------------------------------------------------------------------
    no connection (refused, DNS, connect timeout)   Unavailable, not sent           Unavailable, not sent
    no slot of ours free                            Unavailable, not sent           Unavailable, not sent
    503, 429                                        Unavailable, sent               Unavailable, sent
    401, 403, code 01                               TokenRefused (once: log in)     the same
    code 93 · 97, 92 · any other code               QuotaExhausted · SerialUnusable (stamp, picture) · Rejected
    4xx with a code that can be read                by its code                     by its code
    4xx without one (not 408)                       OutcomeUnknown                  NotServed: Unavailable, sent; of a
                                                                                    picture NoPicture, unless it is HTML
    500, 502, 504, 408, 3xx, other statuses         OutcomeUnknown                  Unavailable, sent
    read timeout, reset, half a request             OutcomeUnknown                  Unavailable, sent
    200 with HTML, half a JSON, no code, no SN      OutcomeUnknown                  Unavailable, sent
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any

import httpx

from antrean.provider.errors import (
    OutcomeUnknown,
    ProviderError,
    QuotaExhausted,
    Rejected,
    SerialUnusable,
    Unavailable,
)

#: Longest message of the upstream that is passed on, in characters.
MESSAGE_MAX = 200
#: Longest code of the upstream that is passed on, in characters.
CODE_MAX = 16
#: Longest Retry-After that is believed, in seconds.
RETRY_AFTER_MAX_S = 300.0

DONE = "00"
TOKEN_REFUSED = "01"  # noqa: S105 - a result code
QUOTA_USED_UP = "93"
SERIAL_UNUSABLE = frozenset({"97", "92"})
NO_PICTURE = "no-picture"  # ours, where there is none

_JWT = re.compile(r"[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
_LONG_NUMBER = re.compile(r"\d(?:[ .\-]?\d){7,}")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+|<[^>]{0,200}>")


class Effect(Enum):
    """What a call does upstream, and so what its lost answer means."""

    SPENDS = "spends"  # generate: may have bought
    STAMPS = "stamps"  # may have stamped
    FREE = "free"  # changes nothing


class TokenRefused(Unavailable):
    """The token is not taken (code 01, status 401 or 403): nothing happened; log in again, once."""


class NotServed(Unavailable):
    """A free question was answered by a 4xx without a readable code: the server is there, and says no.

    `page`: the answer was a page of HTML, as a proxy sends it whose application is away.
    """

    def __init__(self, message: str, *, page: bool) -> None:
        super().__init__(message, sent=True)
        self.page = page


class NoPicture(Rejected):
    """NotServed where the question was an SN's picture: there is none of this SN. It does not say whether the upstream
    is well: other calls may be answered or not.
    """

    def __init__(self, message: str) -> None:
        super().__init__(NO_PICTURE, message)


class LoginFailed(Unavailable):
    """No token could be had. That is the provider's trouble, even where the call itself goes to the signing adapter.

    `ours`: this call tried to log in itself. One that found another's login failing has learnt nothing new.
    """

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, sent: bool = False, ours: bool = False
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s, sent=sent)
        self.ours = ours


def lost(effect: Effect, message: str) -> ProviderError:
    """The error for an answer that did not come or can not be read, after the request was sent."""
    if effect is Effect.FREE:
        return Unavailable(message, sent=True)
    return OutcomeUnknown(message)


def transport_error(error: Exception, effect: Effect) -> ProviderError:
    """The error for what httpx raised instead of an answer."""
    if isinstance(error, httpx.PoolTimeout):
        return Unavailable("no connection of ours is free")
    if isinstance(error, httpx.ConnectTimeout):
        return Unavailable("the upstream does not take connections")
    if isinstance(error, httpx.ConnectError):
        return Unavailable("the upstream refuses connections")
    if isinstance(error, (httpx.UnsupportedProtocol, httpx.InvalidURL)):
        return Unavailable(
            "the upstream's address is not a URL that can be called, or our token can not be sent"
        )
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return lost(effect, "the upstream did not answer in time")
    return lost(effect, "the connection to the upstream broke")


def read_answer(
    response: httpx.Response, body: bytes, effect: Effect, private: Iterable[str] = ()
) -> dict[str, Any]:
    """The JSON object of a good answer (code 00, or 0). Raises the ProviderError that any other one means.

    `private`: texts of the request that the upstream may repeat and that must go no further.
    """
    status = response.status_code
    if status in (503, 429):
        wait_s = retry_after_s(response.headers.get("retry-after"), datetime.now(UTC))
        raise Unavailable("the upstream is too busy", retry_after_s=wait_s, sent=True)
    if status in (401, 403):
        raise TokenRefused("the upstream does not take our token", sent=True)
    readable = status == 200 or status == 201 or (400 <= status < 500 and status != 408)
    answer = _json_object(body) if readable else None
    code = None if answer is None else result_code(answer)
    if readable and status >= 400 and code is None and effect is Effect.FREE:
        raise NotServed(
            f"the upstream has no answer to this (status {status})", page=body.lstrip().startswith(b"<")
        )
    if answer is None:
        raise lost(effect, f"the upstream answered with something unreadable (status {status})")
    if code is None or (code == DONE and status >= 400):
        raise lost(effect, f"the upstream answered without a result code (status {status})")
    if code == DONE:
        return answer
    said = answer.get("message") or answer.get("errorMessage") or answer.get("result")
    message = clean(said if isinstance(said, str) else "", private)
    if code == TOKEN_REFUSED:
        raise TokenRefused("the upstream does not take our token", sent=True)
    if code == QUOTA_USED_UP:
        raise QuotaExhausted(message or "the account's quota is used up")
    raise Rejected(clean(code, private)[:CODE_MAX], message or "the upstream refused without saying why")


def result_code(answer: dict[str, Any]) -> str | None:
    """The code of an answer as two digits or more ("00" for 0); None where there is none."""
    for name in ("statusCode", "errorCode"):
        code = answer.get(name)
        if isinstance(code, bool):
            continue
        if isinstance(code, int) or (isinstance(code, str) and code.strip()):
            text = str(code).strip()
            return text.zfill(2) if text.isdigit() else text
    return None


def clean(message: str, private: Iterable[str] = ()) -> str:
    """The upstream's words without anything private or unprintable, at most MESSAGE_MAX characters."""
    text = message[: MESSAGE_MAX * 10]
    for secret in private:
        if len(secret) >= 2:
            text = re.sub(re.escape(secret), "***", text, flags=re.IGNORECASE)
    text = _JWT.sub("***", text)
    text = _LONG_NUMBER.sub("***", text)
    text = _UNPRINTABLE.sub(" ", text)
    return " ".join(text.split())[:MESSAGE_MAX]


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds of a Retry-After header (RFC 9110: seconds or an HTTP date), bounded; None where it says nothing."""
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:9]), RETRY_AFTER_MAX_S)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, min((at - now).total_seconds(), RETRY_AFTER_MAX_S))


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def of_a_serial(error: Rejected) -> Rejected | SerialUnusable:
    """What a rejection says where an SN was named in the call: two of the codes speak of that SN."""
    return SerialUnusable(error.code, error.message) if error.code in SERIAL_UNUSABLE else error
