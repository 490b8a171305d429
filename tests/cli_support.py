"""Runs `antrean` as a person does at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def antrean(*args: str, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The command, run to its end in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "antrean", *args],
        cwd=cwd,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
