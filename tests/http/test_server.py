"""The server as a process of its own, told to stop the way an operator does."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from sightline.inference.weights import Weights

ROOT = Path(__file__).parents[2]
LIMIT_S = 30

FACTORY = """
from pydantic import BaseModel

from sightline.api.declaration import ModelDeclaration, PictureField
from sightline.inference.predictor import Predictor
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import load_weights
from sightline.serving.app import create_app
from sightline.serving.settings import ServiceSettings


class Options(BaseModel):
    pass


class TinyPredictor(Predictor):
    declaration = ModelDeclaration(
        name="tiny",
        title="Tiny",
        description="",
        pictures=(PictureField("image", ""),),
        options=Options,
        media_types=("image/png",),
    )
    signature = ModelSignature(
        (TensorSpec("image", "uint8", ("h", "w", 3)),),
        (TensorSpec("inverted", "float32", ("h", "w", 3)),),
        ({"h": 8, "w": 8},),
    )
    card = ""
    read = predict = render = None


def create():
    settings = ServiceSettings()
    return create_app(TinyPredictor.load(settings), settings)
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path, tiny_weights: Weights, port: int) -> dict[str, str]:
    (tmp_path / "tiny_factory.py").write_text(FACTORY)
    return {
        **os.environ,
        "PYTHONPATH": f"{ROOT / 'shared'}:{tmp_path}",
        "SIGHTLINE_PORT": str(port),
        "SIGHTLINE_PROVIDERS": "cpu",
        "SIGHTLINE_WEIGHTS": str(tiny_weights.path),
        "SIGHTLINE_INTRA_OP_THREADS": "1",
    }


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[list[subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def launch(environment: dict[str, str], processes: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "sightline.serving", "tiny_factory:create"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    processes.append(process)
    return process


def status(port: int) -> int:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz").status_code
    except httpx2.TransportError:
        return 0


def wait_for(port: int, wanted: int) -> None:
    limit = time.monotonic() + LIMIT_S
    while status(port) != wanted:
        assert time.monotonic() < limit, f"never came to {wanted}"
        time.sleep(0.02)


def test_stopping_server_is_not_ready_before_it_closes_its_port(
    environment: dict[str, str], start: list[subprocess.Popen[str]], port: int
) -> None:
    process = launch({**environment, "SIGHTLINE_DRAIN_NOTICE_S": "1"}, start)
    wait_for(port, 200)
    process.send_signal(signal.SIGTERM)
    wait_for(port, 503)
    assert httpx2.get(f"http://127.0.0.1:{port}/livez").status_code == 200
    output, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode == -signal.SIGTERM
    assert '"event": "ready"' in output
    assert all(line.startswith("{") for line in output.splitlines())


def test_server_ends_with_a_reason_when_the_model_does_not_load(
    environment: dict[str, str], start: list[subprocess.Popen[str]]
) -> None:
    process = launch({**environment, "SIGHTLINE_PROVIDERS": "cuda"}, start)
    output, _ = process.communicate(timeout=LIMIT_S)
    assert process.returncode != 0
    assert "add cpu to allow the CPU" in output
