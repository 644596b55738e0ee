"""Supervises child processes: restarts them when they end, and never lets them outlive their supervisor."""

import asyncio
import os
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, STDOUT, Process
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from sightline.cli import parent_death
from sightline.http.transport.listener import LISTEN_FD, STOPPING_FD

EXIT_S = 0.5  # time in which a killed process ends


@dataclass(frozen=True, slots=True)
class Program:
    """A program to run; `env` is added to the supervisor's, and all output is appended to `log`.

    A program with a `listener` inherits this socket, which stays open when the program ends, so that clients wait in
    its backlog during a restart. Such a program reports when it begins to stop, and its successor starts then.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    listener: socket.socket | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """Waits between restarts of a program, and the time that it gets to stop."""

    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0
    steady_s: float = 30.0
    grace_s: float = 45.0

    def next_wait_s(self, wait_s: float) -> float:
        return min(2 * wait_s, self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class ProgramExit:
    """Exit of a program that was not stopped; a negative `code` is the number of the signal that killed it."""

    program: Program
    code: int
    wait_s: float

    def __str__(self) -> str:
        how = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with code {self.code}"
        return f"{self.program.name} {how} and starts again in {self.wait_s:.1f} s (log: {self.program.log})"


@asynccontextmanager
async def supervised(
    *programs: Program, policy: RestartPolicy, notify: Callable[[ProgramExit], None]
) -> AsyncIterator[None]:
    """Keeps the programs running inside the block, and stops them all at its end."""
    async with asyncio.TaskGroup() as group:
        runs = [group.create_task(_keep_running(program, policy, notify)) for program in programs]
        try:
            yield
        finally:
            for run in runs:
                run.cancel()


async def _keep_running(program: Program, policy: RestartPolicy, notify: Callable[[ProgramExit], None]) -> None:
    wait_s = policy.first_wait_s
    async with asyncio.TaskGroup() as leaving:
        while True:
            started_at = time.monotonic()
            code = await _run(program, policy.grace_s, leaving)
            if time.monotonic() - started_at > policy.steady_s:
                wait_s = policy.first_wait_s
            if code is None:
                continue
            notify(ProgramExit(program, code, wait_s))
            await asyncio.sleep(wait_s)
            wait_s = policy.next_wait_s(wait_s)


async def _run(program: Program, grace_s: float, leaving: asyncio.TaskGroup) -> int | None:
    """Returns the exit code, or None if the program begins to stop, which continues in `leaving`."""
    process, stops = await _start(program)
    left = False
    try:
        ended = asyncio.create_task(process.wait())
        await asyncio.wait((ended, stops), return_when=asyncio.FIRST_COMPLETED)
        # An exit also closes the notice's pipe, and counts as an exit.
        await asyncio.wait((ended,), timeout=None if not stops.done() else EXIT_S)
        if ended.done():
            return ended.result()
        leaving.create_task(_leave(process, grace_s))
        left = True
        return None
    finally:
        if not left:
            await _stop(process, grace_s)


async def _leave(process: Process, grace_s: float) -> None:
    """Waits for a program that is stopping, as long as for one that is terminated."""
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        process.kill()
        await process.wait()
    finally:
        await _stop(process, grace_s)


async def _start(program: Program) -> tuple[Process, "asyncio.Future[None]"]:
    """Starts the program; returns the process, and a future that is done when it begins to stop."""
    stops, notice = _stop_notice()
    inherited = {} if program.listener is None else {LISTEN_FD: program.listener.fileno(), STOPPING_FD: notice}
    try:
        with program.log.open("ab") as log:
            # A separate session keeps the terminal's Ctrl-C away, as the supervisor decides the order of stopping.
            process = await asyncio.create_subprocess_exec(
                *with_parent_death(program.command),
                stdin=DEVNULL,
                stdout=log,
                stderr=STDOUT,
                env=os.environ | program.env | {name: str(fd) for name, fd in inherited.items()},
                pass_fds=tuple(inherited.values()),
                start_new_session=True,
            )
    finally:
        os.close(notice)
    # A program without a listener gives no notice; only its exit counts.
    return process, stops if program.listener is not None else asyncio.get_running_loop().create_future()


def _stop_notice() -> tuple["asyncio.Future[None]", int]:
    """Opens a pipe whose writing end the program closes when it begins to stop, or the kernel when it exits."""
    loop = asyncio.get_running_loop()
    reading, writing = os.pipe()
    stops: asyncio.Future[None] = loop.create_future()

    def on_closed() -> None:
        loop.remove_reader(reading)
        os.close(reading)
        if not stops.done():
            stops.set_result(None)

    loop.add_reader(reading, on_closed)
    return stops, writing


def with_parent_death(command: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the command wrapped so that its process ends with this process."""
    return (sys.executable, "-IS", parent_death.__file__, str(os.getpid()), *command)


async def _stop(process: Process, grace_s: float) -> None:
    if process.returncode is not None:
        return
    process.terminate()
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        process.kill()
        await process.wait()
