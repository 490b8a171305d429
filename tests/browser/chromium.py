"""Debian's Chromium: found, or installed where we may."""

from __future__ import annotations

import os
import shutil
import subprocess

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
#: Longest time for fetching and unpacking the packages, in seconds.
INSTALL_S = 240
MISSING = (
    "NO CHROMIUM: the pages were NOT tested. Install the package `chromium`, or run this as root on Debian, "
    "where the tests install it themselves."
)


def find() -> str | None:
    """Path of a Chromium, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def find_or_install() -> str | None:
    """The same after an attempt to install it; only root on a Debian may."""
    if (found := find()) is not None or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return found
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "-qq"],
        ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=INSTALL_S, check=False
        )
        if done.returncode != 0:
            print(f"{' '.join(command)}: {done.stderr[-500:]}")
            return None
    return find()
