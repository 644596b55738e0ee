"""Images omit only packages that their programs never import, and copy only existing files."""

import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from sightline.cli.models import find_models

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
LEFT_OUT = {"gateway": "left-out-of-gateway.txt", **dict.fromkeys(find_models(), "left-out-of-services.txt")}
# Structlog takes rich, and OpenTelemetry psutil, where it is there; setuptools comes into every process.
OPTIONAL = {"rich", "pygments", "markdown-it-py", "mdurl", "psutil", "setuptools"}


def left_out(file: str) -> set[str]:
    return {line for line in (DOCKER / file).read_text().splitlines() if not line.startswith("#")}


def locked(lock: str) -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "locks" / f"{lock}.txt").read_text(), re.MULTILINE))


@cache
def files_by_module(service: str) -> dict[str, Path | None]:
    """Modules that the service and its decoder process import."""
    package = "http" if service == "gateway" else "serving"
    programs = f"sightline.{package}.__main__, services.{service}.app"
    if service != "gateway":
        programs += ", sightline.serving.prebuild, sightline.imaging.decoder.fork_server"
    found = "{name: getattr(module, '__file__', None) for name, module in sys.modules.items()}"
    script = f"import json, sys, {programs}; print(json.dumps({found}))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    return {name: Path(file) if file else None for name, file in json.loads(done.stdout).items()}


def imported(service: str) -> set[str]:
    """Names of distributions."""
    owners = packages_distributions()
    modules = {name.partition(".")[0] for name in files_by_module(service)}
    return {canonicalize_name(owner) for module in modules for owner in owners.get(module, ())}


@pytest.mark.parametrize("service", LEFT_OUT)
def test_no_imported_package_is_left_out(service: str) -> None:
    missed = (imported(service) & left_out(LEFT_OUT[service])) - OPTIONAL
    assert missed == set()


@pytest.mark.parametrize("service", LEFT_OUT)
def test_imported_project_modules_are_copied(service: str) -> None:
    dockerfile = DOCKER / ("gateway.Dockerfile" if service == "gateway" else "service.Dockerfile")
    sources = re.findall(r"^COPY (?!--from)(\S+) \S+$", dockerfile.read_text(), re.MULTILINE)
    copied = [ROOT / source.replace("${SERVICE}", service) for source in sources]
    files = {file for file in files_by_module(service).values() if file and file.is_relative_to(ROOT)}
    ours = {file for file in files if not file.is_relative_to(Path(sys.prefix))}
    missed = {file for file in ours if not any(file.is_relative_to(source) for source in copied)}
    assert ours
    assert missed == set()


@pytest.mark.parametrize("file", sorted(set(LEFT_OUT.values())))
def test_left_out_packages_are_locked(file: str) -> None:
    assert left_out(file) <= locked("cpu")


@pytest.mark.parametrize("file", sorted(DOCKER.glob("*.Dockerfile")), ids=lambda file: file.stem)
def test_copied_files_exist_in_build_context(file: Path) -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", file.read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split() if "$" not in source]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources
    for source in sources:
        assert (ROOT / source).exists(), source
        assert any(source.startswith(prefix) for prefix in allowed), source


@pytest.mark.parametrize("script", sorted(DOCKER.glob("*.sh")), ids=lambda file: file.stem)
def test_scripts_are_executable(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    shell = script.read_text().splitlines()[0].removeprefix("#!")
    subprocess.run([shell, "-n", str(script)], check=True)
