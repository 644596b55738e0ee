"""A network small enough to be made here: red says arms, green environment, blue out of school, grey no violation."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from services.hra_screening.predictor import ScreeningPredictor
from sightline.api.screening import CATEGORIES, Category
from sightline.inference.settings import Provider
from sightline.inference.weights import Weights
from sightline.serving.settings import ServiceSettings
from tests.services.prediction import Ask, make_ask, save_weights

Png = Callable[..., bytes]

SIDE_PX, CELLS = 64, 4
GAIN = 8.0
SAID_BY = {0: Category.ARMS, 1: Category.ENVIRONMENT, 2: Category.OUT_OF_SCHOOL}
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "dark": (0, 0, 0)}

CONTRACT = f"""\
name = "colours"
version = "1.0"
fixed_size = [{SIDE_PX}, {SIDE_PX}]

[sizes]
cells = {CELLS}
channels = 3

[inputs.image]
tensor = "image"
dtype = "uint8"
layout = "nhwc"

[outputs.logits]
tensor = "logits"
dtype = "float32"

[outputs.activation]
tensor = "activation"
dtype = "float32"
layout = "nhwc"

[outputs.embedding]
tensor = "embedding"
dtype = "float32"

[facts]
threshold = 0.85
threshold_version = "1.0"

[facts.support]
arms = 300
child_marriage = 8
"""


def colours_graph() -> onnx.ModelProto:
    """activation = GAIN x (mean colour of each cell) x the class of each channel + the share of no violation."""
    says = np.zeros((3, len(CATEGORIES)), np.float32)
    for channel, category in SAID_BY.items():
        says[channel, CATEGORIES.index(category)] = GAIN / 255
    base = np.zeros(len(CATEGORIES), np.float32)
    base[CATEGORIES.index(Category.NO_VIOLATION)] = GAIN / 2
    constants = [
        helper.make_tensor("says", TensorProto.FLOAT, says.shape, says.ravel()),
        helper.make_tensor("base", TensorProto.FLOAT, base.shape, base),
        helper.make_tensor("places", TensorProto.INT64, [2], [1, 2]),
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
    ]
    cell_px = SIDE_PX // CELLS
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("AveragePool", ["planes"], ["cells"], kernel_shape=[cell_px] * 2, strides=[cell_px] * 2),
        helper.make_node("Transpose", ["cells"], ["colour"], perm=[0, 2, 3, 1]),
        helper.make_node("MatMul", ["colour", "says"], ["said"]),
        helper.make_node("Add", ["said", "base"], ["activation"]),
        helper.make_node("ReduceMean", ["activation", "places"], ["logits"], keepdims=0),
        helper.make_node("ReduceMean", ["colour", "places"], ["tone"], keepdims=0),
        helper.make_node("Add", ["tone", "one"], ["lit"]),
        helper.make_node("LpNormalization", ["lit"], ["embedding"], axis=1, p=2),
    ]
    classes = len(CATEGORIES)
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["b", SIDE_PX, SIDE_PX, 3])],
        [
            helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", classes]),
            helper.make_tensor_value_info("activation", TensorProto.FLOAT, ["b", CELLS, CELLS, classes]),
            helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", 3]),
        ],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return save_weights(tmp_path_factory.mktemp("colours"), colours_graph(), CONTRACT)


@pytest.fixture(scope="session")
def settings() -> ServiceSettings:
    return ServiceSettings(providers=(Provider.CPU,), intra_op_threads=1, max_pixels=1_000_000)


@pytest.fixture(scope="session")
def ask(colours: Weights, settings: ServiceSettings) -> Ask:
    return make_ask(ScreeningPredictor(colours, settings), colours, settings, accept="application/json")


@pytest.fixture(scope="session")
def plain(png: Png) -> Callable[..., bytes]:
    """A picture of one colour."""

    def plain(colour: str, height: int = 90, width: int = 120) -> bytes:
        return png(np.full((height, width, 3), COLOURS[colour], np.uint8))

    return plain
