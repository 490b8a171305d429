"""Tests that only compute run as processes beside all others, which mostly wait: begun first, judged last.

`@pytest.mark.beside("NAME", command, …)` says which; each `command` makes an argv of the quick Valkey's URL.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

#: Longest run of one of them, in seconds.
RUN_S = 600

Command = Callable[[str], list[str]]


@dataclass
class Beside:
    """Processes by the name of their test. `at_once`: how many may run at a time."""

    at_once: int
    _runs: dict[str, list[Future[str]]] = field(default_factory=dict)
    _processes: list[subprocess.Popen[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pool = ThreadPoolExecutor(self.at_once)

    def begin(self, name: str, commands: list[list[str]]) -> None:
        """Run them as soon as there is room."""
        self._runs[name] = [self._pool.submit(self._run, argv) for argv in commands]

    def outputs(self, name: str) -> list[str]:
        """What they printed. Raises AssertionError with all of it where one failed."""
        return [run.result(RUN_S) for run in self._runs[name]]

    def stop(self) -> None:
        """End what still runs; nothing more begins."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in self._processes:
            process.kill()
        self._pool.shutdown()

    def _run(self, argv: list[str]) -> str:
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            self._processes.append(process)
            output = process.communicate()[0]
        assert process.returncode == 0, output
        return output
