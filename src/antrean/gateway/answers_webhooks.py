"""What the API answers about webhooks."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from antrean.gateway.answers import Answer, Count, OrderId


class WebhookNotice(Answer):
    """A notice that was given up; `why` is what its last try met."""

    id: str
    order_id: OrderId
    office: str
    type: str
    at: datetime
    given_up_at: datetime
    tries: Count
    why: str


class WebhookAddress(Answer):
    """An address of an office where every try has failed since `failing_since`."""

    office: str
    host: str
    failing_since: datetime
    failures: Count
    why: str
    disabled_at: datetime | None


class Webhooks(Answer):
    """Notices on their way, and those that got nowhere (the latest 500); addresses that fail."""

    pending: Count
    oldest_due_at: datetime | None
    given_up: Count
    notices: list[WebhookNotice]
    disabled: list[WebhookAddress]
    failing: list[WebhookAddress]


class Replayed(Answer):
    """How many notices are sent again."""

    replayed: Count


class Enabled(Answer):
    """Whether the address had failed."""

    enabled: bool


class WebhookSecret(Answer):
    """An office's secret; the one before signs beside it until `previous_until`."""

    office: str
    secret: Annotated[str, Field(pattern="^whsec_[A-Za-z0-9+/]{43}=$")]
    previous_until: datetime | None
