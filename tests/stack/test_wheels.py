"""The wheels in clean virtual environments, outside the checkout. Needs an index for the dependencies."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from sightline import __version__
from sightline.cli.fleet import free_port
from tests.deploy.test_wheels import ROOT, build_wheel

pytestmark = pytest.mark.stack

START_S = 90.0
MAX_IMPORT_S = 0.05
RUNS = 5


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    for name, project in {"client": ROOT / "shared", "server": ROOT}.items():
        wheel = build_wheel(project, tmp_path_factory.mktemp(name))
        wheel.rename(folder / wheel.name)
    return folder


def install(folder: Path, wheels: Path, requirement: str) -> Path:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = (str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--find-links", str(wheels))
    subprocess.run([*pip, requirement], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def client_bin(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    return install(tmp_path_factory.mktemp("client-venv"), wheels, f"sightline=={__version__}")


@pytest.fixture(scope="module")
def server_bin(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Path:
    return install(tmp_path_factory.mktemp("server-venv"), wheels, f"sightline[serve]=={__version__}")


@pytest.fixture(scope="module")
def fleet(server_bin: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a fleet of one model, started from the installed wheel in an empty folder."""
    folder, port = tmp_path_factory.mktemp("fleet"), free_port()
    command = (str(server_bin / "sightline"), "up", "inpaint", "--port", str(port))
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_ready(f"{address}/readyz")
        yield address
    finally:
        process.terminate()
        process.wait(START_S)


def wait_until_ready(url: str) -> None:
    give_up_at = time.monotonic() + START_S
    while True:
        try:
            with urlopen(url):
                return
        except URLError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.2)


def site_packages(bin_folder: Path) -> set[str]:
    (folder,) = (bin_folder.parent / "lib").glob("python3*/site-packages")
    return {each.name for each in folder.iterdir()}


def test_client_fills_hole_by_fleet_of_installed_wheel(client_bin: Path, fleet: str, tmp_path: Path) -> None:
    samples = ROOT / "samples"
    code = (
        "from sightline import Client\n"
        f"with Client({fleet!r}) as client:\n"
        f"    client.inpaint({str(samples / 'photo.jpg')!r}, {str(samples / 'mask.png')!r}).save('out.png')\n"
    )
    subprocess.run([str(client_bin / "python"), "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")


def test_client_installs_neither_server_nor_models(client_bin: Path) -> None:
    found = site_packages(client_bin)
    assert not found & {"fastapi", "starlette", "pydantic", "redis", "onnxruntime", "numpy", "services", "aiohttp"}


def test_import_of_package_is_quick(client_bin: Path) -> None:
    def seconds(code: str) -> float:
        started_at = time.perf_counter()
        subprocess.run([str(client_bin / "python"), "-c", code], check=True)
        return time.perf_counter() - started_at

    times = [seconds("import sightline") - seconds("pass") for _ in range(RUNS)]
    print(f"import sightline: {1000 * min(times):.0f} ms")
    assert min(times) < MAX_IMPORT_S


def test_server_installs_no_package_called_services(server_bin: Path) -> None:
    assert "services" not in site_packages(server_bin)


def test_installed_command_predicts_outside_checkout(server_bin: Path, tmp_path: Path) -> None:
    samples = ROOT / "samples"
    words = ("predict", "inpaint", str(samples / "photo.jpg"), "--mask", str(samples / "mask.png"), "-o", "out.png")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([str(server_bin / "sightline"), *words], cwd=tmp_path, env=environment, check=True)
    assert (tmp_path / "out.png").is_file()
