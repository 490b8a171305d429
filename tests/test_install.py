"""`make install` asks the index that its user named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

FILE = """\
[global]
index-url = http://file.test/simple
extra-index-url = http://one.test/simple
    http://two.test/simple
trusted-host = file.test
cert = /file.pem
"""


def told_to_uv(folder: Path, **variables: str) -> dict[str, str]:
    """What uv sees of pip's settings, those of a file in `folder` and these variables."""
    (folder / "pip.conf").write_text(FILE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "SSL_"))}
    shown = subprocess.run(
        [
            *("make", "--silent", "--eval=uv-sees: ; @$(uv_env) env", f"BIN={Path(sys.executable).parent}"),
            "uv-sees",
        ],
        cwd=ROOT,
        env={**kept, "PIP_CONFIG_FILE": str(folder / "pip.conf"), **variables},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return dict(line.split("=", 1) for line in shown.splitlines() if line.startswith(("UV_", "SSL_")))


def test_what_pips_file_names_is_passed_on(tmp_path: Path) -> None:
    told = told_to_uv(tmp_path)
    assert told["UV_DEFAULT_INDEX"] == "http://file.test/simple"
    assert told["UV_INDEX"].split() == ["http://one.test/simple", "http://two.test/simple"]
    assert told["UV_INSECURE_HOST"] == "file.test"
    assert told["SSL_CERT_FILE"] == "/file.pem"


def test_a_variable_of_pips_counts_for_more_than_its_file(tmp_path: Path) -> None:
    variable = "http://variable.test/simple"
    told = told_to_uv(
        tmp_path, PIP_INDEX_URL=variable, PIP_EXTRA_INDEX_URL="http://v2.test", PIP_CERT="/v.pem"
    )
    assert (told["UV_DEFAULT_INDEX"], told["UV_INDEX"]) == (variable, "http://v2.test")
    assert told["SSL_CERT_FILE"] == "/v.pem"


def test_a_variable_of_uvs_counts_for_most(tmp_path: Path) -> None:
    uvs, pips = "http://uv.test/simple", "http://pip.test/simple"
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        told = told_to_uv(
            tmp_path, PIP_INDEX_URL=pips, PIP_CERT="/v.pem", SSL_CERT_FILE="/s.pem", **{name: uvs}
        )
        assert told["UV_DEFAULT_INDEX"] == uvs
        assert told["SSL_CERT_FILE"] == "/s.pem"
