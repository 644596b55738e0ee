import os
import re
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from subprocess import PIPE, Popen

import httpx2
import psutil
import pytest
import redis

from sightline.cli.fleet import free_port

Eventually = Callable[[Callable[[], object]], None]
Start = Callable[..., "Popen[str]"]
ROOT = Path(__file__).parents[2]

SERVICE = """
import os
from pathlib import Path
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

def create():
    with (Path(os.environ["SIGHTLINE_TEST_FOLDER"]) / "NAME").open("a") as report:
        report.write(f"{os.getpid()} {os.environ['SIGHTLINE_REDIS_URL']}\\n")
    return Starlette(routes=[Route("/readyz", readyz)])

async def readyz(_):
    return PlainTextResponse("ready")
"""
GATEWAY = (
    SERVICE.replace("async def readyz", "async def unused")
    + """
import json
import httpx2

async def readyz(_):
    replicas = [url for urls in json.loads(os.environ["SIGHTLINE_UPSTREAMS"]).values() for url in urls]
    async with httpx2.AsyncClient() as client:
        try:
            replies = [await client.get(f"{url}/readyz") for url in replicas]
        except httpx2.TransportError:
            return PlainTextResponse("not ready", 503)
    return PlainTextResponse("ready", 200 if all(reply.is_success for reply in replies) else 503)
"""
)
SCHEMAS = """
from pydantic import BaseModel
from sightline.api.declaration import ModelDeclaration, PictureField

PICTURE = PictureField("image", "Any picture.", sample="photo.jpg")
DECLARATION = ModelDeclaration(
    name="NAME", title="", description="", pictures=(PICTURE,), options=BaseModel, media_types=("application/json",)
)
"""
SPOILT = "def create():\n    raise RuntimeError('these weights are spoilt')\n"


@dataclass(frozen=True, slots=True)
class Site:
    """A fleet of small real services, in the place of those of the repository."""

    folder: Path
    port: int

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def temporary(self) -> Path:
        return self.folder / "tmp"

    @property
    def address(self) -> str:
        return f"http://localhost:{self.port}"

    def reports(self, name: str) -> list[list[str]]:
        """A line for each time that the service started: its process and Redis' address."""
        file = self.folder / name
        return [line.split() for line in file.read_text().splitlines()] if file.exists() else []

    def pids(self) -> set[int]:
        return {int(report[0]) for name in ("gateway", "echo", "mirror") for report in self.reports(name)}

    def up(self, start: Start) -> "Popen[str]":
        command = ("-m", "sightline.cli", "up", "--port", str(self.port), "--state", str(self.state))
        self.temporary.mkdir(exist_ok=True)
        env = {"SIGHTLINE_TEST_FOLDER": str(self.folder), "TMPDIR": str(self.temporary)}
        # A careless umask must not show in anything that the fleet writes.
        return start(sys.executable, *command, stdout=PIPE, stderr=PIPE, cwd=self.folder, env=env, umask=0)


def add_service(folder: Path, name: str, app: str) -> None:
    (folder / "services" / name).mkdir(parents=True)
    (folder / "services" / name / "app.py").write_text(app.replace("NAME", name))
    if name != "gateway":
        (folder / "services" / name / "predictor.py").touch()
        (folder / "services" / name / "schemas.py").write_text(SCHEMAS.replace("NAME", name))


def build_site(folder: Path) -> Site:
    for name, app in {"gateway": GATEWAY, "echo": SERVICE, "mirror": SERVICE}.items():
        add_service(folder, name, app)
    (folder / "services" / "__init__.py").touch()
    for name in ("shared", "samples", "deploy"):
        (folder / name).symlink_to(ROOT / name)
    return Site(folder, free_port())


def until_curl(process: "Popen[str]") -> list[str]:
    assert process.stdout is not None
    printed: list[str] = []
    for line in process.stdout:
        printed.append(line)
        if line.startswith("curl "):
            break
    return printed


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return build_site(tmp_path)


@pytest.fixture
def fleet(site: Site, started: Start) -> "Popen[str]":
    process = site.up(started)
    until_curl(process)
    return process


@pytest.fixture(scope="module")
def running_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """The site of a fleet that runs during all tests that do not stop it."""
    return build_site(tmp_path_factory.mktemp("running"))


@pytest.fixture(scope="module")
def printed(running_site: Site, started_once: Start) -> list[str]:
    return until_curl(running_site.up(started_once))


def all_gone(site: Site) -> bool:
    return not any(runs(pid) for pid in site.pids()) and not redis_pids(site)


def readable_by_others(folder: Path) -> set[Path]:
    return {path for path in (folder, *folder.rglob("*")) if path.lstat().st_mode & 0o077}


def redis_pids(site: Site) -> list[int]:
    """Redis rewrites its command line, but stays in the folder of its data."""
    servers = [process for process in psutil.process_iter(["name"]) if process.info["name"] == "redis-server"]
    return [server.pid for server in servers if runs(server.pid) and server.cwd() == str(site.state / "redis")]


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_ends_by_printing_one_curl_line_once_the_fleet_is_ready(running_site: Site, printed: list[str]) -> None:
    assert httpx2.get(f"{running_site.address}/readyz").text == "ready"
    assert running_site.address in "".join(printed[:-1])
    words = shlex.split(printed[-1])
    assert words[-1] == f"{running_site.address}/v1/echo"
    assert Path(words[words.index("-F") + 1].removeprefix("image=@")).is_file()


