"""Errors as RFC 9457 problems. Every type is listed once, with its status and title; none repeats an input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web

MEDIA_TYPE = "application/problem+json"

#: Name → status and title. The `type` of a problem is `/problems/<name>`.
TYPES: dict[str, tuple[int, str]] = {
    "bad-request": (400, "The request can not be read"),
    "broken-json": (400, "The body is not valid JSON"),
    "idempotency-key": (400, "Idempotency-Key is missing or not valid"),
    "unauthorized": (401, "A valid key is needed"),
    "forbidden": (403, "This key may not do that"),
    "not-our-page": (403, "The request does not come from one of our pages"),
    "not-found": (404, "Not found"),
    "not-available-yet": (404, "Not available yet"),
    "method-not-allowed": (405, "Method not allowed"),
    "timeout": (408, "The request took too long to arrive"),
    "not-cancellable": (409, "The order can not be cancelled any more"),
    "not-replayable": (409, "The order can not be put back"),
    "not-refundable": (409, "The order can not be refunded"),
    "not-erasable": (409, "The order can not be erased yet"),
    "pool-empty": (409, "There is no serial number in the pool"),
    "key-in-use": (409, "That key is in use by this very request"),
    "key-ended": (409, "The key is at its end"),
    "key-fixed": (409, "The key is set in the settings"),
    "purchase-not-completed": (409, "That purchase is not completed yet"),
    "serial-in-use": (409, "That serial number is in use"),
    "erased": (410, "Erased"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The content type is not supported"),
    "validation": (422, "The input is not valid"),
    "idempotency-key-reused": (422, "The Idempotency-Key was used with another body"),
    "document-not-found": (422, "No such document"),
    "purchase-not-found": (422, "No such purchase order"),
    "serial-not-found": (422, "No such serial number"),
    "pdf-not-a-pdf": (422, "Not a PDF"),
    "pdf-encrypted": (422, "The PDF is encrypted"),
    "pdf-damaged": (422, "The PDF is damaged"),
    "pdf-without-pages": (422, "The PDF has no page"),
    "pdf-too-many-pages": (422, "The PDF has too many pages"),
    "pdf-page-size": (422, "A page of the PDF has an absurd size"),
    "pdf-active-content": (422, "The PDF holds active content"),
    "pdf-too-complex": (422, "The PDF is too complex"),
    "too-many-requests": (429, "Too many requests"),
    "office-backlog-full": (429, "This office has too many open orders"),
    "internal-error": (500, "An error on our side"),
    "unavailable": (503, "Not available just now"),
    "not-ready": (503, "Orders can not be accepted durably just now"),
    "backlog-full": (503, "The backlog is full"),
}

#: What a client is asked to wait before it tries again, in seconds, where nothing better is known.
RETRY_AFTER_S = {"unavailable": 2, "not-ready": 5, "backlog-full": 30, "office-backlog-full": 10}


class Problem(Exception):
    """An error answer. `errors`: fields at fault, each with field, rule and message."""

    def __init__(
        self,
        name: str,
        detail: str,
        *,
        errors: Iterable[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name)
        self.name = name
        self.status, self.title = TYPES[name]
        self.detail = detail
        self.errors = [dict(error) for error in errors]
        self.headers = dict(headers or {})
        if name in RETRY_AFTER_S:
            self.headers.setdefault("Retry-After", str(RETRY_AFTER_S[name]))

    def body(self, request_id: str) -> dict[str, Any]:
        """The problem object."""
        body: dict[str, Any] = {
            "type": f"/problems/{self.name}",
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.errors:
            body["errors"] = self.errors
        return body

    def response(self, request_id: str) -> web.Response:
        """The answer."""
        return web.Response(
            body=orjson.dumps(self.body(request_id)),
            status=self.status,
            content_type=MEDIA_TYPE,
            headers=self.headers,
        )


def retry_after_s(problem_type: str) -> int:
    """Seconds after which it may be tried again what met a problem of this type; 0 where that is of no use."""
    return RETRY_AFTER_S.get(problem_type.removeprefix("/problems/"), 0)


def invalid(field: str, rule: str, message: str) -> Problem:
    """One field breaks one rule."""
    return invalid_fields([{"field": field, "rule": rule, "message": message}])


def invalid_fields(errors: list[dict[str, str]]) -> Problem:
    """Fields break rules; the detail names them for those who read nothing else."""
    shown = "; ".join(f"{e['field']}: {e['message']}" for e in errors[:3])
    more = f"; and {len(errors) - 3} more" if len(errors) > 3 else ""
    return Problem("validation", shown + more, errors=errors)
