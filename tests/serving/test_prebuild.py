import os
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.inference.weights import Weights

ROOT = Path(__file__).parents[2]
PREDICTOR = """
from tests.tiny_service import InvertingPredictor
from sightline.inference.weights import load_weights

def create(settings):
    return InvertingPredictor(load_weights(settings.weights, settings.contract, shipped=True), step_s=0.0)
"""


def run(tiny_weights: Weights, folder: Path, providers: str) -> subprocess.CompletedProcess[str]:
    (folder / "tiny_predictor.py").write_text(PREDICTOR)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "shared", ROOT, folder))),
        "SIGHTLINE_PROVIDERS": providers,
        "SIGHTLINE_WEIGHTS": str(tiny_weights.path),
        "SIGHTLINE_CONTRACT": str(tiny_weights.path.with_suffix(".toml")),
        "SIGHTLINE_INTRA_OP_THREADS": "1",
    }
    command = [sys.executable, "-m", "sightline.serving.prebuild", "tiny_predictor:create"]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def test_prebuild_runs_every_shape(tiny_weights: Weights, tmp_path: Path) -> None:
    done = run(tiny_weights, tmp_path, "cpu")
    assert done.returncode == 0, done.stderr
    assert '"event": "prebuilt"' in done.stdout
    assert "CPUExecutionProvider" in done.stdout


@pytest.mark.parametrize("provider", ["tensorrt"])
def test_prebuild_that_fails_ends_with_an_error(tiny_weights: Weights, tmp_path: Path, provider: str) -> None:
    done = run(tiny_weights, tmp_path, provider)
    assert done.returncode != 0
    assert "add cpu to allow the CPU" in done.stderr
