"""Bad input is named by field and rule, and never repeated."""

from __future__ import annotations

import copy
import string
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrean.gateway import identity, webhook_url
from antrean.gateway.problems import Problem
from antrean.gateway.submissions import _PARTS, ORDER, parse_order
from antrean.orders.model import NewOrder
from gateway_support import NAME, NIK, affix, purchase

NOW = datetime(2026, 11, 24, tzinfo=UTC)
ID = "0" * 26


def parsed(body: Any, *, allow_private: bool = False) -> NewOrder:
    return parse_order(body, office="MDN-01", idempotency_key="k", allow_private=allow_private, now=NOW)


def changed(body: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """A copy with one field, named by its path, set; `...` takes it away."""
    body = copy.deepcopy(body)
    *path, last = field.split(".")
    place = body
    for name in path:
        place = place[name]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return body


BAD: list[tuple[str, Any, str]] = [
    ("kind", "gift", "union-tag-invalid"),
    ("kind", ..., "union-tag-not-found"),
    ("document", ..., "missing"),
    ("document", "x", "model-type"),
    ("document.type_code", "4 b", "type-code-form"),
    ("document.type_code", "", "type-code-form"),
    ("document.type_code", 4, "string-type"),
    ("document.number", "", "string-too-short"),
    ("document.number", "x" * 65, "string-too-long"),
    ("document.number", "a\u0000b", "printable"),
    ("document.number", "   ", "not-blank"),
    ("document.date", "2024-02-30", "date-real"),
    ("document.date", "04-09-2024", "date-form"),
    ("document.date", "2026-11-26", "date-range"),
    ("document.date", "1944-12-31", "date-range"),
    ("document.filename", "../x.pdf", "filename"),
    ("document.filename", "a\\b.pdf", "filename"),
    ("document.filename", "x" * 129, "string-too-long"),
    ("document.extra", 1, "extra-forbidden"),
    ("taxpayer.identity_type", "SIM", "literal-error"),
    ("taxpayer.identity_number", "127101010190000", "nik-digits"),
    ("taxpayer.identity_number", "127101010190000x", "nik-digits"),
    ("taxpayer.identity_number", "\u0660" * 16, "nik-digits"),
    ("taxpayer.identity_number", "9971010101900001", "nik-region"),
    ("taxpayer.identity_number", "1200010101900001", "nik-region"),
    ("taxpayer.identity_number", "1271013201900001", "nik-birth-date"),
    ("taxpayer.identity_number", "1271017201900001", "nik-birth-date"),
    ("taxpayer.identity_number", "1271010113900001", "nik-birth-date"),
    ("taxpayer.identity_number", "1271013002900001", "nik-birth-date"),
    ("taxpayer.identity_number", "1271010101900000", "nik-serial"),
    ("taxpayer.identity_number", 1271010101900001, "string-type"),
    ("taxpayer.name", "", "string-too-short"),
    ("taxpayer.name", "x" * 129, "string-too-long"),
    ("deadline", "2026-11-25", "deadline-form"),
    ("deadline", "2026-11-25T10:00:00", "deadline-form"),
    ("deadline", "2026-13-25T10:00:00Z", "deadline-real"),
    ("deadline", "2099-11-25T10:00:00Z", "deadline-range"),
    ("deadline", 1700000000, "string-type"),
    ("reference", "x" * 129, "string-too-long"),
    ("webhook_url", "http://example.com/x", "https"),
    ("webhook_url", "https://example.com/" + "x" * 2048, "string-too-long"),
    ("webhook_url", "https://127.0.0.1/x", "public-address"),
    ("document_id", ..., "missing"),
    ("document_id", "../../etc", "id-form"),
    ("placement", ..., "missing"),
    ("placement.page", 0, "greater-than-equal"),
    ("placement.page", 1.5, "int-type"),
    ("placement.page", True, "int-type"),
    ("placement.x", "1", "float-type"),
    ("placement.width", 9, "greater-than-equal"),
    ("placement.height", 1001, "less-than-equal"),
    ("serial_number", "abc", "serial-form"),
    ("serial_number", "A" * 41, "serial-form"),
    ("purchase_order_id", "x", "id-form"),
]


@pytest.mark.parametrize(("field", "value", "rule"), BAD)
def test_a_field_that_breaks_a_rule_is_named_with_the_rule(field: str, value: Any, rule: str) -> None:
    with pytest.raises(Problem) as raised:
        parsed(changed(affix(ID), field, value))
    assert raised.value.status == 422
    assert [(e["field"], e["rule"]) for e in raised.value.errors] == [(field, rule)]
    assert raised.value.errors[0]["message"]


def test_a_purchase_carries_nothing_of_an_affix_and_an_affix_one_source_at_most() -> None:
    for field in ("document_id", "placement", "serial_number", "purchase_order_id"):
        with pytest.raises(Problem) as raised:
            parsed(purchase(**{field: None}))
        assert raised.value.errors[0]["field"] == field
    with pytest.raises(Problem) as raised:
        parsed(affix(ID, serial_number="A" * 22, purchase_order_id=ID))
    assert raised.value.errors[0]["rule"] == "one-source"


@pytest.mark.parametrize(
    "body",
    [
        affix(ID),
        affix(ID, serial_number="389UY343AP0GE9A40000A9"),
        purchase(deadline="2024-09-06T23:59:00+07:00"),
        purchase(deadline="2026-12-01t00:00:00.5z", reference="tiket 7"),
        purchase(webhook_url="https://hooks.example.co.id:8443/antrean?x=1"),
        changed(purchase(), "taxpayer.identity_number", "1271014101900001"),
        changed(purchase(), "taxpayer.identity_number", "3171017101040001"),
        changed(purchase(), "taxpayer.identity_number", "9701016902080123"),
        changed(purchase(), "document.date", "2026-11-25"),
        changed(
            purchase(), "taxpayer", {"identity_type": "NPWP", "identity_number": "1" * 15, "name": "PT X"}
        ),
        changed(
            purchase(),
            "taxpayer",
            {"identity_type": "PASSPORT", "identity_number": "B1234567", "name": "J. Doe"},
        ),
        changed(purchase(), "taxpayer.name", "Ṣâliḥ 'Ūd O\u2019Brien-山田"),
    ],
)
def test_what_is_in_order_is_taken(body: dict[str, Any]) -> None:
    assert parsed(body).fingerprint


def test_a_deadline_is_kept_as_the_moment_it_names() -> None:
    assert parsed(purchase(deadline="2024-09-06T07:00:00+07:00")).deadline_ms == 1_725_580_800_000


@pytest.mark.parametrize("field", [NIK, f"x{NIK}", NAME])
def test_no_error_repeats_an_input_not_even_as_a_fields_name(field: str) -> None:
    for body in (
        purchase(**{field: 1}),
        purchase(kind=field),
        changed(purchase(), "document.date", field),
        changed(purchase(), "taxpayer.identity_type", field),
        changed(
            purchase(), "taxpayer", {"identity_type": "KTP", "identity_number": field[:10], "name": field}
        ),
        purchase(webhook_url=f"https://{field}@example.com/"),
        affix(field),
    ):
        with pytest.raises(Problem) as raised:
            parsed(body)
        said = str(raised.value.body("r"))
        assert NIK not in said
        assert NAME not in said


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
_fields = sorted({field for field, _, _ in BAD})


@given(_values)
def test_any_body_at_all_is_taken_or_refused_as_a_problem(body: Any) -> None:
    with pytest.raises(Problem) as raised:
        parsed(body)
    assert raised.value.status == 422


@given(st.sampled_from(_fields), _values)
def test_any_value_of_a_field_is_taken_or_refused_as_a_problem(field: str, value: Any) -> None:
    assert outcome(changed(affix(ID), field, value)) in ("taken", "refused")


def outcome(body: Any) -> str:
    """What becomes of a body; anything but these two is an error of ours and raises."""
    try:
        parsed(body)
    except Problem as problem:
        return "refused" if problem.status == 422 and problem.errors else "badly refused"
    return "taken"


def _is_birth(day: int, month: int) -> bool:
    try:
        # The century is not told: any year that has a 29 February.
        date(2000, month, day - 40 if day > 40 else day)
    except ValueError:
        return False
    return True


def test_a_nik_is_taken_where_its_region_day_and_number_can_be_and_nowhere_else() -> None:
    """The pattern that is tried first takes what the rules would take, whatever two or four digits are."""
    births = {f"{d:02}{m:02}" for d in range(100) for m in range(100) if _is_birth(d, m)}
    numbers = [f"{number:04}" for number in range(10_000)]
    for digits in numbers:
        taken = identity.nik_fault(f"317101{digits}900001") is None
        assert taken == (digits in births), digits
        taken = identity.nik_fault(f"31{digits}0101900001") is None
        assert taken == (digits[:2] != "00" and digits[2:] != "00"), digits
        assert (identity.nik_fault(f"317101010190{digits}") is None) == (digits != "0000"), digits
    for two in range(100):
        assert (identity.nik_fault(f"{two:02}71010101900001") is None) == (two in identity.PROVINCES), two
        assert identity.nik_fault(f"3171010101{two:02}0001") is None


@pytest.mark.parametrize(
    "odd", ["\u0663", "\uff11", "\u00b2", "\U0001d7d7", " ", "-", "a", "", "11", "1\n", "\n"]
)
def test_a_nik_has_sixteen_ascii_digits_wherever_the_odd_one_is(odd: str) -> None:
    sound = "3171011101900001"
    for at in range(len(sound)):
        assert identity.nik_fault(sound[:at] + odd + sound[at + 1 :]) == (
            "nik-digits",
            "a NIK has exactly 16 digits",
        )


def test_what_was_said_is_known_of_every_part_of_an_order() -> None:
    """A part that is not named there would end in an error of ours."""
    models = ORDER.json_schema()["$defs"].keys() - {"PurchaseIn", "AffixIn"}
    assert models == {part.__name__ for part in _PARTS}


@given(st.text(string.digits, min_size=16, max_size=16))
def test_a_number_that_is_taken_has_a_region_and_a_date_of_birth(number: str) -> None:
    if identity.nik_fault(number) is None:
        day = int(number[6:8])
        assert 1 <= day - (40 if day > 40 else 0) <= 31
        assert 1 <= int(number[8:10]) <= 12


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "0177.0.0.1", "0x7f.0.0.1", "0x7f000001", "2130706433", "017700000001", "127.0.0.1.",
        "0", "0.0.0.0", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "2852039166", "100.64.0.1",
        "100.100.100.200", "224.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "[::1]", "[::]",
        "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]", "[fe80::1%25eth0]", "[fc00::1]",
        "[fd00:ec2::254]", "[64:ff9b::7f00:1]", "[64:ff9b:1::1]", "[2002:7f00:1::]", "[2001::1]", "[ff02::1]",
        "[::ffff:0:127.0.0.1]", "[fec0::1]", "[5f00::1]", "[3fff::1]", "192.88.99.1",
        "localhost", "LOCALHOST", "localhost.", "a.localhost", "x.local", "metadata.google.internal", "router.lan",
        "intranet", "printer.home.arpa", "0x7f.1", "1.2.3.4.5", "256.1.1.1", "08.1.1.1", "example.com:0",
        "user@example.com", "user:pw@example.com", "127.0.0.1:80@example.com", "", "exa mple.com", "ex%61mple.com",
        "\uff11\uff12\uff17.0.0.1", "exámple.com", "-a.com", "a..b", "[::1", "example.com\\@127.0.0.1",
    ],
)  # fmt: skip
def test_a_webhook_to_an_inner_address_is_refused_in_any_spelling(host: str) -> None:
    with pytest.raises(webhook_url.Refused):
        webhook_url.check(f"https://{host}/hook", allow_private=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com",
        "https://hooks.kantorpos.co.id:8443/a/b?c=d",
        "https://8.8.8.8/x",
        "https://[2606:4700:4700::1111]/x",
        "https://xn--bcher-kva.example.com/",
        "https://10.example.com/",
    ],
)
def test_a_webhook_to_the_outside_is_taken(url: str) -> None:
    webhook_url.check(url, allow_private=False)


def test_private_webhooks_are_taken_where_the_setting_says_so() -> None:
    for url in ("http://127.0.0.1:9000/x", "http://localhost:9000/x", "https://10.0.0.1/"):
        webhook_url.check(url, allow_private=True)
        assert parsed(purchase(webhook_url=url), allow_private=True).webhook_url == url
    for url in ("ftp://127.0.0.1/", "http://user@127.0.0.1/", "https://" + "a" * 2048):
        with pytest.raises(webhook_url.Refused):
            webhook_url.check(url, allow_private=True)
