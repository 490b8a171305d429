"""The account's books, and the pure rules: faults, capacity, tokens."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antrean.simulator.account import Account, QuotaUsedUp, SerialUnusable
from antrean.simulator.calls import CALL_KINDS, LOG_MAX, CallBook
from antrean.simulator.capacity import Capacity, Verdict
from antrean.simulator.faults import FAULT_PARAMS, FAULTS_MAX, FaultInvalid, FaultTable, parse_fault
from antrean.simulator.journal import Journal
from antrean.simulator.uploads import FILES_MAX, Shelf
from simulated_upstream import Clock


def adds_up(account: Account) -> bool:
    return account.granted == account.left + account.sold + account.seeded_spent + account.drift


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("sell"), st.integers(0, 3)),
            st.tuples(st.just("seed"), st.integers(0, 1)),
            st.tuples(st.just("quota"), st.integers(0, 20)),
            st.tuples(st.just("drift"), st.integers(-5, 5)),
        ),
        max_size=40,
    )
)
def test_the_books_add_up_whatever_is_done(steps: list[tuple[str, int]]) -> None:
    account = Account(10, 1, Clock())
    for step, value in steps:
        try:
            if step == "sell":
                account.sell(f"{value}.pdf")
            elif step == "seed":
                account.seed("x.pdf", spend=value == 1)
            elif step == "quota":
                account.set_quota(value)
            else:
                account.drift_by(value)
        except QuotaUsedUp:
            assert account.left == 0
        assert adds_up(account)
        assert account.left >= 0
    assert account.count() == account.sold + account.seeded


def test_books_on_disk_outlive_the_process(tmp_path: Path) -> None:
    clock = Clock()
    journal = Journal(tmp_path / "books.jsonl")
    account = Account(10, 1, clock, journal)
    first = account.sell("a.pdf")
    account.mark_stamped(first, "0" * 64)
    account.sell("b.pdf")
    account.seed("c.pdf", spend=True)
    account.drift_by(2)
    before = account.summary()
    journal.close()

    clock.now += 100
    again = Journal(tmp_path / "books.jsonl")
    reread = Account(999, 1, clock, again)
    assert reread.summary() == before
    known = reread.find(first.serial_number)
    assert known is not None
    assert (known.status, known.file) == ("STAMP", "a.pdf")
    assert (
        len({row.serial_number for row in reread.oldest_first(0, 9)} | {reread.sell("d").serial_number}) == 4
    )
    again.close()


def test_a_last_line_that_was_cut_off_is_dropped_at_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "books.jsonl"
    journal = Journal(path)
    account = Account(10, 1, Clock(), journal)
    account.sell("a.pdf")
    whole_bytes = path.stat().st_size
    account.sell("b.pdf")
    journal.close()
    content = path.read_bytes()
    for cut in range(whole_bytes, len(content)):
        path.write_bytes(content[:cut])
        journal = Journal(path)
        reread = Account(10, 1, Clock(), journal)
        assert (reread.sold, reread.left) == (1, 9)
        reread.sell("c.pdf")
        journal.close()
        journal = Journal(path)
        assert Account(10, 1, Clock(), journal).sold == 2
        journal.close()


def test_two_simulators_cannot_share_their_books(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "books.jsonl")
    with pytest.raises(BlockingIOError):
        Journal(tmp_path / "books.jsonl")
    journal.close()


def test_the_same_seed_and_start_give_the_same_sns_and_a_later_start_gives_others() -> None:
    def numbers(clock: Clock, seed: int) -> list[str]:
        account = Account(10, seed, clock)
        return [account.sell("a.pdf").serial_number for _ in range(5)]

    assert numbers(Clock(), 1) == numbers(Clock(), 1)
    assert set(numbers(Clock(), 1)).isdisjoint(numbers(Clock(), 2))
    assert set(numbers(Clock(), 1)).isdisjoint(numbers(Clock(1_800_000_000.0), 1))


def test_an_sn_belongs_to_one_document_from_the_moment_stamping_begins() -> None:
    account = Account(10, 1, Clock())
    number = account.sell("a.pdf").serial_number
    serial = account.reserve(number, "doc-a")
    with pytest.raises(SerialUnusable) as refused:
        account.reserve(number, "doc-b")
    assert refused.value.code == "97"
    account.release(serial)
    account.release(account.reserve(number, "doc-b"))
    account.mark_stamped(account.reserve(number, "doc-a"), "doc-a")
    account.release(serial)
    with pytest.raises(SerialUnusable, match="lain"):
        account.reserve(number, "doc-b")


def test_files_sold_twice_are_told() -> None:
    account = Account(10, 1, Clock())
    for file in ("a.pdf", "b.pdf", "a.pdf"):
        account.sell(file)
    summary = account.summary()
    assert (summary["sold_twice"], summary["sold_twice_files"]) == (1, ["a.pdf"])


@pytest.mark.parametrize(
    "raw",
    [
        None,
        {},
        {"kind": "flood"},
        {"kind": "down", "scope": []},
        {"kind": "down", "scope": ["everything"]},
        {"kind": "down", "rate": 1.5},
        {"kind": "down", "rate": True},
        {"kind": "down", "rate": float("nan")},
        {"kind": "down", "duration_s": -1},
        {"kind": "down", "delay_s": 1},
        {"kind": "slow", "delay_s": "long"},
        {"kind": "slow", "delay_s": 1e9},
        {"kind": "capacity"},
        {"kind": "capacity", "max_in_flight": 1.5},
        {"kind": "capacity", "max_in_flight": 1, "over": "explode"},
        {"kind": "error", "status": 200},
        {"kind": "sn_unusable", "code": "11"},
        {"kind": "reject", "message": "x" * 501},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(raw: object) -> None:
    with pytest.raises(FaultInvalid):
        parse_fault(raw)


@pytest.mark.parametrize("kind", sorted(set(FAULT_PARAMS) - {"capacity"}))
def test_every_kind_of_fault_has_sensible_defaults(kind: str) -> None:
    spec = parse_fault({"kind": kind})
    assert spec.rate == 1.0
    assert spec.scope <= frozenset(CALL_KINDS)


def test_a_rate_repeats_with_its_seed() -> None:
    def hits(seed: int) -> list[bool]:
        table = FaultTable(Clock(), random.Random(seed))
        table.add(parse_fault({"kind": "down", "rate": 0.3}))
        return [bool(table.draw("generate").faults) for _ in range(1000)]

    assert hits(5) == hits(5)
    assert hits(5) != hits(6)
    assert 250 < sum(hits(5)) < 350


def test_a_fault_ends_after_its_duration_and_only_acts_in_its_scope() -> None:
    clock = Clock()
    table = FaultTable(clock, random.Random(1))
    table.add(parse_fault({"kind": "down", "scope": ["generate"], "duration_s": 10}))
    assert table.draw("generate").faults
    assert not table.draw("balance").faults
    assert table.covers_outage("generate")
    clock.now += 10
    assert not table.draw("generate").faults
    assert not table.covers_outage("generate")


def test_the_table_of_faults_is_bounded() -> None:
    table = FaultTable(Clock(), random.Random(1))
    for _ in range(FAULTS_MAX):
        table.add(parse_fault({"kind": "down"}))
    with pytest.raises(FaultInvalid):
        table.add(parse_fault({"kind": "down"}))


def test_capacity_in_flight_turns_away_what_is_over_and_frees_its_room() -> None:
    room = Capacity(2, None)
    assert [room.enter(0.0) for _ in range(3)] == [Verdict.ADMITTED, Verdict.ADMITTED, Verdict.OVER]
    room.leave()
    assert room.enter(0.0) is Verdict.ADMITTED


def test_capacity_a_second_is_counted_over_the_last_second() -> None:
    room = Capacity(None, 2)
    assert [room.enter(0.0) for _ in range(3)] == [Verdict.ADMITTED, Verdict.ADMITTED, Verdict.OVER]
    assert room.enter(0.9) is Verdict.OVER
    assert room.enter(1.1) is Verdict.ADMITTED


def test_a_server_pushed_a_fifth_past_its_capacity_collapses_for_a_while() -> None:
    room = Capacity(None, 10, collapse_s=5.0)
    verdicts = [room.enter(0.0) for _ in range(13)]
    assert verdicts == [Verdict.ADMITTED] * 10 + [Verdict.OVER] * 2 + [Verdict.COLLAPSED]
    assert room.enter(4.9) is Verdict.COLLAPSED
    assert room.enter(5.0) is Verdict.ADMITTED
    assert room.collapses == 1


def test_the_log_of_calls_and_the_shelf_of_files_are_bounded() -> None:
    calls = CallBook()
    for _ in range(LOG_MAX + 5):
        calls.end(calls.begin("login", 0.0, during_outage=False), 0.0, 200)
    assert len(calls.recent(LOG_MAX * 2)) == LOG_MAX
    shelf = Shelf("U")
    ids = [shelf.put(b"x") for _ in range(FILES_MAX + 1)]
    assert shelf.get(ids[0]) is None
    assert shelf.get(ids[-1]) == b"x"
