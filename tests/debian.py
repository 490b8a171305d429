"""Programs that some tests use and a small Debian lacks: found, or installed where we may. What is missing is said."""

from __future__ import annotations

import os
import shutil
import subprocess

#: Longest time for fetching and unpacking a package, in seconds.
INSTALL_S = 240
#: By package: what was not tested for want of it. Told once more at the end of the run.
missing: dict[str, str] = {}


class Missing(Exception):
    """A program is not here and can not be installed; the text says what was not tested for it, and what to do."""


def program(*names: str, package: str, untested: str) -> str:
    """Path of the first of these programs, after an attempt to install `package`; only root on a Debian may.

    Raises Missing.
    """
    found = _find(names)
    if found is None and os.geteuid() == 0 and shutil.which("apt-get") is not None:
        _install(package)
        found = _find(names)
    if found is None:
        missing[package] = (
            f"NO {package.upper()}: {untested} NOT tested. Install the package `{package}`, or run this as root on "
            "Debian, where the tests install it themselves."
        )
        raise Missing(missing[package])
    return found


def _find(names: tuple[str, ...]) -> str | None:
    return next(filter(None, map(shutil.which, names)), None)


def _install(package: str) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package],
    ):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        if done.returncode != 0:
            print(f"{' '.join(command)}: {done.stderr[-500:]}")
            return
