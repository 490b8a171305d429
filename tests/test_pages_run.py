"""What the pages tell to type works: every block marked `console run` is typed, in the order of the page."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest

import state_pictures
from debian import Missing, program
from stack import OPS_KEY, TERMINAL_KEY, running_stack

DOCS = Path(__file__).parent.parent / "docs"
BLOCK = re.compile(r"^```console run\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PAGES = ("quickstart.md", "operations.md")


def script_of(page: str) -> str:
    """The commands of a page: a line after `$ `, and those that follow without it (the rest of a here-document)."""
    text = (DOCS / page).read_text()
    return "\n".join(line.removeprefix("$ ") for block in BLOCK.findall(text) for line in block.splitlines())


@pytest.fixture(scope="module")
def curl() -> str:
    """Path of curl, which the pages use."""
    try:
        return program("curl", package="curl", untested="the commands of the pages were")
    except Missing as missing:
        pytest.skip(str(missing))


async def test_the_commands_of_the_pages_work_as_they_stand(curl: str) -> None:
    assert curl
    async with running_stack(workers=1) as stack:
        env = stack.env | {
            "HOST": f"http://127.0.0.1:{stack.port}",
            "SIMULATOR": f"http://127.0.0.1:{stack.sim_port}",
            "KEY": TERMINAL_KEY,
            "OPS": OPS_KEY,
            "PATH": f"{Path(sys.executable).parent}:{stack.env['PATH']}",
        }
        for page in PAGES:
            commands = script_of(page)
            assert commands, f"{page} has nothing to run"
            done = await asyncio.to_thread(
                subprocess.run,
                ["bash", "-euxo", "pipefail", "-c", commands],
                env=env,
                cwd=stack.folder,
                capture_output=True,
                text=True,
                timeout=90,
                check=False,
            )
            assert done.returncode == 0, f"{page}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"


def test_the_pictures_of_the_states_are_those_of_the_code() -> None:
    text = state_pictures.PAGE.read_text()
    assert text.count("```mermaid") == 6
    assert text == state_pictures.page(text), "run python tests/state_pictures.py"


def test_every_page_has_its_place_on_the_site() -> None:
    config = (DOCS.parent / "mkdocs.yml").read_text()
    pages = {str(page.relative_to(DOCS)) for page in DOCS.rglob("*.md")}
    assert {page for page in pages if page not in config} == set()
