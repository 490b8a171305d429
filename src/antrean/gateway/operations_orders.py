"""The operations of a counter and of those who wait: orders, documents, tickets."""

from __future__ import annotations

from typing import Any

from antrean.gateway import answers, submissions
from antrean.gateway.operations import (
    BINARY,
    EVENTS,
    FORM,
    JSON,
    PDF,
    PNG,
    Operation,
    Param,
    header,
    query,
)
from antrean.gateway.routes_orders import LIST_DEFAULT, LIST_MAX, OPEN, REFERENCE_CHARS_MAX, WAIT_MAX_S
from antrean.orders.states import State

ORDERS, DOCUMENTS, TICKETS = "Orders", "Documents", "Tickets"

LANGUAGE = header("Accept-Language", "`id` or `en`: the language of `holding.text`; Indonesian by default.")
KEY = header(
    "Idempotency-Key",
    "A new one for each order, the same one for each repetition of it. Kept for 60 days, by office.",
    required=True,
    minLength=1,
    maxLength=submissions.KEY_CHARS_MAX,
    pattern="^[!-~]([ -~]*[!-~])?$",
)
LIMIT = {"type": "integer", "minimum": 1}

PURCHASE: dict[str, Any] = {
    "kind": "purchase",
    "document": {"type_code": "4b", "number": "SK-1", "date": "2024-09-04", "filename": "surat.pdf"},
    "taxpayer": {"identity_type": "KTP", "identity_number": "1271010101900001", "name": "Siti Aminah"},
    "reference": "loket-3/0041",
}
AFFIX: dict[str, Any] = PURCHASE | {
    "kind": "affix",
    "document_id": "01j6x3p5q8r9s0t1v2w3x4y5z6",
    "placement": {"page": 1, "x": 400, "y": 60, "width": 90, "height": 90},
}

