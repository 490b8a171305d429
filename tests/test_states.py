"""The state table is complete: every state has a mover, every move a script, every script's verb its moves."""

from __future__ import annotations

import re
from importlib import resources

from antrean.orders.states import MOVES, NEXT_MOVER, TERMINAL, Mover, State

LUA = {
    f.name.removesuffix(".lua"): f.read_text()
    for f in resources.files("antrean.orders").joinpath("lua").iterdir()
    if f.name.endswith(".lua")
}
VERBS = {m.verb for m in MOVES}


def test_every_state_has_a_next_mover() -> None:
    assert set(NEXT_MOVER) == set(State)


def test_ends_are_ends_and_nothing_else_is() -> None:
    left = {m.source for m in MOVES}
    assert left == set(State) - TERMINAL


def test_every_state_can_be_reached_from_queued() -> None:
    reached = {State.QUEUED}
    while more := {m.target for m in MOVES if m.source in reached} - reached:
        reached |= more
    assert reached == set(State)


def test_from_every_state_an_end_can_be_reached() -> None:
    ending = set(TERMINAL)
    while more := {m.source for m in MOVES if m.target in ending} - ending:
        ending |= more
    assert ending == set(State)


def test_every_verb_of_the_table_is_checked_by_a_script_and_every_checked_verb_is_in_the_table() -> None:
    checked: set[str] = set()
    for text in LUA.values():
        checked |= set(re.findall(r"check\(o, '(\w+)'", text))
        if "check(o, verb" in text:
            checked |= set(re.findall(r"verb == '(\w+)'", text)) | set(
                re.findall(r"\('(\w+)' or '\w+'\)", text)
            )
            checked |= set(re.findall(r"\('\w+' or '(\w+)'\)", text))
    assert checked == VERBS


def test_no_script_spells_a_state_of_its_own() -> None:
    names = "|".join(State)
    for name, text in LUA.items():
        code = "\n".join(line.split("--")[0] for line in text.splitlines())
        found = re.findall(rf"'({names})'", code)
        # `bought` and `stamped` are accounts and verbs as well; a state is always taken from the table S.
        assert not [f for f in found if f not in {"bought", "cancelled"}], name


def test_money_is_never_spent_twice_in_the_table() -> None:
    """From unknown no worker may go on, and nothing leads from bought back to where generate is sent."""
    assert all(NEXT_MOVER[m.source] is not Mover.WORKER for m in MOVES if m.source is State.UNKNOWN)
    assert not [m for m in MOVES if m.source is State.BOUGHT and m.target in (State.QUEUED, State.BUYING)]
    assert {m.target for m in MOVES if m.source is State.UNKNOWN} == {
        State.BOUGHT,
        State.QUEUED,
        State.ATTENTION,
    }
    assert {m.verb for m in MOVES if (m.source, m.target) == (State.UNKNOWN, State.QUEUED)} == {"absent"}
