"""No tracked file holds a secret: not a key of ours, not one of any cloud, not a private key."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

#: What secrets look like, by who gives them out.
FORMS = {
    "a key of ours": r"antrean_(?:terminal|supervisor|ops)_[0-9a-f]{12}_[\w-]{43}",
    "a webhook secret": r"whsec_[A-Za-z0-9+/=]{32,}",
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----",
    "a JWT": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "an AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a GitHub token": r"\bgh[pousr]_[A-Za-z0-9]{36,}",
    "a Google key": r"\bAIza[\w-]{35}\b",
    "a Slack token": r"\bxox[abpr]-[\w-]{10,}",
    "a PyPI token": r"\bpypi-[\w-]{40,}",
    "a password in a URL": r"\b[a-z]{2,10}://[^/\s:@\"'<>{}$[]{1,40}:(?!secret@)[^/\s@\"'<>{}$]{6,}@(?!127\.|localhost)",
    "a long secret in a setting": (
        r"(?i)^[ \t]*(?:export )?[A-Z_]*(?:PASSWORD|SECRET|TOKEN|_KEY)[ \t]*[=:][ \t]*[\"']?[A-Za-z0-9+/_-]{40,}"
    ),
}
SECRET = {what: re.compile(form, re.MULTILINE) for what, form in FORMS.items()}
#: Made for tests and benchmarks, and good for nothing else: such a line says so.
MADE_UP = re.compile(r"of-the-tests|bench-|replay-|made.?up", re.IGNORECASE)


def found_in(text: str) -> list[str]:
    """Kinds of secrets in a text, with the lines they stand on."""
    found = []
    for what, form in SECRET.items():
        for match in form.finditer(text):
            start = text.rfind("\n", 0, match.end()) + 1
            line = text[start : text.find("\n", match.end()) % (len(text) + 1)]
            if not MADE_UP.search(line):
                found.append(f"{what} on line {text.count(chr(10), 0, match.start()) + 1}")
    return found


@pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(),
    reason="no git, or no clone: it can not be told which files are tracked",
)
def test_no_tracked_file_holds_a_secret() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    names = [name for name in listed.decode().split("\0") if name]
    assert len(names) > 100
    told = {
        name: found
        for name in names
        if (ROOT / name).is_file() and (found := found_in((ROOT / name).read_text(errors="replace")))
    }
    assert told == {}


@pytest.mark.parametrize(
    "line",
    [
        "antrean_" + "ops_0123456789ab_" + "x" * 43,
        "whsec_" + "A" * 44,
        "-----BEGIN RSA " + "PRIVATE KEY-----",
        "AKIA" + "ABCDEFGHIJKLMNOP",
        "redis://user:" + "hunter22@redis.internal:6379",
        "ANTREAN_UPSTREAM_PASSWORD=" + "a1B2" * 12,
        "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0In0." + "s5dPzXG4l1m3",
    ],
)
def test_the_scan_finds_what_it_is_for(line: str) -> None:
    assert found_in(f"first\n{line}\nlast\n")
