"""Debian's Chromium: found, or installed where we may."""

from __future__ import annotations

import debian

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


def find_or_install() -> str:
    """Path of a Chromium. Raises debian.Missing."""
    return debian.program("chromium", "chromium-browser", package="chromium", untested="the pages were")
