import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sightline.cli import doctor as module
from sightline.cli.app import build_app
from sightline.cli.doctor import Check, run_checks
from sightline.cli.fleet import free_port
from sightline.cli.output import CommandError


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def outcome(name: str, *models: str, port: int | None = None, state: Path = Path(".sightline")) -> Check:
    checks = run_checks(models or ("hoi",), host="127.0.0.1", port=port or free_port(), state=state)
    return next(check for check in checks if check.name == name)


def test_sound_installation_passes_every_check(tmp_path: Path) -> None:
    words = ["doctor", "hra-screening", "--port", str(free_port()), "--state", str(tmp_path), "--json"]
    done = CliRunner().invoke(build_app(), words)
    checks = json.loads(done.stdout)
    assert [check["name"] for check in checks] == ["python", "onnx runtime", "hra_screening", "redis", "port", "disk"]
    assert all(check["is_fine"] for check in checks), checks
    assert "hra_screening@" in checks[2]["detail"]
    assert "CPUExecutionProvider" in checks[2]["detail"]
    assert done.exit_code == 0


def test_taken_port_is_named_with_a_remedy(taken_port: int) -> None:
    check = outcome("port", port=taken_port)
    assert not check.is_fine
    assert str(taken_port) in check.detail
    assert "SIGHTLINE_PORT" in check.remedy


def test_damaged_weights_fail_and_the_other_checks_still_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights.onnx"
    weights.write_bytes(b"damaged")
    weights.with_suffix(".toml").write_text('name = "mine"\nversion = "1"\n')
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(weights))
    checks = list(run_checks(("hra_screening",), host="127.0.0.1", port=free_port(), state=tmp_path))
    failed = [check for check in checks if not check.is_fine]
    assert [check.name for check in failed] == ["hra_screening"]
    assert "weights.toml" in failed[0].detail
    assert "weights use --shipped hra_screening" in failed[0].remedy


def test_unreachable_redis_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_REDIS_URL", f"redis://127.0.0.1:{free_port()}")
    assert not outcome("redis").is_fine


def test_full_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_FREE_BYTES", 1 << 60)
    check = outcome("disk", state=tmp_path / "not" / "there" / "yet")
    assert (check.is_fine, str(tmp_path) in check.detail) == (False, True)


def test_failed_checks_end_the_command_with_their_names(taken_port: int, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"1 of 6 checks failed: port"):
        build_app()(
            ["doctor", "hra-screening", "--port", str(taken_port), "--state", str(tmp_path)], standalone_mode=False
        )
