"""Settings that are set but not read: names that this release does not know, and lines of `.env` that it skips.

They are reported and nothing is refused: a later release may know the name. No value is shown, nor a word that may be
one.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from antrean.config.settings import Settings

PREFIX = "ANTREAN_"
KNOWN = frozenset(PREFIX + name.upper() for name in Settings.model_fields)
#: Variables that are no settings but are read by a command (`antrean send`).
OTHERS = frozenset({"ANTREAN_SEND_KEY"})
ENV_FILE = Path(".env")
#: Most lines reported: a file of another kind would cause one for each of its own.
LINES_MAX = 20

_NAME = re.compile(rf"\s*(?:export\s+)?({PREFIX}\w{{1,64}})", re.IGNORECASE)


def passed_over(env: Mapping[str, str] = os.environ, file: Path = ENV_FILE) -> list[str]:
    """A line for each, with the nearest known name. Raises OSError or UnicodeDecodeError as reading settings does."""
    lines: list[str] = []
    names = list(env)
    if file.is_dir():
        lines.append(f"{file} is a folder: no setting is read from it")
    elif file.is_symlink() and not file.exists():
        lines.append(f"{file} is a link to nothing: no setting is read from it")
    elif file.is_file():
        with file.open(encoding="utf-8-sig") as text:
            bindings = list(parse_stream(text))
        names += [each.key for each in bindings if each.key and each.value is not None]
        lines += [_unread(file, each) for each in bindings if _is_unread(each)]
    lines += [f"{name} is no setting of this release{_nearest(name)}" for name in _unknown(names)]
    more = len(lines) - LINES_MAX
    return [*lines[:LINES_MAX], f"and {more} more"] if more > 0 else lines


def _is_unread(line: Binding) -> bool:
    return line.error or (line.key is not None and line.value is None)


def _unread(file: Path, line: Binding) -> str:
    text = line.original.string
    # For the parser a statement begins with the empty lines before it.
    number = line.original.line + text[: len(text) - len(text.lstrip())].count("\n")
    named = _NAME.match(text)
    name = named[1].upper() if named else ""
    hint = "" if name in KNOWN else _nearest(name)
    return f"{file}, line {number}{name and f', {name},'} is not NAME=value and is passed over{hint}"


def _unknown(names: Iterable[str]) -> Iterator[str]:
    upper = {name.upper() for name in names}
    # Kubernetes sets variables for every service in every container; a service of ours begins with our prefix.
    services = [name.removesuffix("_SERVICE_HOST") for name in upper if name.endswith("_SERVICE_HOST")]
    links = tuple(f"{service}_{kind}" for service in services for kind in ("SERVICE_", "PORT"))
    for name in sorted(upper - KNOWN - OTHERS):
        if (found := _NAME.match(name)) and not name.startswith(links):
            yield found[1]


def _nearest(name: str) -> str:
    # Compared without the common prefix, which would make any two names look alike.
    known = [each.removeprefix(PREFIX) for each in sorted(KNOWN)]
    found = difflib.get_close_matches(name.removeprefix(PREFIX), known, 1)
    return f": is {PREFIX}{found[0]} meant?" if found else ""
