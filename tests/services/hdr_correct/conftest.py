"""A network small enough to be made here, whose corrections and scenes are known pixel by pixel."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from services.hdr_correct.predictor import HdrPredictor
from sightline.inference.settings import Provider
from sightline.inference.weights import Weights
from sightline.serving.settings import ServiceSettings
from tests.services.prediction import Ask, make_ask, save_weights

SCENE_GAMMA = 2.0

CONTRACT = """\
name = "curves"
version = "1.0"
multiple_of = 32

[inputs.photo]
tensor = "photo"
dtype = "uint8"
layout = "nhwc"
range = [0, 255]

[outputs.compressed]
tensor = "compressed"
dtype = "float32"
layout = "nhwc"
range = [0.0, 1.0]

[outputs.corrected]
tensor = "corrected"
dtype = "float32"
layout = "nhwc"
range = [0.0, 1.0]
"""


def curves_graph() -> onnx.ModelProto:
    """corrected = photo ** 0.5 and scene = 4 * photo ** 2, which is compressed = 0.03 * (400 * photo ** 2) ** 0.45."""
    constants = {"white": 255.0, "half": 0.5, "alpha": 0.03 * 400**0.45, "power": SCENE_GAMMA * 0.45}
    nodes = [
        helper.make_node("Cast", ["photo"], ["codes"], to=TensorProto.FLOAT),
        helper.make_node("Div", ["codes", "white"], ["unit"]),
        helper.make_node("Pow", ["unit", "half"], ["corrected"]),
        helper.make_node("Pow", ["unit", "power"], ["light"]),
        helper.make_node("Mul", ["light", "alpha"], ["compressed"]),
    ]
    shape: list[str | int | None] = ["b", "h", "w", 3]
    graph = helper.make_graph(
        nodes,
        "curves",
        [helper.make_tensor_value_info("photo", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("compressed", "corrected")],
        [helper.make_tensor(name, TensorProto.FLOAT, [], [value]) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="session")
def curves(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return save_weights(tmp_path_factory.mktemp("curves"), curves_graph(), CONTRACT)


@pytest.fixture(scope="session")
def settings() -> ServiceSettings:
    return ServiceSettings(providers=(Provider.CPU,), intra_op_threads=1, max_batch=2)


@pytest.fixture(scope="session")
def ask(curves: Weights, settings: ServiceSettings) -> Ask:
    return make_ask(HdrPredictor(curves, settings), curves, settings, accept="image/png")


@pytest.fixture(scope="session")
def landscape() -> NDArray[np.float32]:
    """(150, 210, 3) in 0..0.7: a smooth scene with texture, two regions of different brightness, and colour."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:150, :210] / 210
    base = np.where(x + 0.3 * y < 0.55, 0.12 + 0.1 * x, 0.45 + 0.2 * y)
    tint = np.stack([1 + 0.2 * x, np.ones_like(x), 1.1 - 0.3 * y], axis=2)
    texture = 1 + 0.06 * rng.standard_normal((150, 210, 1))
    return np.asarray(np.clip(base[..., None] * tint * texture, 0, 0.7), np.float32)
