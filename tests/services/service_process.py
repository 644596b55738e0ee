"""A model's service in a process of its own, as the fleet starts it."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2

ROOT = Path(__file__).parents[2]
START_LIMIT_S = 120.0


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """A ready service; `pid` is of its only process."""

    url: str
    pid: int


@contextlib.contextmanager
def running_service(model: str, **environment: str) -> Iterator[ServiceProcess]:
    """Runs the service of a model with its shipped weights on the CPU until the end of the block."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        settings = {"SIGHTLINE_PROVIDERS": "cpu", "SIGHTLINE_LISTEN_FD": str(listener.fileno()), **environment}
        paths = os.pathsep.join(map(str, (ROOT / "shared", ROOT)))
        process = subprocess.Popen(
            (sys.executable, "-m", "sightline.serving", f"services.{model}.app:create"),
            cwd=ROOT,
            env={**os.environ, **settings, "PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
        )
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            _wait_until_ready(url, process)
            yield ServiceProcess(url, process.pid)
        finally:
            process.kill()
            process.wait()


def _wait_until_ready(url: str, process: "subprocess.Popen[bytes]") -> None:
    give_up_at = time.monotonic() + START_LIMIT_S
    # The port accepts connections before the service answers them.
    with httpx2.Client(base_url=url, timeout=START_LIMIT_S) as client:
        while client.get("/readyz").status_code != httpx2.codes.OK:
            assert process.poll() is None, "the service ended"
            assert time.monotonic() < give_up_at, "the service is not ready"
            time.sleep(0.05)
