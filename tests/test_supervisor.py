"""Children are waited for, replaced when they die, stopped in order, and none outlives its supervisor."""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from antrean.config import supervisor as supervisor_module
from antrean.config.supervisor import OOM_STEP, ChildFailed, Supervisor
from processes import READY, SLEEP, UNTIL_HEARD, lives, python, until


@pytest.fixture
async def supervisor() -> AsyncIterator[Supervisor]:
    supervisor = Supervisor()
    yield supervisor
    at_once = asyncio.Event()
    at_once.set()
    await supervisor.stop([], at_once=at_once)


def oom_score(pid: int | None) -> int:
    return int(Path(f"/proc/{pid}/oom_score_adj").read_text())


async def test_a_child_is_started_when_it_says_that_it_is_ready(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    waits = f"import os, sys, time\nwhile not os.path.exists({str(go)!r}): time.sleep(0.01)\n"
    starting = asyncio.create_task(supervisor.start(python("slow", waits + READY + SLEEP)))
    done, _ = await asyncio.wait({starting}, timeout=0.3)
    assert not done
    go.touch()
    child = await starting
    assert child.pid is not None


async def test_a_child_that_dies_is_replaced_and_a_ready_one_counts_anew(supervisor: Supervisor) -> None:
    child = await supervisor.start(python("mortal", READY + SLEEP))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in {None, first}, "a successor")
    assert child.starts == 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps such a score")
async def test_when_memory_runs_out_one_that_is_spared_is_killed_after_the_others_and_their_successors(
    supervisor: Supervisor,
) -> None:
    spec = python("worker", READY + SLEEP)
    spared = await supervisor.start(dataclasses.replace(spec, name="valkey", spared=True))
    child = await supervisor.start(spec)
    ours = oom_score(os.getpid())
    assert (oom_score(spared.pid), oom_score(child.pid)) == (ours, min(ours + OOM_STEP, 1000))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.starts == 2 and child.pid is not None, "a successor")
    assert oom_score(child.pid) == min(ours + OOM_STEP, 1000)


async def test_a_successor_is_told_that_it_is_one(supervisor: Supervisor, tmp_path: Path) -> None:
    told = tmp_path / "told"
    note = f"open({str(told)!r}, 'a').write(' '.join(sys.argv[2:]) + ';')\n"
    spec = python("mortal", f"import sys\n{note}" + READY + SLEEP)
    child = await supervisor.start(dataclasses.replace(spec, again=["--again"]))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await until(lambda: child.pid not in {None, first} and told.read_text().count(";") == 2, "a successor")
    assert [line.split() for line in told.read_text().split(";")] == [[], ["--again"], []]


