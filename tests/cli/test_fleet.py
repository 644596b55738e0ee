import json
import socket
from pathlib import Path

import pytest

from sightline.cli.fleet import is_taken, plan_fleet
from sightline.cli.supervisor import Program


def programs(
    models: tuple[str, ...], state: Path, host: str = "127.0.0.1"
) -> tuple[Program, tuple[Program, ...], Program]:
    fleet = plan_fleet(models, host=host, port=8080, state=state, redis_socket=state / "redis.sock")
    (redis,), services, (gateway,) = fleet.steps
    return redis, services, gateway


def test_the_gateway_is_told_where_each_service_listens(state: Path) -> None:
    _, services, gateway = programs(("inpaint", "hoi"), state)
    upstreams = json.loads(gateway.env["SIGHTLINE_UPSTREAMS"])
    assert upstreams == {service.name: [f"http://127.0.0.1:{service.env['SIGHTLINE_PORT']}"] for service in services}
    assert gateway.env["SIGHTLINE_PORT"] == "8080"


def test_services_listen_on_the_loopback_alone_wherever_the_gateway_does(state: Path) -> None:
    _, (service,), gateway = programs(("inpaint",), state, host="0.0.0.0")
    assert service.env["SIGHTLINE_HOST"] == "127.0.0.1"
    assert gateway.env["SIGHTLINE_HOST"] == "0.0.0.0"


def test_everyone_is_told_where_redis_is_and_it_has_no_port(state: Path) -> None:
    redis, services, gateway = programs(("inpaint",), state)
    assert {program.env["SIGHTLINE_REDIS_URL"] for program in (*services, gateway)} == {f"unix://{state}/redis.sock"}
    assert redis.command[redis.command.index("--port") + 1] == "0"


def test_a_setting_may_be_for_one_model_alone(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_INPAINT_WEIGHTS", "lama.onnx")
    _, services, gateway = programs(("inpaint", "hoi"), state)
    weights = {program.name: program.env.get("SIGHTLINE_WEIGHTS") for program in (*services, gateway)}
    assert weights == {"inpaint": "lama.onnx", "hoi": None, "gateway": None}


def test_each_program_has_a_log_of_its_own(state: Path) -> None:
    redis, services, gateway = programs(("inpaint",), state)
    logs = [program.log for program in (redis, *services, gateway)]
    assert logs == [state / "logs" / f"{name}.log" for name in ("redis", "inpaint", "gateway")]


@pytest.mark.parametrize(
    ("host", "address"), [("0.0.0.0", "http://localhost:8080"), ("10.1.2.3", "http://10.1.2.3:8080")]
)
def test_the_address_is_one_that_can_be_opened(state: Path, host: str, address: str) -> None:
    assert plan_fleet((), host=host, port=8080, state=state, redis_socket=state / "s").address == address


def test_a_port_in_use_is_noticed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert is_taken("127.0.0.1", port)
    assert not is_taken("127.0.0.1", port)
