"""The engine on real ONNX graphs: the shipped kind, and one with the contract of the public LaMa export."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sightline.inference.contract import ContractError
from sightline.inference.engine import BoundRunner, OnnxEngine
from sightline.inference.providers import ProviderError
from sightline.inference.signature import ModelSignature, TensorSpec
from sightline.inference.weights import Weights, load_weights
from sightline.serving.settings import ServiceSettings

MakeSettings = Callable[..., ServiceSettings]

SIDE_PX = 64
INPAINT = ModelSignature(
    inputs=(
        TensorSpec("image", "uint8", ("h", "w", 3), 0, 255),
        TensorSpec("mask", "uint8", ("h", "w", 1), 0, 1),
    ),
    outputs=(TensorSpec("filled", "float32", ("h", "w", 3), 0, 1),),
    buckets=({"h": 128, "w": 128},),
)
LAMA = """
name = "lama"
version = "1"
fixed_size = [64, 64]
fixed_batch = 1
[inputs.image]
tensor = "picture"
dtype = "float32"
layout = "nchw"
range = [0.0, 1.0]
[inputs.mask]
tensor = "holes"
dtype = "float32"
layout = "nchw"
range = [0.0, 1.0]
[outputs.filled]
tensor = "output"
dtype = "float32"
layout = "nchw"
range = [0.0, 255.0]
"""


def lama_graph(*, batch: int | str = 1) -> onnx.ModelProto:
    """output = 255 * (picture outside the holes, 1 inside them), in NCHW of a fixed size."""
    shape = [SIDE_PX, SIDE_PX]
    inputs = [
        helper.make_tensor_value_info("picture", TensorProto.FLOAT, [batch, 3, *shape]),
        helper.make_tensor_value_info("holes", TensorProto.FLOAT, [batch, 1, *shape]),
    ]
    output = helper.make_tensor_value_info("output", TensorProto.FLOAT, [batch, 3, *shape])
    constant = helper.make_tensor("full", TensorProto.FLOAT, [], [255.0])
    nodes = [
        helper.make_node("Max", ["picture", "holes"], ["filled"]),
        helper.make_node("Mul", ["filled", "full"], ["output"]),
    ]
    graph = helper.make_graph(nodes, "lama", inputs, [output], [constant])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture
def lama_weights(tmp_path: Path) -> Callable[..., Weights]:
    def make(text: str = LAMA, *, batch: int | str = 1) -> Weights:
        path = tmp_path / "lama.onnx"
        onnx.save(lama_graph(batch=batch), path)
        path.with_suffix(".toml").write_text(text)
        return load_weights(path, path.with_suffix(".toml"), shipped=False)

    return make


def open_engine(weights: Weights, settings: ServiceSettings) -> OnnxEngine:
    return OnnxEngine(weights, weights.contract.adapt(INPAINT), settings)


def canonical_batch(count: int) -> dict[str, NDArray[Any]]:
    image = np.random.default_rng(7).integers(0, 256, (count, SIDE_PX, SIDE_PX, 3), np.uint8)
    mask = np.zeros((count, SIDE_PX, SIDE_PX, 1), np.uint8)
    mask[:, 10:20, 30:50] = 1
    return {"image": image, "mask": mask}


@pytest.mark.parametrize("count", [1, 3])
def test_custom_weights_use_canonical_tensors(
    lama_weights: Callable[..., Weights], make_settings: MakeSettings, count: int
) -> None:
    batch = canonical_batch(count)
    filled = open_engine(lama_weights(), make_settings()).run(batch)["filled"]
    expected = np.where(batch["mask"] == 1, np.float32(1), batch["image"] / np.float32(255))
    assert filled.dtype == np.float32
    np.testing.assert_allclose(filled, expected, atol=1e-6)


def test_inverted_mask_is_declared_by_its_range(
    lama_weights: Callable[..., Weights], make_settings: MakeSettings
) -> None:
    inverted = LAMA.replace('tensor = "holes"\ndtype = "float32"\nlayout = "nchw"\nrange = [0.0, 1.0]',
                            'tensor = "holes"\ndtype = "float32"\nlayout = "nchw"\nrange = [1.0, 0.0]')  # fmt: skip
    batch = canonical_batch(1)
    filled = open_engine(lama_weights(inverted), make_settings()).run(batch)["filled"]
    expected = np.where(batch["mask"] == 0, np.float32(1), batch["image"] / np.float32(255))
    np.testing.assert_allclose(filled, expected, atol=1e-6)


def test_fixed_batch_is_filled_up_and_cut(lama_weights: Callable[..., Weights], make_settings: MakeSettings) -> None:
    weights = lama_weights(LAMA.replace("fixed_batch = 1", "fixed_batch = 2"), batch=2)
    batch = canonical_batch(3)
    filled = open_engine(weights, make_settings()).run(batch)["filled"]
    expected = np.where(batch["mask"] == 1, np.float32(1), batch["image"] / np.float32(255))
    np.testing.assert_allclose(filled, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        (
            'tensor = "picture"',
            'tensor = "photo"',
            r"tensor 'photo' \(image\) is not in the graph|'picture' that",
        ),
        ('tensor = "output"', 'tensor = "result"', r"tensor 'result' \(filled\) is not in the graph"),
        ("[64, 64]", "[64, 128]", "tensor 'picture': axis 3 declared with size 128, the graph fixes 64"),
        ("fixed_batch = 1", "fixed_batch = 2", r"batch \(axis 0\) declared with size 2, the graph fixes 1"),
        ("fixed_batch = 1", "", r"batch \(axis 0\) declared with any size, the graph fixes 1"),
        ('dtype = "float32"', 'dtype = "uint8"', "declared uint8, the graph has float32"),
        ('layout = "nchw"', 'layout = "nhwc"', "axis 1 declared with size 64, the graph fixes 3"),
    ],
    ids=["input", "output", "size", "batch", "dynamic", "dtype", "layout"],
)
def test_graph_that_is_not_as_declared_is_refused(
    lama_weights: Callable[..., Weights], make_settings: MakeSettings, before: str, after: str, fault: str
) -> None:
    with pytest.raises(ContractError, match=fault):
        open_engine(lama_weights(LAMA.replace(before, after)), make_settings())


def test_file_that_is_no_graph_is_refused(lama_weights: Callable[..., Weights], make_settings: MakeSettings) -> None:
    weights = lama_weights()
    weights.path.write_bytes(b"not a graph")
    with pytest.raises(ProviderError, match="loads the weights"):
        open_engine(weights, make_settings())


def test_refuses_to_start_on_the_cpu_unless_it_is_listed(
    lama_weights: Callable[..., Weights], make_settings: MakeSettings
) -> None:
    with pytest.raises(ProviderError, match="add cpu"):
        open_engine(lama_weights(), make_settings(providers=("cuda",)))


def test_engine_names_its_provider_and_precision(
    lama_weights: Callable[..., Weights], make_settings: MakeSettings
) -> None:
    engine = open_engine(lama_weights(), make_settings(providers=("cuda", "cpu")))
    assert (engine.provider, engine.precision, engine.max_batch) == ("CPUExecutionProvider", "fp32", 1)


def test_onnx_runtime_sends_no_telemetry(tiny_weights: Weights, tmp_path: Path) -> None:
    """It keeps what it is going to send in the home folder."""
    home = tmp_path / "home"
    home.mkdir()
    script = (
        "import sys; from sightline.inference.engine import ort;"
        "ort.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider'])"
    )
    environment = {**os.environ, "HOME": str(home), "PYTHONPATH": str(Path(__file__).parents[2] / "shared")}
    for name in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"):
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", script, str(tiny_weights.path)], env=environment, check=True)
    assert list(home.rglob("*")) == []


@pytest.fixture
def runner(tiny_weights: Weights) -> BoundRunner:
    session = ort.InferenceSession(str(tiny_weights.path), providers=["CPUExecutionProvider"])
    return BoundRunner(session, device="cpu", device_id=0)


def test_bound_run_returns_the_outputs_of_its_own_inputs(runner: BoundRunner) -> None:
    for value in (0, 51, 255, 51):
        for side in (8, 16):
            image = np.full((2, side, side, 3), value, np.uint8)
            inverted = runner.run({"image": image})["inverted"]
            assert inverted.shape == image.shape
            np.testing.assert_allclose(inverted, 1 - value / 255, atol=1e-6)


def test_outputs_of_a_bound_run_outlive_the_next_run(runner: BoundRunner) -> None:
    first = runner.run({"image": np.zeros((1, 8, 8, 3), np.uint8)})["inverted"]
    second = runner.run({"image": np.full((1, 8, 8, 3), 255, np.uint8)})["inverted"]
    third = runner.run({"image": np.full((1, 8, 8, 3), 51, np.uint8)})["inverted"]
    assert (first.max(), second.max()) == pytest.approx((1, 0))
    assert third.max() == pytest.approx(0.8)
