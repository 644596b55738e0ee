"""Child processes that are started again when they end and never outlive their supervisor."""

import asyncio
import os
import sys
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sightline.cli import tether


@dataclass(frozen=True, slots=True)
class Program:
    """What to run; `env` is added to the supervisor's own, all output goes to the end of `log`."""

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    log: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How soon to start a program again, and how long to wait for one that was asked to end."""

    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0
    steady_s: float = 30.0
    grace_s: float = 45.0

    def next_wait_s(self, wait_s: float) -> float:
        return min(2 * wait_s, self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class Ending:
    """A program ended by itself; a negative `code` is the number of the signal that killed it."""

    program: Program
    code: int
    wait_s: float

    def __str__(self) -> str:
        how = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with code {self.code}"
        return f"{self.program.name} {how} and starts again in {self.wait_s:.1f} s (log: {self.program.log})"


@asynccontextmanager
async def supervised(*programs: Program, patience: Patience, notify: Callable[[Ending], None]) -> AsyncIterator[None]:
    """Keeps the programs running inside the block, and ends them all at its end."""
    async with asyncio.TaskGroup() as group:
        keepers = [group.create_task(_keep_running(program, patience, notify)) for program in programs]
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()


async def _keep_running(program: Program, patience: Patience, notify: Callable[[Ending], None]) -> None:
    wait_s = patience.first_wait_s
    while True:
        started_at = time.monotonic()
        code = await _run(program, patience.grace_s)
        if time.monotonic() - started_at > patience.steady_s:
            wait_s = patience.first_wait_s
        notify(Ending(program, code, wait_s))
        await asyncio.sleep(wait_s)
        wait_s = patience.next_wait_s(wait_s)


async def _run(program: Program, grace_s: float) -> int:
    process = await _start(program)
    try:
        return await process.wait()
    finally:
        await _stop(process, grace_s)


async def _start(program: Program) -> Process:
    with program.log.open("ab") as log:
        # A session of its own keeps the terminal's Ctrl-C away: who ends when is the supervisor's to say.
        return await asyncio.create_subprocess_exec(
            *tethered(program.command),
            stdin=DEVNULL,
            stdout=log,
            stderr=STDOUT,
            env=os.environ | program.env,
            start_new_session=True,
        )


def tethered(command: tuple[str, ...]) -> tuple[str, ...]:
    """The command, run so that it ends with the process that runs it."""
    return (sys.executable, "-IS", tether.__file__, str(os.getpid()), *command)


async def _stop(process: Process, grace_s: float) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        process.kill()
        await process.wait()
