"""What lies in deploy/ is what the code knows: settings, metrics, alerts and their pages, hardening."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from antrean.cli._process import EXIT_LAYOUT, EXIT_SETTINGS
from antrean.config.embedded_valkey import render_config
from antrean.config.settings import Settings
from antrean.gateway.metrics import Facts, Metrics
from antrean.gateway.ports import RetryBudget
from antrean.orders.calls import CallStats
from antrean.orders.holding import Glance, Outlook
from antrean.orders.outbox import OutboxCounts
from antrean.orders.situation import Situation
from antrean.orders.states import State
from stack import purchase, running_stack
from topology import env_file

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
ALERTS: list[dict[str, Any]] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"][
    0
]["rules"]


def known_settings() -> set[str]:
    return {f"ANTREAN_{name.upper()}" for name in Settings.model_fields}


def test_every_setting_in_deploy_is_a_setting_of_the_code() -> None:
    used = set()
    for path in DEPLOY.rglob("*"):
        if path.is_file() and path.suffix != ".lock":
            used |= set(re.findall(r"\bANTREAN_[A-Z0-9_]+\b", path.read_text()))
    assert {name for name in used if not name.endswith("_")} - known_settings() == set()


def test_pods_have_their_ring_of_keys_from_the_secret_since_they_keep_no_disk() -> None:
    secret = yaml.safe_load((DEPLOY / "kubernetes" / "secret.example.yaml").read_text())
    assert "ANTREAN_PII_KEYS" in secret["stringData"]


def test_the_env_file_is_settings_that_load(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in env_file(DEPLOY / "antrean.env").items():
        monkeypatch.setenv(name, value)
    assert Settings(_env_file=None).redis_replicas_min == 1


async def test_the_env_file_of_one_machine_starts_all_of_it_and_what_it_offers_loads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = DEPLOY / "systemd" / "antrean.env"
    values = {name.removeprefix("ANTREAN_").lower(): value for name, value in env_file(path).items()}
    unit = (DEPLOY / "systemd" / "antrean.service").read_text()
    assert f"ANTREAN_DATA_DIR={values.pop('data_dir')} " in unit
    async with running_stack(workers=1, **values) as stack:
        await stack.submit(purchase())
        await stack.all_completed()
    for name, value in re.findall(r"^#?(ANTREAN_\w+)=(.*)$", path.read_text(), re.MULTILINE):
        monkeypatch.setenv(name, value)
    offered = Settings(_env_file=None)
    assert (offered.redis_url, offered.redis_replicas_min, offered.uses_simulator) == ("", 0, False)


def test_every_container_of_ours_has_no_rights_and_a_root_that_can_not_be_written() -> None:
    for name, service in COMPOSE["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only") or name == "grafana", name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), name
    assert len([n for n in COMPOSE["services"] if n.startswith("worker")]) == 3
    assert len([n for n in COMPOSE["services"] if n.startswith("sentinel")]) == 3
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    assert re.search(r"^USER 10001:10001$", dockerfile, re.MULTILINE)
    assert "HEALTHCHECK" in dockerfile


@pytest.mark.parametrize("unit", sorted(path.name for path in (DEPLOY / "systemd").glob("*.service")))
def test_systemd_starts_again_what_ends_for_a_fault_and_not_what_a_person_must_change(unit: str) -> None:
    lines = (DEPLOY / "systemd" / unit).read_text().splitlines()
    # By its own default systemd gives up after five starts in ten seconds. A full disk, or a Redis that is away, lasts
    # longer.
    head = lines[: lines.index("[Service]")]
    assert "StartLimitIntervalSec=0" in head
    assert "Restart=always" in lines
    assert f"RestartPreventExitStatus={EXIT_SETTINGS} {EXIT_LAYOUT}" in lines


def test_many_machines_keep_what_is_accepted_as_one_machine_does() -> None:
    embedded = render_config(Path("/d"), Path("/d/s"))
    several = (DEPLOY / "valkey" / "valkey.conf").read_text()
    for line in ("appendonly yes", "appendfsync always", "no-appendfsync-on-rewrite no", 'save ""'):
        assert line in embedded.splitlines()
        assert line in several.splitlines()
    assert "maxmemory-policy noeviction" in several


def test_the_image_installs_the_versions_that_are_tested() -> None:
    def pins(path: Path) -> set[str]:
        return set(re.findall(r"^([a-zA-Z0-9_.\-\[\]]+==\S+)", path.read_text(), re.MULTILINE))

    image, tested = pins(DEPLOY / "requirements.lock"), pins(ROOT / "requirements.lock")
    assert len(image) > 30
    assert image <= tested
    assert not {p for p in image if p.startswith(("pytest", "mypy", "ruff"))}


NOTHING = Situation(
    now_ms=0, fetch=0, stamp=0, dispatched=0, claimed=0, stamp_load=0, stranded=0, stranded_stamps=0, later=0,
    unknown=0,
    holds={}, fairness={}, weights={}, by_state=dict.fromkeys(State, 0), open=0, offices={},
)  # fmt: skip


def metric_names() -> set[str]:
    calls = {"generate": CallStats({"ok": 1}, (("0.1", 1), ("+Inf", 1)), 0.1)}
    facts = Facts(
        {"paid": 0},
        0,
        None,
        1,
        0,
        calls,
        {"provider": RetryBudget(2.5, 3, 1)},
        1,
        0,
        OutboxCounts(0, 0, 0, 0),
    )
    metrics = Metrics()
    metrics.answered("GET", "/healthz", 200, 0.001)
    metrics.accepted("purchase")
    outlook = Outlook(NOTHING, Glance(False, 0), Glance(False, 0))
    shared = metrics.shared_text(outlook, {"provider": {"state": "closed"}}, facts)
    text = (metrics.own_text({"orders": True}, 1) + shared).decode()
    return set(re.findall(r"^(antrean_\w+)", text, re.MULTILINE)) | set(
        re.findall(r"^# TYPE (antrean_\w+)", text, re.MULTILINE)
    )


def test_alerts_and_dashboard_ask_for_metrics_that_exist() -> None:
    board = json.loads((DEPLOY / "grafana" / "dashboards" / "antrean.json").read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    asked += [rule["expr"] for rule in ALERTS]
    names = {name for expr in asked for name in re.findall(r"\bantrean_\w+", expr)}
    assert names - metric_names() == set()
    assert len(board["panels"]) == len({panel["id"] for panel in board["panels"]})


def test_every_alert_has_its_section_in_both_runbooks() -> None:
    for page in ("runbook.md", "runbook.id.md"):
        headings = {
            line.removeprefix("## ").strip().lower()
            for line in (ROOT / "docs" / page).read_text().splitlines()
            if line.startswith("## ")
        }
        for rule in ALERTS:
            assert rule["annotations"]["runbook"] == f"docs/runbook.md#{rule['alert'].lower()}"
            assert rule["alert"].lower() in headings, page


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not here: apt install prometheus")
def test_the_alerts_fire_when_they_should() -> None:
    done = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"],
        cwd=DEPLOY / "prometheus",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
