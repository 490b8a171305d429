"""The operations that serve the pages beside the API: sessions, pictures of pages, QR of a ticket, charts."""

from __future__ import annotations

from antrean.gateway import answers, answers_ops, routes_documents, routes_ops, routes_session
from antrean.gateway.operations import BINARY, JSON, PLAIN, PNG, SVG, Operation, query
from antrean.gateway.operations_ops import QUEUE
from antrean.gateway.operations_orders import DOCUMENTS, TICKETS

SESSIONS = "Sessions"

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/session"): Operation(
        "signIn",
        SESSIONS,
        "Exchange a key for a session cookie",
        {201: (JSON, answers.Session)},
        about=(
            "For people at a browser. The key stands in the Authorization header or in the body. The cookie is "
            "HttpOnly and SameSite=Strict; with it, every call that changes something needs the header "
            "X-Antrean-Page: 1. A page that also sends X-Antrean-Session-Of: {role}:{office}, as it was answered here, "
            "is answered 401 once the cookie stands for somebody else: tabs share it."
        ),
        body={JSON: routes_session.SessionIn},
        body_required=False,
        example={"key": "antrean_terminal_…"},
        problems=("unauthorized", "too-many-requests"),
        headers={"Set-Cookie": "The session."},
    ),
    ("GET", "/v1/session"): Operation(
        "whoAmI", SESSIONS, "Whose key or session this is", {200: (JSON, answers.Session)}
    ),
    ("DELETE", "/v1/session"): Operation(
        "signOut",
        SESSIONS,
        "End the session of the cookie",
        {204: None},
        about="The key goes on as it was.",
    ),
    ("GET", "/v1/documents/{id}/pages/{page}.png"): Operation(
        "drawPage",
        DOCUMENTS,
        "What a page of an upload looks like",
        {200: (PNG, BINARY)},
        about="For placing a stamp on it; shown as a reader shows it.",
        params=(
            query(
                "width",
                f"Pixels; {routes_documents.PICTURE_PX_DEFAULT} by default.",
                type="integer",
                minimum=routes_documents.PICTURE_PX_MIN,
                maximum=routes_documents.PICTURE_PX_MAX,
            ),
        ),
        problems=("pdf-too-complex", "pdf-damaged"),
        headers={
            "X-Page-Box": "What is seen of the page, in PDF points, before it is turned: x0 y0 x1 y1.",
            "X-Page-Rotation": "How the page is turned for the reader, in degrees clockwise.",
        },
    ),
    ("GET", "/v1/tickets/{token}/qr"): Operation(
        "getTicketQr",
        TICKETS,
        "The address of a ticket's page as a QR code",
        {200: (SVG, PLAIN)},
        problems=("too-many-requests",),
    ),
    ("GET", "/v1/ops/breaker/history"): Operation(
        "listBreakerChanges",
        QUEUE,
        "The last changes of each breaker, newest first",
        {200: (JSON, answers_ops.BreakerHistory)},
        params=(
            query(
                "limit",
                f"{routes_ops.HISTORY_DEFAULT} by default.",
                type="integer",
                minimum=1,
                maximum=routes_ops.HISTORY_MAX,
            ),
        ),
    ),
    ("GET", "/v1/ops/trend"): Operation(
        "getTrend",
        QUEUE,
        "The queue of the last two hours, as this gateway saw it",
        {200: (JSON, answers_ops.Trend)},
    ),
}
