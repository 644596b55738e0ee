"""A network small enough to be made here, whose maps are known pixel by pixel."""

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from services.svbrdf.predictor import SvbrdfPredictor
from sightline.inference.settings import Provider
from sightline.inference.weights import Weights
from sightline.serving.settings import ServiceSettings
from tests.services.prediction import Ask, make_ask, save_weights

PROBABILITIES = (0.05, 0.05, 0.05, 0.25, 0.05, 0.05, 0.1, 0.4)

CONTRACT = "\n".join(
    [
        'name = "mirror"',
        'version = "1.0"',
        "multiple_of = 128",
        *(
            f'[{side}.{name}]\ntensor = "{name}"\ndtype = "float32"'
            for side, names in (
                ("inputs", ("photo", "coordinates")),
                ("outputs", ("albedo", "normal", "roughness", "probabilities")),
            )
            for name in names
        ),
    ]
)


def mirror_graph() -> onnx.ModelProto:
    """albedo = photo, normal = (x / 2, y / 2, 1) of unit length, roughness = 0.3 + y / 4, and fixed probabilities."""
    constants = {"half": [0.5], "quarter": [0.25], "base": [0.3], "one": [1.0]}
    nodes = [
        helper.make_node("Identity", ["photo"], ["albedo"]),
        helper.make_node("Mul", ["coordinates", "half"], ["sideways"]),
        helper.make_node("Slice", ["coordinates", "at1", "at2", "axis"], ["y"]),
        helper.make_node("Mul", ["y", "quarter"], ["risen"]),
        helper.make_node("Add", ["risen", "base"], ["roughness"]),
        helper.make_node("Sub", ["y", "y"], ["zero"]),
        helper.make_node("Add", ["zero", "one"], ["ahead"]),
        helper.make_node("Concat", ["sideways", "ahead"], ["vector"], axis=3),
        helper.make_node("ReduceL2", ["vector", "axis"], ["length"], keepdims=1),
        helper.make_node("Div", ["vector", "length"], ["normal"]),
        helper.make_node("ReduceMax", ["zero", "rest"], ["each"], keepdims=0),
        helper.make_node("Add", ["each", "shares"], ["probabilities"]),
    ]
    shapes: dict[str, list[str | int | None]] = {
        "photo": ["b", "h", "w", 3],
        "coordinates": ["b", "h", "w", 2],
        "albedo": ["b", "h", "w", 3],
        "normal": ["b", "h", "w", 3],
        "roughness": ["b", "h", "w", 1],
        "probabilities": ["b", 8],
    }
    infos = {name: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    graph = helper.make_graph(
        nodes,
        "mirror",
        [infos[name] for name in ("photo", "coordinates")],
        [infos[name] for name in ("albedo", "normal", "roughness", "probabilities")],
        [
            *(helper.make_tensor(name, TensorProto.FLOAT, [1], value) for name, value in constants.items()),
            helper.make_tensor("shares", TensorProto.FLOAT, [1, 8], PROBABILITIES),
            *(
                helper.make_tensor(name, TensorProto.INT64, [1], [at])
                for name, at in (("at1", 1), ("at2", 2), ("axis", 3))
            ),
            helper.make_tensor("rest", TensorProto.INT64, [2], [1, 2]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return save_weights(tmp_path_factory.mktemp("mirror"), mirror_graph(), CONTRACT)


@pytest.fixture(scope="session")
def settings() -> ServiceSettings:
    return ServiceSettings(providers=(Provider.CPU,), intra_op_threads=1, max_batch=2)


@pytest.fixture(scope="session")
def ask(mirror: Weights, settings: ServiceSettings) -> Ask:
    return make_ask(SvbrdfPredictor(mirror, settings), mirror, settings, accept="application/zip")


@pytest.fixture(scope="session")
def wall() -> NDArray[np.uint8]:
    """(300, 420, 3) sRGB: blocks of two colours with grain, lit brighter in the middle."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:300, :420]
    block = ((x // 60 + y // 50) % 2)[..., None]
    colour = np.where(block, [0.45, 0.2, 0.15], [0.3, 0.3, 0.35])
    fall = np.exp(-(((x - 210) / 260) ** 2) - ((y - 150) / 260) ** 2)[..., None]
    light = colour * fall * (1 + 0.1 * rng.standard_normal((300, 420, 1)))
    return np.asarray(np.rint(255 * np.clip(light, 0, 1) ** (1 / 2.2)), np.uint8)
