"""What is set and not read is said at the start and by the doctor, by name and never by value; nothing stops for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from antrean.cli import _process
from antrean.config.checkup import examine
from antrean.config.durability import Level
from antrean.config.setting_names import LINES_MAX, passed_over
from antrean.config.settings import Settings, load_settings
from cli_support import antrean

AWAY = {"ANTREAN_REDIS_URL": "redis://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ANTREAN_HTTP_PROT", "ANTREAN_HTTP_PROT is no setting of this release: is ANTREAN_HTTP_PORT meant?"),
        ("antrean_worker", "ANTREAN_WORKER is no setting of this release: is ANTREAN_WORKERS meant?"),
        ("ANTREAN_XYZZY", "ANTREAN_XYZZY is no setting of this release"),
    ],
)
def test_a_name_that_no_setting_has_is_said_with_the_nearest(tmp_path: Path, name: str, told: str) -> None:
    assert passed_over({name: "geheim"}, tmp_path / ".env") == [told]
    (tmp_path / ".env").write_text(f"{name}=geheim\n")
    assert passed_over({name: "geheim"}, tmp_path / ".env") == [told]


def test_names_that_somebody_reads_are_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# a word\n\nexport ANTREAN_DRAIN_S=4\nPOSTGRES_PORT=1\nantrean_workers=2\n"
    )
    env = {
        "PATH": "/bin",
        "ANTREAN_HTTP_PORT": "1",
        "ANTREAN_SEND_KEY": "x",
        # What Kubernetes sets where services are named `antrean` and `antrean-db`.
        "ANTREAN_SERVICE_HOST": "10.0.0.1",
        "ANTREAN_PORT_80_TCP_ADDR": "10.0.0.1",
        "ANTREAN_DB_SERVICE_HOST": "10.0.0.2",
        "ANTREAN_DB_PORT": "tcp://10.0.0.2:5432",
    }
    assert passed_over(env, tmp_path / ".env") == []
    assert passed_over({"ANTREAN_PORT": "80"}, tmp_path / "none") != []


def test_a_line_that_sets_nothing_is_said_by_its_number_without_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        "# kept",
        "",
        "ANTREAN_HTTP_PORT 24407",
        "ANTREAN_PUBLIC_URL",
        "geheim",
        "",
        'ANTREAN_PUBLIK_URL="geheim',
    ]
    (tmp_path / ".env").write_text("\n".join(lines))
    monkeypatch.chdir(tmp_path)
    assert passed_over({}) == [
        ".env, line 3, ANTREAN_HTTP_PORT, is not NAME=value and is passed over",
        ".env, line 4, ANTREAN_PUBLIC_URL, is not NAME=value and is passed over",
        ".env, line 5 is not NAME=value and is passed over",
        ".env, line 7, ANTREAN_PUBLIK_URL, is not NAME=value and is passed over: is ANTREAN_PUBLIC_URL meant?",
    ]
    (tmp_path / ".env").write_text("geheim\n" * 1000)
    assert passed_over({})[LINES_MAX:] == [f"and {1000 - LINES_MAX} more"]


def test_a_settings_file_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    (line,) = passed_over({}, tmp_path / "folder")
    assert line.endswith("is a folder: no setting is read from it")
    (line,) = passed_over({}, tmp_path / "link")
    assert line.endswith("is a link to nothing: no setting is read from it")


def test_a_process_says_it_once_and_goes_on(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("ANTREAN_HTTP_PORT 24407\n")
    alone = antrean("gateway", cwd=tmp_path, ANTREAN_HTTP_PROT="geheim", **AWAY)
    assert alone.stderr.count("ANTREAN_HTTP_PROT is no setting") == 1
    assert alone.stderr.count("line 1") == 1
    assert "Error: Redis does not answer" in alone.stderr
    child = antrean("gateway", "--ready-fd", "1", cwd=tmp_path, ANTREAN_HTTP_PROT="geheim", **AWAY)
    assert "Error: Redis does not answer" in child.stderr
    assert "ANTREAN_HTTP_PROT" not in child.stderr
    up = antrean("up", cwd=tmp_path, ANTREAN_HTTP_PROT="geheim", ANTREAN_SIMULATOR_PORT="8080")
    assert up.stderr.count("ANTREAN_HTTP_PROT is no setting") == 1
    assert "geheim" not in alone.stderr + child.stderr + up.stderr


async def test_the_doctor_says_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    found = {f.check: f for f in await examine(settings)}["settings"]
    assert found.level is Level.OK
    monkeypatch.setenv("ANTREAN_HTTP_PROT", "geheim")
    found = {f.check: f for f in await examine(settings)}["settings"]
    assert found.level is Level.WARN
    assert found.seen == "ANTREAN_HTTP_PROT is no setting of this release: is ANTREAN_HTTP_PORT meant?"


def test_a_settings_file_that_can_not_be_read_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    load_settings.cache_clear()
    monkeypatch.setattr("antrean.config.settings.Settings", refused)
    with pytest.raises(_process.SettingsError, match=r"\.env can not be read: Permission denied"):
        _process.read_settings()