_OF_ORDER = {"id": "$response.body#/id"}
_ORDER_LINKS = {
    "read": ("getOrder", _OF_ORDER),
    "cancel": ("cancelOrder", _OF_ORDER),
    "picture": ("getQr", _OF_ORDER),
    "stampedDocument": ("getDocument", _OF_ORDER),
    "ticket": ("getTicket", {"token": "$response.body#/ticket/token"}),
}
_OF_FIRST = {"id": "$response.body#/orders/0/id"}
_FROM_LIST = {
    "read": "getOrder",
    "follow": "followOrder",
    "picture": "getQr",
    "replay": "replayOrder",
    "refund": "refundOrder",
}
_REFUSALS = (
    "idempotency-key-reused",
    "document-not-found",
    "purchase-not-found",
    "purchase-not-completed",
    "serial-not-found",
    "serial-in-use",
    "office-backlog-full",
    "backlog-full",
    "not-ready",
)
_PDF_REFUSALS = (
    "pdf-not-a-pdf",
    "pdf-encrypted",
    "pdf-damaged",
    "pdf-without-pages",
    "pdf-too-many-pages",
    "pdf-page-size",
    "pdf-active-content",
    "pdf-too-complex",
)

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("POST", "/v1/orders"): Operation(
        "submitOrder",
        ORDERS,
        "Submit an order",
        {202: (JSON, answers.Order)},
        about=(
            "202 is answered once the order is on disk. After a lost answer repeat with the same key and body: "
            "the same order comes back, marked `Idempotent-Replayed`."
        ),
        params=(KEY, LANGUAGE),
        body={JSON: submissions.ORDER},
        example=PURCHASE,
        problems=("idempotency-key", *_REFUSALS),
        links={202: _ORDER_LINKS},
        headers={
            "Location": "Where the order is read.",
            "Idempotent-Replayed": "`true` where this key was accepted before.",
        },
    ),
    ("GET", "/v1/orders"): Operation(
        "listOrders",
        ORDERS,
        "List orders, newest first",
        {200: (JSON, answers.OrderPage), 304: None},
        about=(
            "A counter's key sees its own office. A page may be short and still have a cursor. The list of one office "
            "has an `ETag`: who asks again and again sends it as `If-None-Match`, and gets 304 while no order of it "
            "changed and nothing began or ceased to hold orders back. Places and times may be 10 seconds old then, and "
            "60 while all orders stand still."
        ),
        params=(
            query(
                "state", f"Only orders in this state; `{OPEN}`: not at their end.", enum=[*State, OPEN, ""]
            ),
            query("office", "Only this office's orders.", type="string"),
            query("reference", "Only this reference.", type="string", maxLength=REFERENCE_CHARS_MAX),
            query("cursor", "`next_cursor` of the page before.", type="string", pattern="^[0-9]{0,15}$"),
            Param("limit", "query", f"{LIST_DEFAULT} by default.", LIMIT | {"maximum": LIST_MAX}),
            header("If-None-Match", "The ETag of what you have seen."),
            LANGUAGE,
        ),
        headers={"ETag": "Of the list of one office: names what was answered."},
        links={200: {name: (target, _OF_FIRST) for name, target in _FROM_LIST.items()}},
    ),
    ("POST", "/v1/search"): Operation(
        "searchOrders",
        ORDERS,
        "Find orders again",
        {200: (JSON, answers.OrderPage)},
        about=(
            "By the number on a ticket, its code or address, a part of the reference, of the document's number or of "
            "the serial number, or by the whole name or identity number of the one who pays. In the body, so that none "
            "of it stands in an address. A page may be short, or empty, and still have a cursor."
        ),
        params=(LANGUAGE,),
        body={JSON: submissions.SearchIn},
        example={"text": "17"},
    ),
    ("POST", "/v1/batches"): Operation(
        "submitBatch",
        ORDERS,
        "Submit up to 100 orders",
        {207: (JSON, answers.Batch)},
        about="Each row has its own `idempotency_key` and its own result, in the order sent.",
        params=(LANGUAGE,),
        body={JSON: submissions.BatchIn},
        example={"orders": [PURCHASE | {"idempotency_key": "loket-3-0041"}]},
        links={207: {"first": ("getOrder", {"id": "$response.body#/results/0/order/id"})}},
    ),
    ("GET", "/v1/orders/{id}"): Operation(
        "getOrder",
        ORDERS,
        "Read an order, or wait for its next change",
        {200: (JSON, answers.Order), 304: None},
        about=(
            "With `wait` the answer comes at the next change, at once for an order at its end, or when the time is "
            "over. Send the `ETag` you have as `If-None-Match`, and no change between two calls is missed."
        ),
        params=(
            query("wait", "Seconds.", type="number", minimum=0, maximum=WAIT_MAX_S),
            header("If-None-Match", "The ETag of what you have seen."),
            LANGUAGE,
        ),
        headers={"ETag": "Names what was answered."},
    ),
    ("POST", "/v1/orders/{id}/cancel"): Operation(
        "cancelOrder",
        ORDERS,
        "Withdraw an order",
        {200: (JSON, answers.Order)},
        about=(
            "Works while provably nothing was bought for it, and for an affix in `attention` that brought its own SN, "
            "which is free again then; one that may be stamped already is withdrawn by ops alone. Who did it, and why "
            "where that is said, is kept in the history."
        ),
        body={JSON: submissions.CancelIn},
        body_required=False,
        example={"reason": "the office has closed"},
        params=(LANGUAGE,),
        problems=("not-cancellable",),
    ),
    ("GET", "/v1/orders/{id}/events"): Operation(
        "followOrder",
        ORDERS,
        "Follow an order",
        {200: (EVENTS, {}), 204: None},
        about=(
            "Server-sent events named `order`; `data` is the order, `id` its version. A comment comes every 15 "
            "seconds. The stream ends with the order, and after an hour. 204: it is at its end, and you have seen it."
        ),
        params=(header("Last-Event-ID", "The last id seen: what came after it is told first."), LANGUAGE),
    ),
    ("GET", "/v1/orders/{id}/qr"): Operation(
        "getQr",
        ORDERS,
        "The picture of the stamp",
        {200: (PNG, BINARY)},
        problems=("not-available-yet", "erased"),
    ),
    ("GET", "/v1/orders/{id}/document"): Operation(
        "getDocument",
        ORDERS,
        "The stamped PDF",
        {200: (PDF, BINARY)},
        params=(query("inline", "`1`: to be shown by a browser, not kept as a file.", type="string"),),
        problems=("not-available-yet", "erased"),
    ),
    ("POST", "/v1/documents"): Operation(
        "uploadDocument",
        DOCUMENTS,
        "Upload a PDF to be stamped",
        {201: (JSON, answers.Upload)},
        about="The bare file, or a form with a part `file`. What could not be stamped as it is, is refused.",
        body={
            PDF: BINARY,
            FORM: {"type": "object", "required": ["file"], "properties": {"file": BINARY}},
        },
        problems=("not-ready", *_PDF_REFUSALS),
        links={201: {"firstPage": ("drawPage", {"id": "$response.body#/id", "page": "1"})}},
    ),
    ("GET", "/v1/tickets/{token}"): Operation(
        "getTicket",
        TICKETS,
        "Where a ticket stands",
        {200: (JSON, answers.Ticket)},
        about="For the citizen: the token on the paper is all that is needed. No personal data.",
        params=(LANGUAGE,),
        problems=("too-many-requests",),
    ),
}
