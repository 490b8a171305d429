"""The operations of webhooks."""

from __future__ import annotations

from antrean.gateway import answers_webhooks, routes_webhooks
from antrean.gateway.operations import JSON, Operation

WEBHOOKS = "Webhooks"

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("GET", "/v1/ops/webhooks"): Operation(
        "getWebhooks",
        WEBHOOKS,
        "What waits, what was given up, where it fails",
        {200: (JSON, answers_webhooks.Webhooks)},
    ),
    ("POST", "/v1/ops/webhooks/replay"): Operation(
        "replayWebhooks",
        WEBHOOKS,
        "Send again what was given up",
        {200: (JSON, answers_webhooks.Replayed)},
        about="Those named by id, or all of an office, or all. Each has 48 hours before it again.",
        body={JSON: routes_webhooks.ReplayNoticesIn},
        body_required=False,
        example={"office": "MDN-01"},
    ),
    ("POST", "/v1/ops/webhooks/enable"): Operation(
        "enableWebhookAddress",
        WEBHOOKS,
        "Ask a disabled address again",
        {200: (JSON, answers_webhooks.Enabled)},
        about="What was given up meanwhile stays so until it is replayed.",
        body={JSON: routes_webhooks.EnableIn},
        example={"office": "MDN-01", "host": "hooks.example.co.id"},
    ),
    ("GET", "/v1/ops/webhook-secrets/{office}"): Operation(
        "getWebhookSecret",
        WEBHOOKS,
        "The secret that an office's webhooks are signed with",
        {200: (JSON, answers_webhooks.WebhookSecret)},
        about="Made at the first look.",
    ),
    ("POST", "/v1/ops/webhook-secrets/{office}"): Operation(
        "rotateWebhookSecret",
        WEBHOOKS,
        "Replace an office's secret",
        {200: (JSON, answers_webhooks.WebhookSecret)},
        about="For `overlap_s` seconds both sign, so that a receiver can change over in its own time.",
        body={JSON: routes_webhooks.RotateSecretIn},
        body_required=False,
        example={"overlap_s": 86400},
    ),
}
