"""The operations of ops and of machines: breakers, backlog, decisions, books, keys; health, metrics, this document."""

from __future__ import annotations

from pydantic import TypeAdapter

from antrean.gateway import answers, answers_ops, routes_books, routes_keys, routes_privacy, submissions
from antrean.gateway.operations import CSV, HTML, JSON, PLAIN, TEXT, Operation, Param, query
from antrean.gateway.operations_orders import LANGUAGE, LIMIT
from antrean.orders.ledger_csv import Separator

QUEUE, DECISIONS, BOOKS, KEYS, SERVICE = "Queue", "Decisions", "Books", "Keys", "Service"

_PAUSE = TypeAdapter(answers_ops.Paused | answers_ops.Running)
_OF_FIRST = {"id": "$response.body#/orders/0/id"}
_OF_KEY = {"id": "$response.body#/id"}
#: Of a parameter that may also be there and empty.
_DAY_OR_NONE = "^([0-9]{4}-[0-9]{2}-[0-9]{2})?$"
_OPS_ONLY = "Only ops may; a counter's key is told so for its own office's order."

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/ops/breaker"): Operation(
        "listBreakers", QUEUE, "The breakers", {200: (JSON, answers_ops.Breakers)}
    ),
    ("PUT", "/v1/ops/breaker/{name}/override"): Operation(
        "overrideBreaker",
        QUEUE,
        "Force a breaker open or closed for a time",
        {200: (JSON, answers_ops.Breaker)},
        about="Kept with who, why and until when.",
        body={JSON: submissions.OverrideIn},
        example={"state": "open", "reason": "maintenance at the upstream", "expires_in_s": 600},
    ),
    ("DELETE", "/v1/ops/breaker/{name}/override"): Operation(
        "liftBreakerOverride",
        QUEUE,
        "Let a breaker judge for itself again",
        {200: (JSON, answers_ops.Breaker)},
        about="The same where it was not forced. A reason is kept in the breaker's history with who lifted it.",
        body={JSON: submissions.LiftIn},
        body_required=False,
        example={"reason": "the upstream's maintenance is over"},
    ),
    ("GET", "/v1/ops/backlog"): Operation(
        "getBacklog",
        QUEUE,
        "The queue at this moment",
        {200: (JSON, answers_ops.Backlog)},
        params=(LANGUAGE,),
    ),
    ("PUT", "/v1/ops/pause"): Operation(
        "pauseDraining",
        QUEUE,
        "Stop draining",
        {200: (JSON, _PAUSE)},
        about="Accepting goes on. A pause that is on already keeps its reason.",
        body={JSON: submissions.PauseIn},
        example={"reason": "stock-taking"},
    ),
    ("DELETE", "/v1/ops/pause"): Operation(
        "resumeDraining",
        QUEUE,
        "Go on draining",
        {200: (JSON, _PAUSE)},
        about="The same where nothing is paused. A reason goes on record with who gave it.",
        body={JSON: submissions.LiftIn},
        body_required=False,
        example={"reason": "the stock is taken"},
    ),
    ("DELETE", "/v1/ops/holds/balance_unexplained"): Operation(
        "liftBalanceHold",
        QUEUE,
        "Purchases go on: the balance is explained",
        {200: (JSON, answers_ops.Lifted)},
        about="A reason goes on record with who gave it.",
        body={JSON: submissions.LiftIn},
        body_required=False,
        example={"reason": "bought by hand on the portal"},
    ),
    ("GET", "/v1/ops/attention"): Operation(
        "listAttention",
        DECISIONS,
        "Orders that wait for a person, the longest first",
        {200: (JSON, answers_ops.Attention)},
        params=(LANGUAGE,),
        links={200: {"replay": ("replayOrder", _OF_FIRST), "refund": ("refundOrder", _OF_FIRST)}},
    ),
    ("POST", "/v1/orders/{id}/replay"): Operation(
        "replayOrder",
        DECISIONS,
        "Put back an order that waits for a person",
        {200: (JSON, answers.Order)},
        about=(
            "`ask`: ask the upstream once more whether it was bought; `not_bought`: a person knows that it was not; "
            "`new_serial`: go on with an SN from the pool, the old one can not be used; `auto`: go on with what it "
            "has. `GET /v1/ops/attention` says which fit. " + _OPS_ONLY
        ),
        body={JSON: routes_books.ReplayIn},
        body_required=False,
        example={"decision": "auto", "reason": "the adapter is repaired"},
        problems=("not-replayable", "pool-empty"),
    ),
    ("POST", "/v1/orders/{id}/refund"): Operation(
        "refundOrder",
        DECISIONS,
        "Record that the money was given back",
        {200: (JSON, answers.Order)},
        about="For an order that came to nothing. " + _OPS_ONLY,
        body={JSON: routes_books.RefundIn},
        example={"reason": "paid out at the counter"},
        problems=("not-refundable",),
    ),
    ("POST", "/v1/orders/{id}/erase"): Operation(
        "eraseOrder",
        DECISIONS,
        "Erase the personal data of an order before its time",
        {200: (JSON, answers.Order)},
        about="Number, name, documents and picture go; serial number, ledger and history stay. " + _OPS_ONLY,
        body={JSON: routes_privacy.EraseIn},
        example={"reason": "asked for by the citizen"},
        problems=("not-erasable",),
    ),
    ("GET", "/v1/orders/{id}/access"): Operation(
        "listAccess",
        BOOKS,
        "Who looked at an order's personal data",
        {200: (JSON, answers.Accesses)},
        about=(
            "Views of the full identity number, downloads of the stamped document and views of the upload's pages, the "
            "latest 200 each; the same key within a minute counts once."
        ),
    ),
    ("POST", "/v1/ops/deadlines"): Operation(
        "moveDeadlines",
        DECISIONS,
        "Move every open order due in a range to a new deadline",
        {200: (JSON, answers_ops.Moved)},
        about="A date stands for that day in Jakarta: the whole of it as `from`, its last minute as `to`.",
        body={JSON: routes_books.DeadlinesIn},
        example={"from": "2024-09-06", "to": "2024-09-10", "reason": "the deadline was moved"},
    ),
    ("GET", "/v1/ops/ledger"): Operation(
        "getLedger",
        BOOKS,
        "Totals, days, and entries in the order written",
        {200: (JSON, answers_ops.Ledger)},
        about=(
            "paid = stamped + bought_unused + refunded + held, at every moment. Days come with the first page. "
            "Totals, days and entries of one answer are of one moment. A parameter that is not known here is refused."
        ),
        params=(
            query(
                "until",
                "The last of the days, as YYYY-MM-DD; today by default. A month up to it, less where that is too much.",
                type="string",
                pattern=_DAY_OR_NONE,
            ),
            query(
                "cursor",
                "`next_cursor` of the page before.",
                type="string",
                pattern="^([0-9]{1,15}-[0-9]{1,15})?$",
            ),
            Param(
                "limit",
                "query",
                f"{routes_books.ROWS_DEFAULT} by default.",
                LIMIT | {"maximum": routes_books.ROWS_MAX},
            ),
        ),
    ),
    ("GET", "/v1/ops/ledger.csv"): Operation(
        "getLedgerCsv",
        BOOKS,
        "The book as CSV, whole or a part of it",
        {200: (CSV, PLAIN)},
        about=(
            "The last column is the day of the books, which turn over at midnight in Jakarta. A parameter that is not "
            "known here is refused."
        ),
        params=(
            query("office", "Only this office's entries.", type="string"),
            *(
                query(name, f"{said}, as YYYY-MM-DD.", type="string", pattern=_DAY_OR_NONE)
                for name, said in (("from", "The first day wanted"), ("to", "The last day wanted"))
            ),
            query(
                "separator",
                "What stands between two cells: a comma by default. Excel with the settings of Indonesia needs the "
                "semicolon; then the file begins with a byte order mark.",
                enum=["", *Separator],
            ),
        ),
        problems=("validation",),
    ),
    ("GET", "/v1/ops/keys"): Operation(
        "listKeys", KEYS, "All keys, without their secrets", {200: (JSON, answers_ops.Keys)}
    ),
    ("POST", "/v1/ops/keys"): Operation(
        "createKey",
        KEYS,
        "Make a key",
        {201: (JSON, answers_ops.KeyMade)},
        about="Its text is in this answer and nowhere else. A key of ops sees all offices, whatever its own.",
        body={JSON: routes_keys.KeyIn},
        example={"role": "terminal", "office": "MDN-01", "expires_in_s": 31536000},
        links={201: {"rotate": ("rotateKey", _OF_KEY), "revoke": ("revokeKey", _OF_KEY)}},
    ),
    ("POST", "/v1/ops/keys/{id}/rotate"): Operation(
        "rotateKey",
        KEYS,
        "Replace a key",
        {201: (JSON, answers_ops.KeyMade)},
        about="The old one goes on for `overlap_s` seconds; the new one lives as long as the old was made for.",
        body={JSON: routes_keys.RotateIn},
        body_required=False,
        example={"overlap_s": 3600},
        problems=("key-ended", "key-fixed"),
        links={201: {"revoke": ("revokeKey", _OF_KEY)}},
    ),
    ("DELETE", "/v1/ops/keys/{id}"): Operation(
        "revokeKey",
        KEYS,
        "Revoke a key",
        {200: (JSON, answers_ops.Key)},
        about="When this is answered no gateway takes the key any more. Your own is not revoked.",
        problems=("key-in-use", "key-fixed"),
    ),
    ("GET", "/healthz"): Operation("getHealth", SERVICE, "Alive", {200: (JSON, answers_ops.Alive)}),
    ("GET", "/readyz"): Operation(
        "getReadiness",
        SERVICE,
        "Able to accept orders durably",
        {200: (JSON, answers_ops.Ready), 503: (JSON, answers_ops.NotReady)},
    ),
    ("GET", "/metrics"): Operation(
        "getMetrics",
        SERVICE,
        "Prometheus' text",
        {200: (TEXT, PLAIN)},
        about="Needs no key from the machine itself.",
    ),
    ("GET", "/openapi.json"): Operation(
        "getOpenApi", SERVICE, "This document", {200: (JSON, {"type": "object"})}
    ),
    ("GET", "/docs"): Operation("getDocs", SERVICE, "This document as a page", {200: (HTML, PLAIN)}),
    ("GET", "/problems/{name}"): Operation(
        "getProblem", SERVICE, "What a problem means and what to do", {200: (HTML, PLAIN)}
    ),
}
