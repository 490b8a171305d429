"""The peers' own virtual environments, made from their locks when they are first needed."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
HOME = HERE.parents[1] / ".venv-bench"
#: Longest that one installation may take, in seconds.
INSTALL_S = 180


class CannotInstall(Exception):
    """A peer's packages are not to be had. The message says why."""


def bin_of(lock_name: str) -> Path:
    """The folder of programs of a lock's environment. Raises CannotInstall."""
    lock = HERE / f"{lock_name}.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    home = HOME / f"{lock_name}-{digest}"
    if (home / "done").exists():
        return home / "bin"
    shutil.rmtree(home, ignore_errors=True)
    python = home / "bin" / "python"
    make = [sys.executable, "-m", "venv", str(home)]
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:
        for command in (make, [*pip, "--require-hashes", "-r", str(lock)]):
            subprocess.run(command, check=True, capture_output=True, timeout=INSTALL_S)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", None) or b""
        last = said.decode(errors="replace").strip().splitlines()[-1:] or [type(error).__name__]
        raise CannotInstall(last[0][:200]) from error
    (home / "done").touch()
    return home / "bin"
