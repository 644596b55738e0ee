"""One model service on its own, without the fleet around it."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import httpx2

from sightline.cli.fleet import LOOPBACK, free_port, listen_on, serve_command
from sightline.cli.output import CommandError
from sightline.cli.supervisor import with_parent_death

READY_S = 180.0
STOP_S = 60.0


@contextmanager
def running_service(model: str, env: Mapping[str, str]) -> Iterator[str]:
    """The address of a service that runs inside the block, once it is ready."""
    port = free_port()
    # Alone, without a gateway, it is asked directly.
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_FLEET_CREDENTIAL")}
    complete_env = {**inherited, **env, **listen_on(LOOPBACK, port)}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            with_parent_death(serve_command(model)),
            env=complete_env,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            address = f"http://{LOOPBACK}:{port}"
            _await_ready(address, process, log)
            yield address
        finally:
            _end(process)


def _await_ready(address: str, process: "subprocess.Popen[bytes]", log: IO[str]) -> None:
    give_up_at = time.monotonic() + READY_S
    while not _is_ready(address):
        if process.poll() is not None or time.monotonic() > give_up_at:
            log.seek(0)
            raise CommandError(f"the service did not become ready:\n{log.read()[-2000:]}")
        time.sleep(0.1)


def _is_ready(address: str) -> bool:
    try:
        return httpx2.get(f"{address}/readyz", trust_env=False).is_success
    except httpx2.TransportError:
        return False


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
