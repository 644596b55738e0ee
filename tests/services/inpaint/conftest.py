"""Tiny networks as fixtures: they keep known pixels and paint holes in one tone."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from services.inpaint.predictor import InpaintPredictor
from services.inpaint.schemas import InpaintOptions
from sightline.api.evidence import ModelIdentity
from sightline.inference.engine import OnnxEngine
from sightline.inference.executor import run_inline
from sightline.inference.pipeline import InferenceRequest, respond
from sightline.inference.predictor import Plan, Rendered, Upload
from sightline.inference.settings import Provider
from sightline.inference.weights import Weights
from sightline.serving.settings import ServiceSettings
from tests.services.prediction import save_weights

TONE = 0.25

TENSOR = """
[{side}.{name}]
tensor = "{name}"
dtype = "{dtype}"
layout = "{layout}"
range = [0, {high}]
"""

DrivePlan = Callable[[Plan[Any]], Any]
Ask = Callable[..., Rendered]
MakeWeights = Callable[..., Weights]


def painting_graph(inputs: list[onnx.ValueInfoProto], output: onnx.ValueInfoProto, *, white: float) -> onnx.ModelProto:
    """Returns a graph: filled = (image / white_in * (1 - mask) + TONE * mask) * white, in any layout."""
    image, mask = (each.name for each in inputs)
    bright = 255.0 if inputs[0].type.tensor_type.elem_type == TensorProto.UINT8 else 1.0
    constants = [
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("gain", TensorProto.FLOAT, [], [white / bright]),
        helper.make_tensor("tone", TensorProto.FLOAT, [], [TONE * white]),
    ]
    nodes = [
        helper.make_node("Cast", [image], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Cast", [mask], ["hole"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["one", "hole"], ["known"]),
        helper.make_node("Mul", ["pixels", "gain"], ["scaled"]),
        helper.make_node("Mul", ["scaled", "known"], ["kept"]),
        helper.make_node("Mul", ["hole", "tone"], ["painted"]),
        helper.make_node("Add", ["kept", "painted"], [output.name]),
    ]
    graph = helper.make_graph(nodes, "paint", inputs, [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def _value(name: str, dtype: int, shape: list[str | int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


@pytest.fixture(scope="session")
def shipped_like(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Weights with the contract of the shipped ones: NHWC, any size that is a multiple of 128."""
    inputs = [
        _value("image", TensorProto.UINT8, ["b", "h", "w", 3]),
        _value("mask", TensorProto.UINT8, ["b", "h", "w", 1]),
    ]
    model = painting_graph(inputs, _value("filled", TensorProto.FLOAT, ["b", "h", "w", 3]), white=1)
    contract = 'name = "paint"\nversion = "1.0"\nmultiple_of = 128\n' + "".join(
        TENSOR.format(side=side, name=name, dtype=dtype, layout="nhwc", high=high)
        for side, name, dtype, high in (
            ("inputs", "image", "uint8", 255),
            ("inputs", "mask", "uint8", 1),
            ("outputs", "filled", "float32", 1),
        )
    )
    return save_weights(tmp_path_factory.mktemp("shipped"), model, contract)


@pytest.fixture(scope="session")
def lama_like(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    """Weights with the contract of the public LaMa export: one NCHW float picture of 512x512, output in 0..255."""
    inputs = [
        _value("image", TensorProto.FLOAT, [1, 3, 512, 512]),
        _value("mask", TensorProto.FLOAT, [1, 1, 512, 512]),
    ]
    model = painting_graph(inputs, _value("filled", TensorProto.FLOAT, [1, 3, 512, 512]), white=255)
    contract = 'name = "lama"\nversion = "2021.1"\nfixed_size = [512, 512]\nfixed_batch = 1\n' + "".join(
        TENSOR.format(side=side, name=name, dtype="float32", layout="nchw", high=high)
        for side, name, high in (("inputs", "image", 1), ("inputs", "mask", 1), ("outputs", "filled", 255))
    )
    return save_weights(tmp_path_factory.mktemp("lama"), model, contract)


@pytest.fixture(scope="session")
def settings() -> ServiceSettings:
    return ServiceSettings(providers=(Provider.CPU,), intra_op_threads=1, max_batch=2)


@pytest.fixture(scope="session")
def ask(shipped_like: Weights, settings: ServiceSettings) -> Ask:
    """Returns a function from bytes of pictures by field name, and options, to the reply."""
    return make_ask(shipped_like, settings)


@pytest.fixture(scope="session")
def ask_lama(lama_like: Weights, settings: ServiceSettings) -> Ask:
    return make_ask(lama_like, settings)


def make_ask(weights: Weights, settings: ServiceSettings) -> Ask:
    predictor = InpaintPredictor(weights, settings)
    engine = OnnxEngine(weights, weights.contract.adapt(predictor.signature), settings)
    identity: ModelIdentity = weights.identity("inpaint")

    def ask(*, accept: str = "image/png", options: dict[str, Any] | None = None, **pictures: bytes) -> Rendered:
        upload = Upload({name: [data] for name, data in pictures.items()}, InpaintOptions(**options or {}))
        return run_inline(respond(predictor, InferenceRequest(upload, accept, "request"), engine, identity), engine)

    return ask


@pytest.fixture(scope="session")
def drive() -> DrivePlan:
    """Drives a plan by arithmetic alone: holes get TONE, known pixels come back as they were."""

    def drive(plan: Plan[Any]) -> Any:
        try:
            samples = next(plan)
            while True:
                samples = plan.send([{"filled": _painted(each["image"], each["mask"])} for each in samples])
        except StopIteration as stop:
            return stop.value

    return drive


def _painted(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.where(mask == 1, np.float32(TONE), image / np.float32(255)).astype(np.float32)
