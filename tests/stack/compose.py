"""The fleet in containers: as compose starts it, but for Grafana."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import httpx2
import yaml
from docker.models.containers import Container

from sightline.cli.fleet import free_port
from sightline.cli.models import find_models

ROOT = Path(__file__).parents[2]
FILES = (ROOT / "docker-compose.yml", ROOT / "tests" / "stack" / "docker-compose.test.yml")
PROJECT = "sightline-test"
READY_S = 240.0
MODELS = tuple(name.replace("_", "-") for name in find_models())
PARTS = ("gateway", "redis", "prometheus", *MODELS)


def compose_command() -> list[str]:
    """Compose 2 where there is one, else Debian's 1.29."""
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


def reason_to_skip() -> str | None:
    if shutil.which("docker") is None:
        return "Docker is not installed"
    try:
        docker.from_env().ping()
    except docker.errors.DockerException:
        return "no Docker engine answers"
    return None


@dataclass(frozen=True, slots=True)
class Stack:
    """A running fleet; addresses are of this machine."""

    client: docker.DockerClient
    environment: dict[str, str]
    gateway: str
    prometheus: str

    def compose(self, *arguments: str) -> str:
        files = [part for file in FILES for part in ("-f", str(file))]
        command = [*compose_command(), "-p", PROJECT, "--project-directory", str(ROOT), *files, *arguments]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done.stdout

    def up(self, *arguments: str) -> None:
        self.compose("up", "-d", *arguments, *PARTS)

    def containers(self, service: str) -> list[Container]:
        labels = [f"com.docker.compose.project={PROJECT}", f"com.docker.compose.service={service}"]
        return sorted(self.client.containers.list(filters={"label": labels}), key=lambda found: found.name)

    def scale(self, service: str, count: int) -> None:
        self.up("--no-recreate", "--scale", f"{service}={count}")
        until(lambda: self.replicas(service) == (count, count))

    def replicas(self, service: str) -> tuple[int, int]:
        """How many the gateway knows, and how many of those are ready."""
        model = httpx2.get(f"{self.gateway}/v1/models/{service.replace('-', '_')}").json()
        return model["replicas"], model["ready_replicas"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What Prometheus answers now; a list of series with their last values."""
        reply = httpx2.get(f"{self.prometheus}/api/v1/query", params={"query": expression}).json()
        assert reply["status"] == "success", reply
        found: list[dict[str, Any]] = reply["data"]["result"]
        return found


@contextmanager
def running_stack() -> Iterator[Stack]:
    gateway, prometheus = free_port(), free_port()
    environment = {
        **os.environ,
        "COMPOSE_PROFILES": ",".join(MODELS),
        "SIGHTLINE_PORT": str(gateway),
        "PROMETHEUS_PORT": str(prometheus),
        "SIGHTLINE_MODEL_CPUS": str(min(2, os.cpu_count() or 1)),
    }
    addresses = f"http://127.0.0.1:{gateway}", f"http://127.0.0.1:{prometheus}"
    stack = Stack(docker.from_env(), environment, *addresses)
    stack.compose("build", "gateway", *MODELS)
    try:
        stack.up()
        until(lambda: answers(f"{stack.gateway}/readyz"), limit_s=READY_S)
        until(lambda: answers(f"{stack.prometheus}/-/ready"))
        yield stack
    finally:
        stack.compose("down", "--volumes", "--remove-orphans")


def answers(url: str) -> bool:
    try:
        return httpx2.get(url, trust_env=False).status_code == httpx2.codes.OK
    except httpx2.TransportError:
        return False


def until(condition: Callable[[], bool], *, limit_s: float = 120.0) -> None:
    give_up_at = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < give_up_at, "it did not come true in time"
        time.sleep(0.5)


def described() -> dict[str, Any]:
    """The compose file, without what variables make of it."""
    document: dict[str, Any] = yaml.safe_load(FILES[0].read_text())
    return document


def logs(containers: Sequence[Container]) -> str:
    return "\n".join(container.logs().decode("utf-8", "replace") for container in containers)
