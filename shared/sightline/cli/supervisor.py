"""Child processes that are started again when they end and never outlive their supervisor."""

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
from sightline.http.listener import LISTEN_FD, STOPPING_FD

ENDING_S = 0.5  # within which a process has ended that was killed


@dataclass(frozen=True, slots=True)
class Program:
    """What to run; `env` is added to the supervisor's own, all output goes to the end of `log`.

    A program with a `listener` is given this socket, which stays open whatever becomes of the program: clients wait in
    its backlog while it starts again. It says when it begins to stop, and its successor starts then.
    """

    name: str
    command: tuple[str, ...]
    env: Mapping[str, str]
    log: Path
    listener: socket.socket | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RestartPolicy:
    """How soon to start a program again, and how long to wait for one that was asked to end."""

    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0
    steady_s: float = 30.0
    grace_s: float = 45.0

    def next_wait_s(self, wait_s: float) -> float:
        return min(2 * wait_s, self.longest_wait_s)


@dataclass(frozen=True, slots=True)
class ProgramExit:
    """A program ended by itself; a negative `code` is the number of the signal that killed it."""

    program: Program
    code: int
    wait_s: float

    def __str__(self) -> str:
        how = f"was killed by signal {-self.code}" if self.code < 0 else f"ended with code {self.code}"
        return f"{self.program.name} {how} and starts again in {self.wait_s:.1f} s (log: {self.program.log})"


@asynccontextmanager
async def supervised(
    *programs: Program, patience: RestartPolicy, notify: Callable[[ProgramExit], None]
) -> AsyncIterator[None]:
    """Keeps the programs running inside the block, and ends them all at its end."""
    async with asyncio.TaskGroup() as group:
        keepers = [group.create_task(_keep_running(program, patience, notify)) for program in programs]
        try:
            yield
        finally:
            for keeper in keepers:
                keeper.cancel()


async def _keep_running(program: Program, patience: RestartPolicy, notify: Callable[[ProgramExit], None]) -> None:
    wait_s = patience.first_wait_s
    async with asyncio.TaskGroup() as leaving:
        while True:
            started_at = time.monotonic()
            code = await _run(program, patience.grace_s, leaving)
            if time.monotonic() - started_at > patience.steady_s:
                wait_s = patience.first_wait_s
            if code is None:
                continue
            notify(ProgramExit(program, code, wait_s))
            await asyncio.sleep(wait_s)
            wait_s = patience.next_wait_s(wait_s)


async def _run(program: Program, grace_s: float, leaving: asyncio.TaskGroup) -> int | None:
    """The code that it ended with; None where it begins to stop, which it goes on with in `leaving`."""
    process, stops = await _start(program)
    left = False
    try:
        ended = asyncio.create_task(process.wait())
        await asyncio.wait((ended, stops), return_when=asyncio.FIRST_COMPLETED)
        # Its end says the same as its word, and is the one that counts.
        await asyncio.wait((ended,), timeout=None if not stops.done() else ENDING_S)
        if ended.done():
            return ended.result()
        leaving.create_task(_leave(process, grace_s))
        left = True
        return None
    finally:
        if not left:
            await _stop(process, grace_s)


async def _leave(process: Process, grace_s: float) -> None:
    """Waits for one that stops by itself, for as long as one would that was told to."""
    try:
        await asyncio.wait_for(process.wait(), grace_s)
    except TimeoutError:
        process.kill()
        await process.wait()
    finally:
        await _stop(process, grace_s)


async def _start(program: Program) -> tuple[Process, "asyncio.Future[None]"]:
    """The process, and what is done when it begins to stop."""
    stops, word = _stop_notice()
    inherited = {} if program.listener is None else {LISTEN_FD: program.listener.fileno(), STOPPING_FD: word}
    try:
        with program.log.open("ab") as log:
            # A session of its own keeps the terminal's Ctrl-C away: who ends when is the supervisor's to say.
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
        os.close(word)
    # Of a program without a listener the word is never had: only its end counts.
    return process, stops if program.listener is not None else asyncio.get_running_loop().create_future()


def _stop_notice() -> tuple["asyncio.Future[None]", int]:
    """A pipe whose writing end the program closes when it begins to stop, or the kernel when it ends."""
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
    """The command, run so that it ends with the process that runs it."""
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
