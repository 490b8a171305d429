"""How an order is shown: positions, estimates, holds, masks. Pure rules, many cases."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrean.orders import eta
from antrean.orders.holding import Glance, Holding, Language, Outlook, held, holding_of
from antrean.orders.masking import holds_identity_number, mask_name, mask_number
from antrean.orders.model import Document, HistoryEntry, Order, Placement, Taxpayer
from antrean.orders.place import InOrder
from antrean.orders.situation import Hold, OfficeLane, Situation
from antrean.orders.states import State
from antrean.orders.view import Look, Pace, as_of, render, render_ticket, rfc3339, spot_of

NOW_MS = 1_800_000_000_000
NIK, NAME = "1271010101900001", "Siti Aminah"
PERSON = Taxpayer("KTP", NIK, NAME)
CLOSED, OPEN = Glance(holds=False, since_ms=1), Glance(holds=True, since_ms=77)
BUSY = Pace(NOW_MS, (0, *[50] * 29))
SITUATION = Situation(
    now_ms=NOW_MS,
    fetch=0,
    stamp=0,
    dispatched=0,
    claimed=0,
    stamp_load=0,
    stranded=0,
    stranded_stamps=0,
    later=0,
    unknown=0,
    holds={},
    fairness={},
    weights={},
    by_state=dict.fromkeys(State, 0),
    open=0,
    offices={"MDN-01": OfficeLane(10, 0, 0), "JKT-07": OfficeLane(100, 0, 0)},
)
CALM = Outlook(SITUATION, CLOSED, CLOSED)
ORDER = Order(
    id="0" * 26,
    office="MDN-01",
    kind="purchase",
    state=State.QUEUED,
    document=Document("4b", "SK-1", "2024-09-04", "surat.pdf"),
    masked=PERSON.masked,
    personal=PERSON,
    erased_ms=None,
    document_id=None,
    placement=None,
    webhook_url=None,
    reference=None,
    purchase_order_id=None,
    deadline_ms=None,
    serial_number=None,
    owns_serial=False,
    serial_given=False,
    fence="0",
    owner="",
    stamp_tried=False,
    stamped_perhaps=False,
    calls=0,
    forgiven=0,
    ticket_number=7,
    ticket_token="t" * 20,
    score=0.0,
    version=1,
    created_ms=NOW_MS,
    updated_ms=NOW_MS,
    error=None,
    stamped_sha256=None,
    history=(HistoryEntry(NOW_MS, State.QUEUED, "accepted"),),
)
AFFIX = dataclasses.replace(
    ORDER,
    kind="affix",
    document_id="1" * 26,
    placement=Placement(1, 0, 0, 90, 90),
    serial_number="SN",
    state=State.BOUGHT,
)


def with_hold(*reasons: str) -> Outlook:
    """Holds that are on, over an outage of both."""
    holds = {reason: Hold(reason, 5) for reason in reasons}
    return Outlook(dataclasses.replace(SITUATION, holds=holds), OPEN, OPEN)


@given(st.integers(1, 100_000), st.lists(st.integers(0, 500), min_size=30, max_size=30), st.floats(0, 10))
def test_an_estimate_is_a_range_in_order_that_grows_with_the_position(
    place: int, completed: list[int], elapsed_s: float
) -> None:
    span = eta.estimate(InOrder(place).after, tuple(completed), elapsed_s)
    if sum(completed) < eta.LEAST:
        assert span is None
    if span is not None:
        assert 0 < span.earliest_s < span.latest_s <= eta.HORIZON_S
        further = eta.estimate(InOrder(place + 1).after, tuple(completed), elapsed_s)
        assert further is None or further.earliest_s > span.earliest_s


def test_a_known_pace_gives_about_the_right_time() -> None:
    span = eta.estimate(InOrder(600).after, (0, *[100] * 29), 0)
    assert span is not None
    assert span.earliest_s < 60 < span.latest_s < 90
    assert eta.per_minute((0, *[100] * 29), 0) == 600


def test_a_position_ends_when_the_order_is_taken_up() -> None:
    first, handed_out = spot_of(ORDER, 0, CALM), spot_of(ORDER, None, CALM)
    assert first is not None
    assert handed_out is not None
    assert (first.position, handed_out.position) == (1, 1)
    assert spot_of(dataclasses.replace(ORDER, owner="w"), None, CALM) is None
    assert spot_of(AFFIX, 3, CALM) is None


@pytest.mark.parametrize(
    ("outlook", "reason"),
    [
        (CALM, None),
        (Outlook(SITUATION, OPEN, CLOSED), "upstream_unavailable"),
        (Outlook(SITUATION, CLOSED, OPEN), None),
        (with_hold("quota_exhausted"), "quota_exhausted"),
        (with_hold("quota_exhausted", "balance_unexplained"), "balance_unexplained"),
        (with_hold("quota_exhausted", "balance_unexplained", "paused"), "paused"),
    ],
)
def test_a_purchase_is_held_by_the_strongest_reason_and_has_no_estimate_then(
    outlook: Outlook, reason: str | None
) -> None:
    shown = render(ORDER, 0, outlook, BUSY, Look())
    assert (shown["holding"] and shown["holding"]["reason"]) == reason
    assert (shown["eta"] is None) == (reason is not None)


@pytest.mark.parametrize("language", ["id", "en"])
def test_a_breaker_that_a_person_forced_open_is_not_told_as_a_server_that_is_down(language: Language) -> None:
    forced, look = Glance(holds=True, since_ms=77, forced=True), Look(language=language)
    stamped = dataclasses.replace(AFFIX, serial_number="389UY343AP0GE9A40000A9")
    for order, itself, by_hand in (
        (ORDER, Outlook(SITUATION, OPEN, CLOSED), Outlook(SITUATION, forced, CLOSED)),
        (stamped, Outlook(SITUATION, CLOSED, OPEN), Outlook(SITUATION, CLOSED, forced)),
    ):
        for shown in (render, render_ticket):
            down, kept = (shown(order, 0, o, BUSY, look)["holding"] for o in (itself, by_hand))
            assert (down["reason"], down["forced"], kept["forced"]) == (kept["reason"], False, True)
            told = [any(who in h["text"] for who in ("petugas", "operators")) for h in (down, kept)]
            assert told == [False, True]


def test_an_order_to_be_stamped_is_held_by_the_adapter_and_not_by_the_server() -> None:
    assert holding_of(AFFIX, Outlook(SITUATION, OPEN, CLOSED)) is None
    assert holding_of(AFFIX, Outlook(SITUATION, CLOSED, OPEN)) == Holding("adapter_unavailable", 77)
    assert holding_of(AFFIX, with_hold("quota_exhausted", "paused")) == Holding("paused", 5)


def test_one_that_waits_for_its_picture_or_a_login_is_held_by_the_server() -> None:
    def waiting(outlook: Outlook, **changes: Any) -> Holding | None:
        return holding_of(dataclasses.replace(AFFIX, **changes), outlook, in_line=False)

    assert waiting(Outlook(SITUATION, OPEN, CLOSED)) == Holding("upstream_unavailable", OPEN.since_ms)
    assert waiting(Outlook(SITUATION, OPEN, OPEN)) == Holding("adapter_unavailable", 77)
    assert waiting(Outlook(SITUATION, OPEN, CLOSED), owner="w1") is None
    assert waiting(Outlook(SITUATION, CLOSED, CLOSED)) is None
    counts = dict.fromkeys(State, 0) | {State.BOUGHT: 7}
    some_wait = dataclasses.replace(SITUATION, by_state=counts, fetch=1, stamp=2, later=4)
    outage = held(Outlook(some_wait, OPEN, CLOSED))
    assert [(h.reason, h.orders) for h in outage] == [("upstream_unavailable", 1 + 4)]


@pytest.mark.parametrize("state", [s for s in State if s not in (State.QUEUED, State.BOUGHT, State.UNKNOWN)])
def test_what_is_under_way_or_at_its_end_is_not_held(state: State) -> None:
    assert holding_of(dataclasses.replace(ORDER, state=state), with_hold("paused")) is None


def test_each_held_order_is_counted_once() -> None:
    counts = dict.fromkeys(State, 0) | {State.QUEUED: 100, State.BOUGHT: 7}
    busy = dataclasses.replace(SITUATION, by_state=counts, fetch=2, stamp=5)
    assert held(Outlook(busy, CLOSED, CLOSED)) == []
    outage = held(Outlook(busy, OPEN, CLOSED))
    assert [(h.reason, h.orders) for h in outage] == [("upstream_unavailable", 102)]
    holds = {"paused": Hold("paused", 1, "x", "ops:1"), "quota_exhausted": Hold("quota_exhausted", 2)}
    everything = held(Outlook(dataclasses.replace(busy, holds=holds), OPEN, OPEN))
    assert everything[0].reason == "paused"
    assert sum(h.orders for h in everything) == 107


def test_one_that_came_with_its_serial_number_is_held_by_the_adapter_alone() -> None:
    counts = dict.fromkeys(State, 0) | {State.QUEUED: 10, State.BOUGHT: 3, State.STAMPING: 2}
    # In the lane of stamps: six that were bought or given; with a worker: two at the stamping, one that will be.
    busy = dataclasses.replace(SITUATION, by_state=counts, fetch=1, stamp=6, stamp_load=3)
    seen = held(Outlook(busy, OPEN, OPEN))
    assert [(h.reason, h.orders) for h in seen] == [("upstream_unavailable", 6), ("adapter_unavailable", 7)]


def test_links_are_relative_or_begin_with_the_public_url() -> None:
    done = dataclasses.replace(AFFIX, state=State.COMPLETED)
    assert render(done, None, CALM, BUSY, Look())["document_url"] == f"/v1/orders/{ORDER.id}/document"
    shown = render(done, None, CALM, BUSY, Look(base_url="https://a.example"))
    assert shown["qr_url"] == f"https://a.example/v1/orders/{ORDER.id}/qr"
    assert shown["ticket"]["url"] == f"https://a.example/t/{'t' * 20}"


def test_a_ticket_tells_nothing_of_the_person_or_the_paper() -> None:
    told = str(render_ticket(ORDER, 0, CALM, BUSY, Look()))
    assert not any(secret in told for secret in (NIK, NAME, ORDER.id, "SK-1", "MDN-01"))


@given(st.text("0123456789", min_size=0, max_size=32))
def test_a_masked_number_keeps_at_most_eight_digits(number: str) -> None:
    masked = mask_number(number)
    assert len(masked) == len(number)
    assert sum(c != "*" for c in masked) <= 8
    assert len(number) < 12 or masked[4:-4] == "*" * (len(number) - 8)


def test_an_earlier_version_shows_the_state_of_then_and_no_serial_number_before_it_was_bought() -> None:
    states = (State.QUEUED, State.BUYING, State.BOUGHT, State.COMPLETED)
    lines = tuple(HistoryEntry(NOW_MS + i, state, "") for i, state in enumerate(states))
    order = dataclasses.replace(ORDER, version=4, state=State.COMPLETED, serial_number="SN", history=lines)
    seen = [as_of(order, version) for version in range(6)]
    assert [s and (s.state, s.serial_number) for s in seen] == [
        None,
        (State.QUEUED, None),
        (State.BUYING, None),
        (State.BOUGHT, "SN"),
        (State.COMPLETED, "SN"),
        None,
    ]


def test_of_a_history_with_a_gap_the_versions_in_the_gap_are_not_known() -> None:
    """`_common.lua` keeps the first line and the last ones."""
    lines = tuple(HistoryEntry(NOW_MS + i, State.QUEUED, str(i)) for i in (0, 8, 9))
    order = dataclasses.replace(ORDER, version=10, history=lines)
    seen = {version: as_of(order, version) for version in range(1, 11)}
    assert {version: shown.updated_ms - NOW_MS for version, shown in seen.items() if shown} == {
        1: 0,
        9: 8,
        10: order.updated_ms - NOW_MS,
    }


def test_a_masked_name_tells_initials_and_nothing_else() -> None:
    assert mask_name("Siti Aminah") == "S*** A***"
    assert mask_name("  Bo \u738b ") == "B*** \u738b***"
    assert mask_name(" ".join("abcdef")) == "a*** b*** c*** d***"


def test_an_erased_order_shows_nobody_and_no_documents() -> None:
    done = dataclasses.replace(AFFIX, state=State.COMPLETED)
    erased = dataclasses.replace(done.without_person, erased_ms=NOW_MS)
    shown = render(done, None, CALM, BUSY, Look())
    assert (shown["taxpayer"]["name"], shown["erased_at"]) == ("S*** A***", None)
    assert shown["document_url"]
    after = render(erased, None, CALM, BUSY, Look(reveal=lambda order: PERSON))
    assert (after["taxpayer"], after["qr_url"], after["document_url"]) == (None, None, None)
    assert (after["document"]["filename"], after["erased_at"]) == ("erased", "2027-01-15T08:00:00.000Z")
    assert after["serial_number"] == "SN"


def test_no_time_is_told_for_an_affix_while_the_stamping_service_is_away() -> None:
    affix = dataclasses.replace(AFFIX, state=State.QUEUED, serial_number=None)
    assert render(affix, 3, CALM, BUSY, Look())["eta"] is not None
    shown = render(affix, 3, Outlook(SITUATION, CLOSED, OPEN), BUSY, Look())
    assert (shown["eta"], shown["holding"]) == (None, None)
    assert render(ORDER, 3, Outlook(SITUATION, CLOSED, OPEN), BUSY, Look())["eta"] is not None


def test_no_time_that_is_told_lies_in_the_past() -> None:
    later = Outlook(dataclasses.replace(SITUATION, now_ms=NOW_MS + 900), CLOSED, CLOSED)
    assert render(ORDER, 0, later, BUSY, Look())["eta"]["earliest"] == rfc3339(NOW_MS + 900)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("paid to 1271010101900001", True),
        ("nik:1271010101900001.", True),
        ("012345678901000", True),
        ("01.234.567.8-901.000", True),
        ("1271 0101 0190 0001", True),
        ("1271 - 0101 - 0190 - 0001", True),
        ("7 1271010101900001", True),
        ("12710101019000", False),
        ("12710101019000017", False),
        ("389UY343AP0GE9A40000A9 in place of 489UY343AP0GE9A40000B0", False),
        ("Rp 10.000, +62 812 3456 7890", False),
        ("moved from 2024-09-06 to 2024-09-10", False),
    ],
)
def test_an_identity_number_in_a_reason_is_seen_however_it_is_grouped(text: str, holds: bool) -> None:
    assert holds_identity_number(text) is holds
