"""The faults that `make mutants` makes are faults of the code as it stands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_every_mutant_finds_its_place() -> None:
    script = Path(__file__).parent / "mutants" / "run.py"
    found = subprocess.run(
        [sys.executable, str(script), "--places"], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 0, found.stderr
