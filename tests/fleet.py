"""The fleet that `make up` starts: gateway, services, workers and Redis as processes."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

from sightline.cli.fleet import free_port

ROOT = Path(__file__).parents[1]
STOP_LIMIT_S = 120.0


@contextmanager
def running_fleet(state: Path, *models: str) -> Iterator[str]:
    """Yields the address of a fleet of the named models, or of all."""
    command = (sys.executable, "-m", "sightline", "up", *models, "--port", str(free_port()), "--state", str(state))
    with Popen(command, cwd=ROOT, stdout=PIPE, text=True) as fleet:
        assert fleet.stdout is not None
        match = None
        for line in fleet.stdout:
            if match := re.search(r"console at (\S+)/console/", line):
                break
        assert match, "the fleet did not start"
        yield match[1]
        fleet.terminate()
        fleet.communicate(timeout=STOP_LIMIT_S)
