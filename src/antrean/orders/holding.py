"""Why an order that waits does not move: from the holds in Redis and the breakers. Pure.

paused  >  balance_unexplained  >  quota_exhausted  >  upstream_unavailable, adapter_unavailable
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from antrean.orders.model import Order
from antrean.orders.place import Places
from antrean.orders.situation import Situation
from antrean.orders.states import State

Language = Literal["id", "en"]

PAUSED, BALANCE, QUOTA = "paused", "balance_unexplained", "quota_exhausted"
UPSTREAM, ADAPTER = "upstream_unavailable", "adapter_unavailable"
#: Holds that stop purchases only, the stronger first.
PURCHASE_HOLDS = (BALANCE, QUOTA)

_TEXTS: dict[str, dict[Language, str]] = {
    PAUSED: {
        "id": "Pemrosesan dihentikan sementara oleh petugas. Pesanan tetap tersimpan dan urutannya tidak berubah.",
        "en": "Processing is paused by the operators. The order is kept and keeps its place.",
    },
    BALANCE: {
        "id": "Pembelian dihentikan sampai selisih saldo meterai diperiksa. Pesanan tetap tersimpan.",
        "en": "Purchases are stopped until a difference in the stamp balance is examined. The order is kept.",
    },
    QUOTA: {
        "id": "Kuota meterai habis. Pembelian dilanjutkan setelah kuota diisi. Pesanan tetap tersimpan.",
        "en": "The stamp quota is used up. Purchases go on when it is refilled. The order is kept.",
    },
    UPSTREAM: {
        "id": "Server e-meterai sedang tidak dapat dihubungi. Pesanan tetap tersimpan dan diproses saat server pulih.",
        "en": "The e-meterai server can not be reached. The order is kept and goes on when the server is back.",
    },
    ADAPTER: {
        "id": "Layanan pembubuhan sedang tidak dapat dihubungi. Meterai sudah aman dan akan dibubuhkan begitu pulih.",
        "en": "The stamping service can not be reached. The stamp is safe and is affixed when the service is back.",
    },
}
#: Where a person has forced the breaker open: the other side may be well.
_FORCED: dict[str, dict[Language, str]] = {
    UPSTREAM: {
        "id": "Panggilan ke server e-meterai dihentikan sementara oleh petugas. Pesanan tetap tersimpan.",
        "en": "The operators have stopped calls to the e-meterai server for a time. The order is kept.",
    },
    ADAPTER: {
        "id": "Pembubuhan dihentikan sementara oleh petugas. Meterai sudah aman dan dibubuhkan setelah dilanjutkan.",
        "en": "The operators have stopped stamping for a time. The stamp is safe and is affixed when it goes on.",
    },
}


@dataclass(frozen=True, slots=True)
class Glance:
    """A breaker at one glance: whether it holds orders back (it is open or being tried), since when, and whether a
    person has forced it."""

    holds: bool
    since_ms: int
    forced: bool = False


@dataclass(frozen=True)
class Outlook:
    """The queue and the breakers at one moment."""

    situation: Situation
    provider: Glance
    adapter: Glance

    @functools.cached_property
    def places(self) -> Places:
        """Who goes before whom: made when first asked for, for many orders."""
        return self.situation.places()

    @property
    def stops(self) -> tuple[tuple[str, int], ...]:
        """All that holds orders back, with the time since when (ms): it differs when one comes or goes."""
        glances = (("provider", self.provider), ("adapter", self.adapter))
        return (
            *((reason, hold.since_ms) for reason, hold in sorted(self.situation.holds.items())),
            *((name, glance.since_ms) for name, glance in glances if glance.holds),
        )

    @property
    def all_stand_still(self) -> bool:
        """Whether no order moves on in its line: other holds, and one breaker alone, stop a part of them."""
        return PAUSED in self.situation.holds or (self.provider.holds and self.adapter.holds)


@dataclass(frozen=True, slots=True)
class Holding:
    """Why it waits, since when. `forced`: by a breaker that a person has forced open."""

    reason: str
    since_ms: int
    forced: bool = False


def lua_names() -> dict[str, str]:
    """The holds that the scripts look at, as they write them (`HOLD.PAUSED`), and what stands for each."""
    return {"HOLD.PAUSED": f"'{PAUSED}'", "HOLD.BALANCE": f"'{BALANCE}'", "HOLD.QUOTA": f"'{QUOTA}'"}


def text(reason: str, language: Language, forced: bool = False) -> str:
    """The reason in words for the person at the counter."""
    return (_FORCED if forced else _TEXTS)[reason][language]


def holding_of(order: Order, outlook: Outlook, in_line: bool = True) -> Holding | None:
    """What holds this order back just now, or None. `in_line`: it stands in its lane, and not at a wait of its own."""
    if order.state not in (State.QUEUED, State.BOUGHT, State.UNKNOWN):
        return None
    paused = () if order.state is State.UNKNOWN else (PAUSED,)
    if held_by := _first_hold((*paused, *(PURCHASE_HOLDS if order.needs_purchase else ())), outlook):
        return held_by
    to_be_stamped = order.kind == "affix" and order.serial_number is not None
    if to_be_stamped and outlook.adapter.holds:
        return Holding(ADAPTER, outlook.adapter.since_ms, outlook.adapter.forced)
    # One to be stamped needs a login, and its picture, as well. It waits for them by itself.
    if outlook.provider.holds and not (to_be_stamped and (in_line or order.owner)):
        return Holding(UPSTREAM, outlook.provider.since_ms, outlook.provider.forced)
    return None


def holding_of_next(outlook: Outlook) -> Holding | None:
    """What would hold back a purchase that came just now, or None."""
    if held_by := _first_hold((PAUSED, *PURCHASE_HOLDS), outlook):
        return held_by
    upstream = outlook.provider
    return Holding(UPSTREAM, upstream.since_ms, upstream.forced) if upstream.holds else None


def _first_hold(reasons: Iterable[str], outlook: Outlook) -> Holding | None:
    holds = outlook.situation.holds
    return next((Holding(reason, holds[reason].since_ms) for reason in reasons if reason in holds), None)


@dataclass(frozen=True, slots=True)
class Held:
    """One hold that is on, and about how many orders wait for it."""

    reason: str
    since_ms: int
    orders: int
    detail: str = ""
    actor: str = ""
    forced: bool = False


def held(outlook: Outlook) -> list[Held]:
    """All that holds orders back, the strongest first. An order is counted once, for the strongest."""
    situation = outlook.situation
    to_fetch = situation.fetch
    bought = max(situation.by_state[State.BOUGHT] - to_fetch, 0)
    # Some to be stamped came with their SN, so that they are queued. Those that wait for their next try are of the kind
    # that is held.
    queued = situation.by_state[State.QUEUED]
    stamping = situation.stamp + situation.stamp_load - situation.by_state[State.STAMPING]
    if outlook.adapter.holds and not outlook.provider.holds:
        stamping += situation.later
    to_stamp = min(max(bought, stamping), bought + queued)
    to_buy = queued - (to_stamp - bought)
    found = []
    for reason in (PAUSED, *PURCHASE_HOLDS):
        if hold := situation.holds.get(reason):
            count = to_buy + (to_fetch + to_stamp if reason == PAUSED else 0)
            found.append(Held(reason, hold.since_ms, count, hold.text, hold.actor))
            to_buy = 0
            if reason == PAUSED:
                to_fetch = to_stamp = 0
    if outlook.provider.holds:
        unknown = situation.by_state[State.UNKNOWN]
        waiting = 0 if outlook.adapter.holds else max(to_stamp - max(stamping, 0), 0)
        count, upstream = to_buy + to_fetch + waiting + unknown, outlook.provider
        found.append(Held(UPSTREAM, upstream.since_ms, count, forced=upstream.forced))
    if outlook.adapter.holds:
        found.append(Held(ADAPTER, outlook.adapter.since_ms, to_stamp, forced=outlook.adapter.forced))
    return found
