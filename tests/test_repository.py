import hashlib
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from sightline import __version__
from sightline.inference.weights import load_weights

ROOT = Path(__file__).parents[1]
LOCKS = ("cpu", "gpu", "dev", "sbom")
PINNED = re.compile(r"^([a-z0-9-]+)==(\S+) \\$", re.MULTILINE)
MODELS = sorted(file.parent for file in (ROOT / "services").glob("*/predictor.py"))


def project() -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return table


def required(*extras: str) -> list[Requirement]:
    lines = project()["dependencies"] + [line for extra in extras for line in project()["optional-dependencies"][extra]]
    return [Requirement(line) for line in lines]


def pinned(lock: str) -> dict[str, str]:
    return dict(PINNED.findall((ROOT / "locks" / f"{lock}.txt").read_text()))


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_has_no_host_and_no_local_path(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    assert not re.search(r"://|--index|--find-links|\s/[a-z]+/", text)


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    text = (ROOT / "locks" / f"{lock}.txt").read_text()
    names = re.findall(r"^[a-z0-9][^ =]*", text, re.MULTILINE)
    assert names == list(pinned(lock))
    assert all("--hash=sha256:" in part for part in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:])


@pytest.mark.parametrize(("lock", "extras"), [("cpu", ["cpu"]), ("gpu", ["gpu"]), ("dev", ["cpu", "dev", "train"])])
def test_lock_satisfies_project_requirements(lock: str, extras: list[str]) -> None:
    pins = pinned(lock)
    for requirement in required(*extras):
        if requirement.name not in ("torch", "torchvision"):  # installed outside the lock
            assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement.name


def test_gpu_and_cpu_locks_differ_only_in_runtime() -> None:
    cpu, gpu = pinned("cpu"), pinned("gpu")
    assert {name for name in cpu.keys() & gpu.keys() if cpu[name] != gpu[name]} == set()
    assert cpu.keys() - gpu.keys() == {"onnxruntime"}


def test_dev_lock_contains_deployed_versions() -> None:
    assert pinned("cpu").items() <= pinned("dev").items()


def test_runtime_has_one_onnx_runtime_and_no_torch() -> None:
    for extra, runtime in {"cpu": "onnxruntime", "gpu": "onnxruntime-gpu"}.items():
        names = {requirement.name for requirement in required(extra)}
        assert {name for name in names if name.startswith("onnxruntime")} == {runtime}
        assert not names & {"torch", "torchvision", "onnx", "scikit-image"}
    assert not {"torch", "onnx", "scikit-image"} & set(pinned("cpu"))


@pytest.mark.parametrize("requirement", required("cpu", "gpu", "train", "dev"), ids=lambda each: each.name)
def test_every_dependency_has_a_version_range(requirement: Requirement) -> None:
    assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}


@pytest.mark.parametrize("folder", MODELS, ids=lambda folder: folder.name)
def test_model_has_card_weights_and_contract(folder: Path) -> None:
    assert (folder / "MODEL_CARD.md").read_text().strip()
    assert (folder / "app.py").is_file()
    contracts = [*(folder / "weights").glob("*.toml")]
    assert contracts
    assert all(load_weights(each.with_suffix(".onnx"), each, shipped=True).verified for each in contracts)


def test_licence_is_verbatim_apache_2() -> None:
    words = " ".join((ROOT / "LICENSE").read_text().split())
    assert (
        hashlib.sha256(words.encode()).hexdigest() == "0ffddef9e48f8a09aed5caf2d44f7ba1c1be2d9b8e0a6f693b1635b2d5566645"
    )


def test_changelog_lists_current_version() -> None:
    assert f"## [{__version__}]" in (ROOT / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("target", ["up", "down", "test", "lint", "evaluate", "bench"])
def test_make_help_lists_target(target: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    command = ["make", "--no-print-directory", "help"]
    listed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^make {target} +\w", listed, re.MULTILINE)
