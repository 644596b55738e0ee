import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import pytest
from typer.testing import CliRunner

from sightline.cli.app import build_app
from tests.cli.scripted_server import ScriptedServer, Step, scripted_server

Eventually = Callable[[Callable[[], Any]], None]
WITHIN_S = 30.0
ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "samples"
PHOTO, MASK = SAMPLES / "photo.jpg", SAMPLES / "mask.png"
PNG = b"\x89PNG\r\n\x1a\n and so on"
PNG_REPLY: Step = (200, {"Content-Type": "image/png"}, PNG)
EMPTY: Mapping[str, str] = {}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def eventually() -> Eventually:
    """Waits until the condition holds; generous, because it ends at once where all is well."""

    def wait_for(condition: Callable[[], Any]) -> None:
        give_up_at = time.monotonic() + WITHIN_S
        while not condition():
            assert time.monotonic() < give_up_at, "the condition did not come true"
            time.sleep(0.05)

    return wait_for


@pytest.fixture
def started() -> Iterator[Callable[..., "Popen[str]"]]:
    """Starts processes, and kills what is left of them and of their children at the end."""
    with _launching() as start:
        yield start


@pytest.fixture(scope="module")
def started_once() -> Iterator[Callable[..., "Popen[str]"]]:
    """The same for what the tests of a module share."""
    with _launching() as start:
        yield start


@contextmanager
def _launching() -> Iterator[Callable[..., "Popen[str]"]]:
    processes: list[Popen[str]] = []

    def start(*command: str, cwd: Path = ROOT, env: Mapping[str, str] = EMPTY, **options: Any) -> "Popen[str]":
        # A site of its own services has a link to the library, which looks for them beside its folder.
        paths = os.pathsep.join(map(str, (cwd / "shared", cwd, ROOT / "shared", ROOT)))
        process = Popen(command, cwd=cwd, text=True, env={**os.environ, **env, "PYTHONPATH": paths}, **options)
        processes.append(process)
        return process

    yield start
    for process in processes:
        _kill_tree(process)


def _kill_tree(process: "Popen[str]") -> None:
    if process.poll() is None:
        for child in psutil.Process(process.pid).children(recursive=True):
            child.kill()
        process.kill()
    process.communicate()


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as server:
        yield server


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def predict(*arguments: object) -> str:
    """Runs `sightline predict`; returns its output, or raises its error."""
    result = CliRunner().invoke(build_app(), ["predict", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output
