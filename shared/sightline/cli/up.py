"""`sightline up`: runs the fleet on one machine until Ctrl-C."""

import asyncio
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack
from functools import partial
from pathlib import Path
from types import FrameType

import httpx2
import typer

from sightline.cli.fleet import Fleet, is_port_taken, open_listener, plan_fleet
from sightline.cli.interruption import Interrupted, last_line, print_last_line, signal_handlers
from sightline.cli.models import curl_command, require_models
from sightline.cli.output import CommandError, printable
from sightline.cli.state_folder import (
    WEIGHTS,
    instance_lock,
    prepare_state_folder,
    redis_url_file,
    remove_leftovers,
    socket_folder,
)
from sightline.cli.supervisor import ProgramExit, RestartPolicy, supervised
from sightline.inference.catalogue.entries import shipped_catalogue
from sightline.inference.catalogue.installed import REFERENCE, WeightsFolder, is_reference
from sightline.runtime.private_files import private_umask

POLL_S = 0.2
MAX_EXITS = 3  # of one program before the fleet is ready
LOG_TAIL_LINES = 20


class NotReadyError(CommandError):
    """The fleet did not become ready."""


def up(models: list[str], *, host: str, port: int, state: Path, ready_s: float) -> None:
    """Start the fleet and stay until a signal ends it."""
    chosen = require_models(models)
    if is_port_taken(host, port):
        raise typer.BadParameter(f"port {port} of {host} is taken; choose another with --port or SIGHTLINE_PORT")
    signals = StopSignals()
    with signals.handled(), private_umask(), instance_lock(state):
        prepare_state_folder(state)
        _print_weights(chosen, WeightsFolder(state / WEIGHTS))
        remove_leftovers(state)
        with socket_folder() as short, open_listener(host, port) as listener:
            redis_socket = short / "redis.sock"
            fleet = plan_fleet(
                chosen, host=host, port=port, state=state.resolve(), redis_socket=redis_socket, listener=listener
            )
            with redis_url_file(state, fleet.redis_url):
                asyncio.run(_run_fleet(fleet, chosen, ready_s, signals, partial(remove_leftovers, state)))
    if signals.number is not None:
        with last_line(lambda: "the fleet is stopped; accepted jobs go on at the next `sightline up`"):
            print_last_line()
        raise typer.Exit(128 + signals.number)


def _print_weights(models: tuple[str, ...], folder: WeightsFolder) -> None:
    """Prints which entries of the catalogue are in use, and which stronger ones there are.

    Raises ContractError if an entry in use is not installed, before its service fails to start again and again. Own
    weights are not compared with the catalogue.
    """
    in_use, catalogue = folder.in_use(), shipped_catalogue()
    for model in models:
        settings = (
            os.environ.get(f"SIGHTLINE_{model.upper()}_{each}") for each in ("WEIGHTS", "DETECTOR", "WEIGHTS_FOLDER")
        )
        own = [setting for setting in settings if setting]
        if not all(map(is_reference, own)):
            continue
        entry = own[0].removeprefix(REFERENCE) if own else in_use.get(model)
        if entry is not None:
            typer.echo(f"{model} uses {entry} of the catalogue ({folder.require(entry).path}).")
        if stronger := catalogue.stronger(model, entry):
            typer.echo(f"{stronger.advice} Install and use it: sightline weights get {stronger.name}")


class StopSignals:
    """Signal handling of `up`: the first signal stops the fleet, the second ends this process and so its children.

    Handlers of the event loop are not used, as they end with the loop, before everything is cleaned up.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._clean: Callable[[], None] = lambda: None
        self._is_stopping = False
        self.number: int | None = None

    def handled(self) -> AbstractContextManager[None]:
        return signal_handlers(self._on_signal, (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))

    def attach(self, clean: Callable[[], None]) -> asyncio.Event:
        """Returns the event that the first signal sets in the running loop; `clean` runs on the second signal."""
        self._loop, self._clean = asyncio.get_running_loop(), clean
        return self._stop

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self._loop is None:
            raise Interrupted(number)
        if self._is_stopping:
            self._clean()
            os._exit(128 + number)
        self._is_stopping, self.number = True, number
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._stop.set)


class StartupMonitor:
    """Prints every exit of a program, and counts them."""

    def __init__(self) -> None:
        self.exits: Counter[str] = Counter()
        self.last: ProgramExit | None = None

    def __call__(self, program_exit: ProgramExit) -> None:
        typer.echo(str(program_exit), err=True)
        self.exits[program_exit.program.name] += 1
        self.last = program_exit

    def raise_if_failing(self) -> None:
        if self.last and max(self.exits.values()) >= MAX_EXITS:
            # Printed here, as an error's message is one line.
            for line in _tail(self.last):
                typer.echo(printable(line), err=True)
            raise NotReadyError(f"{self.last.program.name} does not start; the end of its log is above")


async def _run_fleet(
    fleet: Fleet, models: tuple[str, ...], ready_s: float, signals: StopSignals, clean: Callable[[], None]
) -> None:
    stop = signals.attach(clean)
    monitor = StartupMonitor()
    failure: NotReadyError | None = None
    typer.echo(f"Starting {', '.join((*models, 'gateway'))} ...")
    async with AsyncExitStack() as stack:
        for step in fleet.steps:
            await stack.enter_async_context(supervised(*step, policy=RestartPolicy(), notify=monitor))
        try:
            await _serve(fleet, models, monitor, stop, ready_s)
        except NotReadyError as error:
            # Raised inside the task groups, it would become an exception group.
            failure = error
    if failure:
        raise failure


async def _serve(
    fleet: Fleet, models: tuple[str, ...], monitor: StartupMonitor, stop: asyncio.Event, ready_s: float
) -> None:
    if await _ready_or_stopped(fleet, monitor, stop, ready_s):
        _print_ready(fleet, models)
        await stop.wait()
    typer.echo("Stopping. Press Ctrl-C again to stop at once.")


def _tail(program_exit: ProgramExit) -> list[str]:
    return program_exit.program.log.read_text("utf-8", "replace").splitlines()[-LOG_TAIL_LINES:]


async def _ready_or_stopped(fleet: Fleet, monitor: StartupMonitor, stop: asyncio.Event, ready_s: float) -> bool:
    """Returns True when the gateway reports every model ready, False if stopped before."""
    give_up_at = time.monotonic() + ready_s
    async with httpx2.AsyncClient(base_url=fleet.address, trust_env=False, timeout=5) as client:
        while not stop.is_set():
            if await _is_ready(client):
                return True
            monitor.raise_if_failing()
            if time.monotonic() > give_up_at:
                raise NotReadyError(f"The fleet is not ready after {ready_s:.0f} s; see its logs.")
            await asyncio.sleep(POLL_S)
    return False


async def _is_ready(client: httpx2.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def _print_ready(fleet: Fleet, models: tuple[str, ...]) -> None:
    typer.echo(f"Sightline is up: console at {fleet.address}/console/, API documentation at {fleet.address}/docs.")
    typer.echo("Ctrl-C stops it.")
    if models:
        example = "inpaint" if "inpaint" in models else models[0]
        typer.echo(f"Try it from another terminal:\n\n{curl_command(example, fleet.address)}")
