import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import PIPE, Popen

import psutil
import pytest

from sightline.cli.supervisor import Program, ProgramExit, RestartPolicy, supervised

FAST_RESTARTS = RestartPolicy(first_wait_s=0.01, longest_wait_s=0.05, grace_s=0.5)
REPORT_PID = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).open('a').write(f'{os.getpid()}\\n');"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);"

SUPERVISE = """
import asyncio, pathlib, sys
from sightline.cli.supervisor import RestartPolicy, Program, supervised

async def main():
    program = Program("sleeper", (sys.executable, "-c", sys.argv[1], sys.argv[2]), {}, pathlib.Path(sys.argv[3]))
    async with supervised(program, policy=RestartPolicy(), notify=print):
        await asyncio.sleep(600)

asyncio.run(main())
"""


def python(code: str, folder: Path, **env: str) -> Program:
    return Program("child", (sys.executable, "-c", code, str(folder / "pids")), env, folder / "child.log")


def pids(folder: Path) -> list[int]:
    file = folder / "pids"
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def runs(pid: int) -> bool:
    """A dead process whose parent does not look after it stays in the table as a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


@pytest.mark.anyio
async def test_a_crashed_child_is_started_again(tmp_path: Path) -> None:
    endings: list[ProgramExit] = []
    program = python(REPORT_PID + "sys.exit(7)", tmp_path)
    async with supervised(program, policy=FAST_RESTARTS, notify=endings.append):
        await until(lambda: len(endings) >= 3)
    assert {ending.code for ending in endings} == {7}
    assert len(set(pids(tmp_path))) >= 3


@pytest.mark.anyio
async def test_waits_longer_after_each_crash_up_to_a_limit(tmp_path: Path) -> None:
    endings: list[ProgramExit] = []
    async with supervised(python("raise SystemExit(1)", tmp_path), policy=FAST_RESTARTS, notify=endings.append):
        await until(lambda: len(endings) >= 5)
    assert [ending.wait_s for ending in endings[:5]] == [0.01, 0.02, 0.04, 0.05, 0.05]


@pytest.mark.anyio
async def test_a_child_that_ran_steadily_is_started_again_soon(tmp_path: Path) -> None:
    endings: list[ProgramExit] = []
    policy = RestartPolicy(first_wait_s=0.01, steady_s=0.0)
    async with supervised(python("raise SystemExit(1)", tmp_path), policy=policy, notify=endings.append):
        await until(lambda: len(endings) >= 3)
    assert {ending.wait_s for ending in endings} == {0.01}


@pytest.mark.anyio
async def test_a_killed_child_is_started_again_and_the_signal_is_told(tmp_path: Path) -> None:
    endings: list[ProgramExit] = []
    program = python(REPORT_PID + "time.sleep(600)", tmp_path)
    async with supervised(program, policy=FAST_RESTARTS, notify=endings.append):
        await until(lambda: pids(tmp_path))
        os.kill(pids(tmp_path)[0], signal.SIGKILL)
        await until(lambda: len(pids(tmp_path)) == 2)
    assert "killed by signal 9" in str(endings[0])


@pytest.mark.anyio
async def test_child_processes_end_with_the_block(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    programs = [python(REPORT_PID + "time.sleep(600)", folder) for folder in folders]
    async with supervised(*programs, policy=FAST_RESTARTS, notify=lambda _: None):
        await until(lambda: all(map(pids, folders)))
    assert not any(runs(pid) for folder in folders for pid in pids(folder))


@pytest.mark.anyio
async def test_a_child_that_ignores_the_request_to_end_is_killed(tmp_path: Path) -> None:
    program = python(STUBBORN + REPORT_PID + "time.sleep(600)", tmp_path)
    async with supervised(program, policy=FAST_RESTARTS, notify=lambda _: None):
        await until(lambda: pids(tmp_path))
    assert not runs(pids(tmp_path)[0])


@pytest.mark.anyio
async def test_output_goes_to_the_log_and_the_environment_is_added(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['GREETING'], bool(os.environ['PATH'])); sys.exit('no luck')"
    endings: list[ProgramExit] = []
    async with supervised(python(code, tmp_path, GREETING="hello"), policy=FAST_RESTARTS, notify=endings.append):
        await until(lambda: endings)
    log = (tmp_path / "child.log").read_text()
    assert "hello True" in log
    assert "no luck" in log


@pytest.mark.anyio
async def test_a_log_that_cannot_be_written_is_no_silent_failure(tmp_path: Path) -> None:
    program = Program("child", (sys.executable, "-c", ""), {}, tmp_path / "missing" / "child.log")
    with pytest.raises(ExceptionGroup) as caught:
        async with supervised(program, policy=FAST_RESTARTS, notify=lambda _: None):
            await asyncio.sleep(30)
    assert caught.group_contains(FileNotFoundError)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_no_child_outlives_a_killed_supervisor(
    tmp_path: Path, started: Callable[..., "Popen[str]"], eventually: Callable[[Callable[[], object]], None]
) -> None:
    child = STUBBORN + REPORT_PID + "time.sleep(600)"
    supervisor = started(
        sys.executable, "-c", SUPERVISE, child, str(tmp_path / "pids"), str(tmp_path / "log"), stdout=PIPE
    )
    eventually(lambda: pids(tmp_path))
    supervisor.kill()
    supervisor.wait()
    eventually(lambda: not runs(pids(tmp_path)[0]))