@pytest.mark.usefixtures("printed")
def test_starts_every_service_found_and_redis(running_site: Site) -> None:
    (_, redis_url), *_ = running_site.reports("echo")
    assert running_site.reports("mirror")
    with redis.Redis.from_url(redis_url) as client:
        assert client.ping()


@pytest.mark.usefixtures("printed")
def test_written_files_are_readable_by_their_owner_only(running_site: Site) -> None:
    found = readable_by_others(running_site.state) | readable_by_others(running_site.temporary)
    assert found == {running_site.temporary}  # the test's own
    assert {path.name for path in running_site.state.iterdir()} >= {"logs", "redis", "blobs", "redis.url", "up.pid"}
    assert list(running_site.temporary.rglob("redis.sock"))


def test_existing_folders_are_taken_from_other_users(site: Site, started: Start) -> None:
    for name in ("state/redis/appendonlydir", "state/logs", "state/blobs/uploads"):
        (site.folder / name).mkdir(parents=True)
    for name in ("state/logs/echo.log", "state/redis/appendonlydir/old", "state/blobs/uploads/a"):
        (site.folder / name).touch()
    (site.state / "redis.url").write_text("unix:///nowhere/s")
    site.state.chmod(0o755)
    until_curl(site.up(started))
    blobs = site.state / "blobs"
    assert not {path for path in readable_by_others(site.state) if blobs not in path.parents}


def test_a_folder_of_other_things_keeps_its_permissions(site: Site, started: Start) -> None:
    site.state.mkdir()
    site.state.chmod(0o755)
    (site.state / "thesis.txt").write_text("not ours")
    (site.state / "thesis.txt").chmod(0o644)
    until_curl(site.up(started))
    assert readable_by_others(site.state) == {site.state, site.state / "thesis.txt"}


@pytest.mark.usefixtures("printed")
def test_a_second_fleet_is_refused(running_site: Site, started: Start) -> None:
    second = Site(running_site.folder, free_port()).up(started)
    _, errors = second.communicate(timeout=60)
    assert second.returncode == 1
    assert re.search(r"already running with this state folder, as process \d+", errors)


@pytest.mark.usefixtures("printed")
def test_a_killed_service_is_started_again(running_site: Site, eventually: Eventually) -> None:
    os.kill(int(running_site.reports("echo")[0][0]), signal.SIGKILL)
    eventually(lambda: len(running_site.reports("echo")) == 2)
    assert len(running_site.reports("mirror")) == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_the_fleet_cleanly(site: Site, fleet: "Popen[str]", number: signal.Signals) -> None:
    assert redis_pids(site)
    fleet.send_signal(number)
    _, errors = fleet.communicate(timeout=60)
    assert fleet.returncode == 128 + number
    assert errors == "sightline: the fleet is stopped; accepted jobs go on at the next `sightline up`\n"
    assert all_gone(site)
    assert not list(site.temporary.iterdir())


def test_second_signal_ends_the_fleet_at_once_and_leaves_nothing(
    site: Site, fleet: "Popen[str]", eventually: Eventually
) -> None:
    os.kill(int(site.reports("echo")[0][0]), signal.SIGSTOP)  # never ends by itself
    fleet.send_signal(signal.SIGINT)
    time.sleep(0.5)
    fleet.send_signal(signal.SIGINT)
    assert fleet.wait(10) == 128 + signal.SIGINT
    eventually(lambda: all_gone(site))
    assert not list(site.temporary.iterdir())
    assert not (site.state / "redis.url").exists()


def test_leftovers_of_a_killed_fleet_are_removed_by_the_next_command(
    site: Site, fleet: "Popen[str]", started: Start, eventually: Eventually
) -> None:
    fleet.kill()
    eventually(lambda: all_gone(site))
    assert list(site.temporary.iterdir())
    env = {"TMPDIR": str(site.temporary)}
    down = started(sys.executable, "-m", "sightline.cli", "down", "--state", str(site.state), env=env)
    assert down.wait(60) == 0
    assert not list(site.temporary.iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_nothing_outlives_a_killed_fleet(site: Site, fleet: "Popen[str]", eventually: Eventually) -> None:
    fleet.kill()
    eventually(lambda: all_gone(site))


def test_down_ends_the_fleet(site: Site, fleet: "Popen[str]", started: Start) -> None:
    command = (sys.executable, "-m", "sightline.cli", "down", "--state", str(site.state))
    down = started(*command, stdout=PIPE)
    assert f"process {fleet.pid}" in down.communicate(timeout=60)[0]
    assert fleet.wait(60) == 128 + signal.SIGTERM
    assert all_gone(site)
    assert started(*command, stdout=PIPE).communicate(timeout=60)[0] == "Nothing is running.\n"


def test_gives_up_on_a_service_that_cannot_start_and_shows_its_log(site: Site, started: Start) -> None:
    add_service(site.folder, "spoilt", SPOILT)
    process = site.up(started)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "spoilt does not start" in errors
    assert any(line.endswith("these weights are spoilt") for line in errors.splitlines())
    assert all_gone(site)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_taken_port_is_reported_at_once(tmp_path: Path, site: Site, started: Start, taken_port: int) -> None:
    process = Site(site.folder, taken_port).up(started)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "SIGHTLINE_PORT" in errors
    assert not site.reports("gateway")
