"""One running product and one browser for all tests of the pages; every test has an office and a profile of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from browser.chromium import ARGUMENTS, find_or_install
from browser.desk import Desk
from debian import Missing
from stack import Stack, running_stack

_offices = itertools.count(1)


@pytest.fixture(scope="package")
def chromium_path() -> str:
    """Path of the Chromium, installed at the first need."""
    try:
        return find_or_install()
    except Missing as missing:
        pytest.skip(str(missing))


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def stack(chromium_path: str) -> AsyncIterator[Stack]:
    """A running product, only where there is a browser for it."""
    assert chromium_path
    async with running_stack(workers=1) as running:
        yield running


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """A Chromium of these tests alone, with a new profile."""
    async with async_playwright() as playwright:
        chromium = await playwright.chromium.launch(executable_path=chromium_path, args=list(ARGUMENTS))
        yield chromium
        await chromium.close()


@pytest_asyncio.fixture(loop_scope="package")
async def desk(stack: Stack, browser: Browser) -> AsyncIterator[Desk]:
    """A counter's desk of an office of its own, with the upstream well and nobody else waiting."""
    await stack.sim.delete("/_sim/outage")
    await stack.no_faults()
    await stack.ops.delete("/v1/ops/breaker/provider/override")
    await stack.ops.delete("/v1/ops/pause")

    async def well() -> bool:
        breakers = (await stack.ops.get("/v1/ops/breaker")).json()["breakers"]
        seen = (breakers["provider"]["state"], (await stack.backlog())["open"])
        return seen == ("closed", 0)

    await stack.until(well)
    async with Desk.at(stack, browser, f"T-{next(_offices):02}") as made:
        yield made
        made.assert_quiet()
