"""The wheels of the client and of the server, built from this checkout."""

import subprocess
import sys
from collections.abc import Mapping
from email import message_from_bytes
from email.message import Message
from pathlib import Path, PurePosixPath
from zipfile import ZipFile

import pytest

from sightline import __version__

ROOT = Path(__file__).parents[2]
MAX_CLIENT_BYTES = 300_000


def build_wheel(project: Path, folder: Path) -> Path:
    command = (sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    return {
        "client": build_wheel(ROOT / "shared", tmp_path_factory.mktemp("client")),
        "server": build_wheel(ROOT, tmp_path_factory.mktemp("server")),
    }


def files_of(wheel: Path) -> set[str]:
    with ZipFile(wheel) as archive:
        return set(archive.namelist())


def metadata_of(wheel: Path) -> Message:
    with ZipFile(wheel) as archive:
        (name,) = (each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return message_from_bytes(archive.read(name))


def test_client_wheel_is_small_and_has_client_and_wire_names_alone(wheels: Mapping[str, Path]) -> None:
    assert wheels["client"].stat().st_size < MAX_CLIENT_BYTES
    packages = {PurePosixPath(name).parts[1] for name in files_of(wheels["client"]) if name.startswith("sightline/")}
    assert packages == {"__init__.py", "__main__.py", "py.typed", "api", "client"}


def test_client_wheel_requires_http_library_alone(wheels: Mapping[str, Path]) -> None:
    required = metadata_of(wheels["client"]).get_all("Requires-Dist", [])
    assert [line.split("<")[0] for line in required if "extra ==" not in line] == ["httpx2"]


def test_extras_install_server_of_same_version(wheels: Mapping[str, Path]) -> None:
    required = metadata_of(wheels["client"]).get_all("Requires-Dist", [])
    server = [line for line in required if line.startswith("sightline-serve[")]
    assert len(server) >= 3
    assert all(f"=={__version__};" in line.replace(" ", "") for line in server)
    assert f"sightline=={__version__}" in metadata_of(wheels["server"]).get_all("Requires-Dist", [])


def test_no_file_is_in_both_wheels(wheels: Mapping[str, Path]) -> None:
    assert not files_of(wheels["client"]) & files_of(wheels["server"])


def test_both_wheels_have_every_module_of_checkout(wheels: Mapping[str, Path]) -> None:
    installed = files_of(wheels["client"]) | files_of(wheels["server"])
    modules = {str(file.relative_to(ROOT / "shared")) for file in (ROOT / "shared" / "sightline").rglob("*.py")}
    services = {f"sightline/_fleet/{file.relative_to(ROOT)}" for file in (ROOT / "services").rglob("*.py")}
    assert modules | services <= installed


def test_server_wheel_installs_nothing_beside_package(wheels: Mapping[str, Path]) -> None:
    tops = {PurePosixPath(name).parts[0] for name in files_of(wheels["server"])}
    assert tops == {"sightline", f"sightline_serve-{__version__}.dist-info"}


@pytest.mark.parametrize(
    "file",
    [
        "services/hoi/weights/detector.onnx",
        "services/inpaint/MODEL_CARD.md",
        "services/gateway/console/index.html",
        "samples/photo.jpg",
        "deploy/redis/redis.conf",
    ],
)
def test_server_wheel_has_weights_cards_console_and_samples(wheels: Mapping[str, Path], file: str) -> None:
    assert (ROOT / file).is_file()
    assert f"sightline/_fleet/{file}" in files_of(wheels["server"])
