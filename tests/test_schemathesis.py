"""Generated requests against running processes: every operation, links between them, and answers as the document says.

ANTREAN_TEST_API_EXAMPLES sets the number of cases for each operation in each phase (`make fuzz` sets a large one);
where it is not set, each role is tried on its own operations only.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from contract import OPERATIONS
from stack import OPS_KEY, TERMINAL_KEY, running_stack

CONFIG = Path(__file__).with_name("schemathesis.toml")
EXAMPLES = int(os.environ.get("ANTREAN_TEST_API_EXAMPLES", "0"))
#: Seconds for one run; the default takes some twenty where it is alone.
TIMEOUT_S = 180 + 20 * EXAMPLES
#: Fewer cases than this, and the run has not tried what it should.
CASES_MIN = 1000


ROLES = (
    ("terminal", TERMINAL_KEY, ["--exclude-path-regex", "^/v1/ops/"]),
    ("ops", OPS_KEY, ["--include-path-regex", "^/v1/(ops/|orders)"]),
)


async def _run(port: int, key: str, operations: list[str], report: Path) -> dict[str, Any]:
    arguments = [
        "--config-file", str(CONFIG), "run", f"http://127.0.0.1:{port}/openapi.json",
        "--header", f"Authorization: Bearer {key}",
        "--max-examples", str(EXAMPLES or 1), "--seed", "20240904", "--request-timeout", "15",
        "--continue-on-failure", "--no-color", "--report-json-path", str(report),
        *([] if EXAMPLES else operations),
    ]  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("schemathesis")),
        *arguments,
        cwd=report.parent,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), TIMEOUT_S)
    assert process.returncode == 0, output.decode()[-6000:]
    found: dict[str, Any] = orjson.loads(report.read_bytes())
    return found


async def test_generated_requests_are_answered_as_the_document_says(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    cases, tested = 0, 0
    async with running_stack(workers=1) as stack:
        gateway = stack.children("gateway")[0].pid
        for role, key, operations in ROLES:
            report = await _run(stack.port, key, operations, tmp_path / f"{role}.json")
            assert report["operations"]["tested"] == report["operations"]["selected"]
            assert set(report["phases"]) == {"examples", "coverage", "fuzzing", "stateful"}
            assert {phase["status"] for phase in report["phases"].values()} == {"success"}
            tested += report["operations"]["tested"]
            cases += report["test_cases"]["generated"]
        assert stack.children("gateway")[0].pid == gateway
        assert "a request ended in an error of ours" not in stack.log()
        totals = (await stack.ops.get("/v1/ops/ledger")).json()
        assert totals["difference_idr"] == 0
    record_property("cases", cases)
    assert tested >= len(OPERATIONS)
    print(f"{cases} cases")
    assert cases >= CASES_MIN
