"""What the pages say is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import SecretStr

from antrean.config.settings import Settings
from antrean.gateway import exchange, server
from antrean.gateway.advice import ADVICE
from antrean.gateway.app import ROUTES
from antrean.gateway.problems import TYPES
from antrean.gateway.ratelimit import OLD_TICKETS_BURST, OLD_TICKETS_PER_S, WRONG_KEYS_BURST, WRONG_KEYS_PER_S
from antrean.orders.states import State

ROOT = Path(__file__).resolve().parents[1]


def settings_table() -> str:
    """Every setting with its default and meaning, as docs/settings.md has it."""
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        value = field.default
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        shown = "" if value is None or value == "" else f"`{str(value).lower() if value is False else value}`"
        rows.append(f"| `ANTREAN_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(rows) + "\n"


def test_every_setting_is_documented_with_its_default() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()
    assert all(field.description for field in Settings.model_fields.values())
    assert settings_table() in page


def test_every_state_is_in_the_architecture_page() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert all(f"`{state}`" in page for state in State)


def problems_table() -> str:
    """Every problem with what to do, as docs/problems.md has it."""
    rows = ["| type | status | means | what to do |", "|---|---|---|---|"]
    rows += [
        f"| `/problems/{n}` | {status} | {title} | {ADVICE[n]} |" for n, (status, title) in TYPES.items()
    ]
    return "\n".join(rows) + "\n"


def test_every_problem_is_documented_with_what_to_do() -> None:
    assert set(ADVICE) == set(TYPES)
    assert problems_table() in (ROOT / "docs" / "problems.md").read_text()


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "threat-model.md").read_text()))
    there = {
        name
        for file in ROOT.glob("tests/test_*.py")
        for name in re.findall(r"def (test_\w+)", file.read_text())
    }
    assert len(named) > 30
    assert named - there == set()


def test_what_the_runbook_lets_a_counter_say_is_what_it_says() -> None:
    for page, dictionary in (("runbook.md", "en.js"), ("runbook.id.md", "id.js")):
        words = (ROOT / "src" / "antrean" / "gateway" / "web" / dictionary).read_text()
        [said] = re.findall(r'"holding\.upstream_unavailable": "(.*){since}\.",', words)
        assert f'"{said}…"' in (ROOT / "docs" / page).read_text()


def limits_table() -> str:
    """The bounds of what is sent, as docs/api.md has them."""
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    rows = {
        "request line": f"{server.LINE_BYTES_MAX:,} bytes",
        "one header; their number": f"{server.HEADER_BYTES_MAX:,} bytes; {server.HEADERS_MAX}",
        "body of an order; of a batch": f"{exchange.JSON_BYTES_MAX:,}; {exchange.BATCH_BYTES_MAX:,} bytes",
        "PDF (settings)": f"{defaults['document_bytes_max']:,} bytes, {defaults['document_pages_max']:,} pages",
        "a body must arrive within": f"{exchange.BODY_TIMEOUT_S} s",
        "a whole request must arrive within": f"{server.IDLE_S} s",
        "connections at one time": f"{server.CONNECTIONS_MAX:,}",
        "requests a second for one key (setting)": f"{defaults['key_rate_per_s']:,}",
        "open orders of one office (setting)": f"{defaults['office_backlog_max']:,}",
        "wrong keys from one address": f"{WRONG_KEYS_BURST} at once, then {WRONG_KEYS_PER_S:g} a second",
        "tickets of one address that are not in Redis": f"{OLD_TICKETS_BURST} at once, then "
        f"{OLD_TICKETS_PER_S:g} a second",
        "compressed bodies": "refused",
    }
    return "\n".join(["| what | at most |", "|---|---|", *(f"| {k} | {v} |" for k, v in rows.items())]) + "\n"


def test_the_bounds_of_the_api_are_those_of_the_code() -> None:
    assert limits_table() in (ROOT / "docs" / "api.md").read_text()


def test_every_path_on_the_page_of_the_api_exists() -> None:
    named = set(
        re.findall(
            r"(?<![\w/])/(?:v1|docs|metrics|openapi)[\w/{}.-]*", (ROOT / "docs" / "api.md").read_text()
        )
    )
    assert len(named) > 15
    assert named - {"/v1"} <= {route.path for route in ROUTES}


def test_the_long_tests_are_told_alike_by_make_and_by_the_page() -> None:
    told = re.search(r"^test-long: install  ## T(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert told is not None
    assert f"| `make test-long` | t{told[1]} |" in (ROOT / "CONTRIBUTING.md").read_text()


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md")]:
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} → {target}"


def test_no_registry_host_and_no_machine_path_is_named() -> None:
    hosts = re.compile(r"pypi\.org|pythonhosted|npmjs|deb\.debian|/root/|/work/")
    files = [*ROOT.glob("[!.]*.*"), ROOT / "Makefile", ROOT / ".ci/run"]
    files += [
        p for folder in ("src", "docs", "tests", "benchmarks", "deploy") for p in (ROOT / folder).rglob("*")
    ]
    for file in files:
        if file.is_file() and file.suffix in {
            ".py",
            ".md",
            ".toml",
            ".lock",
            ".lua",
            ".js",
            ".html",
            ".yml",
            "",
        }:
            if file in (Path(__file__), ROOT / ".git"):
                continue
            found = hosts.search(file.read_text(errors="replace"))
            assert found is None, f"{file.relative_to(ROOT)}: {found}"