async def test_the_pause_before_a_replacement_doubles_up_to_its_bound(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(supervisor_module, "BACKOFF_MAX_S", 0.2)
    starts = tmp_path / "starts"
    note = f"import time; open({str(starts)!r}, 'a').write(f'{{time.monotonic()}}\\n');"
    await supervisor.start(python("hopeless", note + READY + UNTIL_HEARD))
    await until(lambda: len(starts.read_text().split()) >= 6, "six starts")

    at = [float(line) for line in starts.read_text().split()]
    pauses = [later - earlier for earlier, later in itertools.pairwise(at)]
    for pause, least in zip(pauses, [0.05, 0.1, 0.2, 0.2, 0.2], strict=False):
        assert pause >= least
    assert pauses[-1] < 1


async def test_after_a_long_life_the_pause_is_short_again(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "BACKOFF_FIRST_S", 0.05)
    monkeypatch.setattr(supervisor_module, "BACKOFF_MAX_S", 60)
    monkeypatch.setattr(supervisor_module, "BACKOFF_RESET_S", 0)
    child = await supervisor.start(python("short", READY))
    # With doubling the eleventh start would come after 50 s.
    await until(lambda: child.starts >= 11, "eleven starts")


@pytest.mark.parametrize(
    ("code", "ready_timeout_s", "message"),
    [
        ("raise SystemExit(3)", 10, "ended with code 3 before it was ready"),
        ("import os, sys; os.close(int(sys.argv[1]));" + SLEEP, 10, "without a word"),
        (SLEEP, 0.2, "not ready within 0.2 s"),
    ],
)
async def test_a_child_that_does_not_get_ready_fails_the_start_and_is_gone(
    supervisor: Supervisor, tmp_path: Path, code: str, ready_timeout_s: float, message: str
) -> None:
    pid_file = tmp_path / "pid"
    note = f"import os; open({str(pid_file)!r}, 'w').write(str(os.getpid()));"
    with pytest.raises(ChildFailed, match=message) as failure:
        await supervisor.start(python("bad", note + code, ready_timeout_s=ready_timeout_s))
    assert failure.value.name == "bad"
    assert not pid_file.exists() or not lives(int(pid_file.read_text()))


async def test_a_program_that_is_not_there_fails_the_start(supervisor: Supervisor) -> None:
    spec = supervisor_module.ChildSpec("none", ["/no/such/program"])
    with pytest.raises(ChildFailed, match="can not be started"):
        await supervisor.start(spec)


async def test_stages_stop_one_after_another_and_a_stage_together(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    story = tmp_path / "story"
    code = f"""
import os, signal, sys, time
def note(what):
    with open({str(story)!r}, "a") as file: file.write(f"{{what}} {{sys.argv[2]}}\\n")
def stop(*_):
    note("told"); time.sleep(0.2); note("gone"); raise SystemExit
signal.signal(signal.SIGTERM, stop)
os.write(int(sys.argv[1]), b"ready\\n")
while True: signal.pause()
"""
    for name in ("store", "front", "hand-1", "hand-2"):
        await supervisor.start(python(name, code, name))
    await supervisor.stop(
        [lambda name: name == "front", lambda name: name.startswith("hand")], at_once=asyncio.Event()
    )

    lines = story.read_text().splitlines()
    assert lines[:2] == ["told front", "gone front"]
    assert sorted(lines[2:4]) == ["told hand-1", "told hand-2"]
    assert sorted(lines[4:6]) == ["gone hand-1", "gone hand-2"]
    assert lines[6:] == ["told store", "gone store"]


DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"


async def test_a_child_that_does_not_heed_sigterm_is_killed_within_its_bound(supervisor: Supervisor) -> None:
    child = await supervisor.start(python("deaf", DEAF + READY + SLEEP, stop_timeout_s=0.2))
    pid = child.pid
    assert pid is not None
    async with asyncio.timeout(5):
        await supervisor.stop([], at_once=asyncio.Event())
    assert not lives(pid)


async def test_the_second_interrupt_does_not_wait_for_the_bound(supervisor: Supervisor) -> None:
    child = await supervisor.start(python("deaf", DEAF + READY + SLEEP, stop_timeout_s=60))
    pid = child.pid
    at_once = asyncio.Event()
    stopping = asyncio.create_task(supervisor.stop([], at_once=at_once))
    await asyncio.sleep(0)
    at_once.set()
    async with asyncio.timeout(5):
        await stopping
    assert pid is not None
    assert not lives(pid)


async def test_ctrl_c_in_the_terminal_does_not_reach_a_child(supervisor: Supervisor) -> None:
    child = await supervisor.start(python("apart", READY + SLEEP))
    assert child.pid is not None
    assert os.getsid(child.pid) != os.getsid(0)


async def test_no_child_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = f"""
import asyncio
from pathlib import Path
from processes import READY, SLEEP, python
from antrean.config.supervisor import Supervisor
async def main():
    child = await Supervisor().start(python("orphan", READY + SLEEP))
    Path({str(pid_file)!r}).write_text(f"{{child.pid}}\\n")
    await asyncio.Event().wait()
asyncio.run(main())
"""
    tests = str(Path(__file__).parent)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([*sys.path, tests])}
    parent = subprocess.Popen([sys.executable, "-c", program], env=env)
    try:
        await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "the child")
        child = int(pid_file.read_text())
        assert lives(child)
    finally:
        parent.kill()
        parent.wait(10)
    await until(lambda: not lives(child), "the end of the orphan")
