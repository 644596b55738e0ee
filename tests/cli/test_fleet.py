import json
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from subprocess import DEVNULL

import pytest
import redis

from sightline.cli.fleet import is_port_taken, plan_fleet
from sightline.cli.supervisor import Program
from sightline.http.fleet_credential import read_credentials
from tests.redis_server import EXECUTABLES

Eventually = Callable[[Callable[[], object]], None]


def programs(
    models: tuple[str, ...], state: Path, host: str = "127.0.0.1"
) -> tuple[Program, tuple[Program, ...], Program]:
    fleet = plan_fleet(models, host=host, port=8080, state=state, redis_socket=state / "redis.sock")
    (redis_program,), services, (gateway,) = fleet.steps
    return redis_program, services, gateway


def test_the_gateway_is_told_where_each_service_listens(state: Path) -> None:
    _, services, gateway = programs(("inpaint", "hoi"), state)
    upstreams = json.loads(gateway.env["SIGHTLINE_UPSTREAMS"])
    assert upstreams == {service.name: [f"http://127.0.0.1:{service.env['SIGHTLINE_PORT']}"] for service in services}
    assert gateway.env["SIGHTLINE_PORT"] == "8080"


def test_services_listen_on_the_loopback_alone_wherever_the_gateway_does(state: Path) -> None:
    _, (service,), gateway = programs(("inpaint",), state, host="0.0.0.0")
    assert service.env["SIGHTLINE_HOST"] == "127.0.0.1"
    assert gateway.env["SIGHTLINE_HOST"] == "0.0.0.0"


def test_all_programs_share_one_redis_without_a_port(state: Path) -> None:
    redis_program, services, gateway = programs(("inpaint",), state)
    assert {program.env["SIGHTLINE_REDIS_URL"] for program in (*services, gateway)} == {f"unix://{state}/redis.sock"}
    assert redis_program.command[redis_program.command.index("--port") + 1] == "0"


def test_all_programs_share_one_blob_store(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, services, gateway = programs(("inpaint", "hoi"), state)
    assert {program.env["SIGHTLINE_BLOBS_URL"] for program in (*services, gateway)} == {(state / "blobs").as_uri()}
    assert (state / "blobs").is_dir()
    monkeypatch.setenv("SIGHTLINE_BLOBS_URL", "s3://cases/sightline")
    _, services, _ = programs(("inpaint",), state)
    assert services[0].env["SIGHTLINE_BLOBS_URL"] == "s3://cases/sightline"


@pytest.mark.parametrize("executable", EXECUTABLES)
def test_redis_runs_by_the_settings_that_lose_nothing(
    executable: str, state: Path, started: Callable[..., object], eventually: Eventually
) -> None:
    with tempfile.TemporaryDirectory(prefix="redis-") as short:
        socket_path = Path(short) / "s"
        fleet = plan_fleet((), host="127.0.0.1", port=8080, state=state, redis_socket=socket_path)
        _, *arguments = fleet.steps[0][0].command
        started(executable, *arguments, stdout=DEVNULL)
        eventually(socket_path.exists)
        with redis.Redis.from_url(fleet.redis_url, decode_responses=True) as client:
            said = client.config_get("*")
    wanted = {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction", "save": "", "port": "0"}
    wanted["maxmemory"] = str(1024**3)
    assert said | wanted == said


def test_services_and_gateway_share_a_credential_that_is_new_each_time(state: Path) -> None:
    seen = set()
    for _ in range(2):
        redis_program, services, gateway = programs(("inpaint", "hoi"), state)
        (file,) = {program.env["SIGHTLINE_FLEET_CREDENTIAL_FILE"] for program in (*services, gateway)}
        (credential,) = read_credentials(Path(file).read_text())
        seen.add(credential)
        for program in (redis_program, *services, gateway):
            assert not any(credential in word for word in (*program.command, *program.env.values()))
    assert len(seen) == 2


def test_credentials_are_in_files_of_the_owner(state: Path) -> None:
    _, services, gateway = programs(("inpaint",), state)
    for name in ("SIGHTLINE_FLEET_CREDENTIAL_FILE", "SIGHTLINE_METRICS_CREDENTIAL_FILE"):
        assert Path(gateway.env[name]).stat().st_mode & 0o777 == 0o600
    assert not any("METRICS" in name for name in services[0].env)


def test_an_operators_own_credential_stays(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_FLEET_CREDENTIAL_FILE", "/etc/fleet")
    monkeypatch.setenv("SIGHTLINE_METRICS_CREDENTIAL", "of-the-operators-prometheus")
    _, services, gateway = programs(("inpaint",), state)
    assert not any("CREDENTIAL" in name for program in (*services, gateway) for name in program.env)


def test_a_setting_may_be_for_one_model_alone(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_INPAINT_WEIGHTS", "lama.onnx")
    _, services, gateway = programs(("inpaint", "hoi"), state)
    weights = {program.name: program.env.get("SIGHTLINE_WEIGHTS") for program in (*services, gateway)}
    assert weights == {"inpaint": "lama.onnx", "hoi": None, "gateway": None}


def test_each_program_has_a_log_of_its_own(state: Path) -> None:
    redis_program, services, gateway = programs(("inpaint",), state)
    logs = [program.log for program in (redis_program, *services, gateway)]
    assert logs == [state / "logs" / f"{name}.log" for name in ("redis", "inpaint", "gateway")]


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "http://localhost:8080"), ("10.1.2.3", "http://10.1.2.3:8080")]
)
def test_the_address_is_one_that_can_be_opened(state: Path, host: str, address: str) -> None:
    assert plan_fleet((), host=host, port=8080, state=state, redis_socket=state / "s").address == address


def test_a_port_in_use_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_port_taken("127.0.0.1", port)
    assert not is_port_taken("127.0.0.1", port)
