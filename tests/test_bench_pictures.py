"""What `make bench` writes: pictures that any reader can show, and a page with a place for each question."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from benchmarks.__main__ import PAGE, QUESTIONS
from benchmarks.peers.contest import PEERS
from benchmarks.peers.venv import HERE
from benchmarks.picture import Bar, bars, curves

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_stand_in_proportion_and_say_their_value() -> None:
    drawn = ET.fromstring(bars("Orders <per> second", [Bar("Antrean", 500, ours=True), Bar("a & b", 125)]))
    widths = {
        each.get("class"): float(each.get("width", "0"))
        for each in drawn.iter(f"{SVG}rect")
        if each.get("class") != "bg"
    }
    assert widths["ours"] == pytest.approx(4 * widths["other"], abs=0.2)
    words = [each.text for each in drawn.iter(f"{SVG}text")]
    assert {"Antrean", "500", "a & b", "125"} <= set(words)


def test_curves_have_a_line_each_that_begins_left_and_ends_right() -> None:
    lines = {"submit": [(10_000, 300.0), (1_000_000, 400.0)], "claim": [(10_000, 100.0), (1_000_000, 110.0)]}
    drawn = ET.fromstring(curves("One more", "µs", lines))
    paths = [each.get("points", "").split() for each in drawn.iter(f"{SVG}polyline")]
    assert len(paths) == 2
    for path in paths:
        (x0, _), (x1, _) = ((float(v) for v in point.split(",")) for point in (path[0], path[-1]))
        assert x0 < x1


def test_every_question_has_its_place_on_the_page_and_all_are_bounded() -> None:
    page = PAGE.read_text()
    for name in QUESTIONS:
        assert page.index(f"<!-- {name}: written by make bench -->") < page.index(f"<!-- end of {name} -->")
    assert sum(bound_s for _, bound_s in QUESTIONS.values()) <= 1080


def test_every_peer_has_its_jobs_and_a_lock_with_hashes() -> None:
    for peer in PEERS:
        assert (HERE / f"{peer.module}.py").is_file()
        lock = (HERE / f"{peer.lock}.lock").read_text()
        assert f"\n{peer.worker[0]}==" in lock
        assert lock.count("==") <= lock.count("--hash=")
