import json
import os
import re
import socket
import sys
import termios
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import pytest
from typer.testing import CliRunner

from sightline.cli import doctor as module
from sightline.cli.app import build_app
from sightline.cli.doctor import Check, run_checks
from sightline.cli.fleet import free_port
from sightline.cli.output import CommandError
from tests.cli.scripted_server import ScriptedServer


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
    assert [check["name"] for check in checks] == [
        "python",
        "memory",
        "onnx runtime",
        "hra_screening",
        "redis",
        "port",
        "disk",
    ]
    assert all(check["is_fine"] for check in checks), checks
    assert "providers that work: CPUExecutionProvider" in checks[2]["detail"]
    assert "hra_screening@" in checks[3]["detail"]
    assert done.exit_code == 0


def test_taken_port_is_named_with_a_remedy(taken_port: int) -> None:
    check = outcome("port", port=taken_port)
    assert not check.is_fine
    assert str(taken_port) in check.detail
    assert re.search(r"sightline up --port \d+", check.remedy)


def test_port_of_a_running_fleet_is_no_fault(server: ScriptedServer) -> None:
    server.script = [(200, {}, {"models": [{"name": "hoi"}]})]
    check = outcome("port", port=server.server_port)
    assert (check.is_fine, check.remedy) == (True, "")
    assert "running fleet of Sightline: hoi" in check.detail


def test_provider_that_is_listed_but_does_not_work_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: listed)
    check = outcome("onnx runtime")
    assert check.is_fine  # the CPU works
    assert "providers that work: CPUExecutionProvider; listed but not working: CUDAExecutionProvider" in check.detail
    assert "SIGHTLINE_PROVIDERS=cpu" in check.remedy


def test_too_little_memory_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_FREE_MEMORY_BYTES", 1 << 60)
    check = outcome("memory")
    assert (check.is_fine, "sightline up hra_screening" in check.remedy) == (False, True)


def test_missing_runtime_leaves_models_unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    checks = {check.name: check for check in run_checks(("hoi",), host="127.0.0.1", port=free_port(), state=Path())}
    assert "install" in checks["onnx runtime"].remedy
    assert checks["hoi"].detail == "not checked: it needs ONNX Runtime"


def test_every_line_fits_80_columns_of_a_terminal(tmp_path: Path) -> None:
    reading, terminal = os.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    words = ["doctor", "hra-screening", "--port", str(free_port()), "--state", str(tmp_path / "a" / ("long" * 20))]
    process = Popen([sys.executable, "-m", "sightline.cli", *words], stdout=terminal, stderr=terminal)
    os.close(terminal)
    shown = b""
    with suppress(OSError):  # the terminal is closed when the process ends
        while data := os.read(reading, 4096):
            shown += data
    os.close(reading)
    assert process.wait() == 0
    lines = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode()).splitlines()
    assert any(line.startswith("ok") for line in lines)
    assert max(map(len, lines)) <= 80


def test_damaged_weights_fail_and_the_other_checks_still_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = tmp_path / "weights.onnx"
    weights.write_bytes(b"damaged")
    weights.with_suffix(".toml").write_text('name = "mine"\nversion = "1"\n')
    monkeypatch.setenv("SIGHTLINE_WEIGHTS", str(weights))
    checks = list(run_checks(("hra_screening",), host="127.0.0.1", port=free_port(), state=tmp_path))
    failed = [check for check in checks if not check.is_fine]
    assert [check.name for check in failed] == ["hra_screening"]
    assert "weights.toml" in failed[0].detail
    assert failed[0].remedy == "unset SIGHTLINE_WEIGHTS"


def test_unreachable_redis_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_REDIS_URL", f"redis://127.0.0.1:{free_port()}")
    assert not outcome("redis").is_fine


def test_full_disk_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_FREE_BYTES", 1 << 60)
    check = outcome("disk", state=tmp_path / "not" / "there" / "yet")
    assert (check.is_fine, str(tmp_path) in check.detail) == (False, True)


def test_failed_checks_end_the_command_with_their_names(taken_port: int, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"1 of 7 checks failed: port"):
        build_app()(
            ["doctor", "hra-screening", "--port", str(taken_port), "--state", str(tmp_path)], standalone_mode=False
        )
