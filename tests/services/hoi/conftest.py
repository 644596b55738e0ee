"""Networks small enough to be made here: rectangles of a few colours are people and things, and what the interaction
network says of them is fixed, so that every score can be worked by hand."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from services.hoi.contract_facts import ContractFacts
from services.hoi.predictor import HoiPredictor
from sightline.inference.settings import Provider
from sightline.inference.weights import Weights, load_weights
from sightline.serving.settings import ServiceSettings
from tests.services.prediction import Ask, make_ask

Png = Callable[..., bytes]
Pixels = NDArray[np.uint8]
Rectangle = tuple[str, int, int, int, int]
Scene = Callable[..., Pixels]

LONGEST_PX = 128
CLASSES = ("person", "bicycle", "dog")
SLOTS = (("ride", "instr"), ("hold", "obj"), ("look", "obj"), ("walk", ""))
COLOURS = {
    "red": (255, 0, 0),
    "magenta": (255, 0, 255),
    "blue": (0, 0, 255),
    "green": (0, 255, 0),
    "cyan": (0, 255, 255),
}
LABELS = {"red": "person", "magenta": "person", "blue": "bicycle", "green": "dog", "cyan": "person"}
SCORES = {"red": 0.9, "magenta": 0.8, "blue": 0.7, "green": 0.6, "cyan": 0.5}

ACTIONS = (0.81, 0.36, 0.25, 0.64)
PERSON_LOGITS = (1.0, 0.0, 0.0, 0.0)
OBJECT_LOGITS = {"person": (-9.0, -9.0, 1.0, 0.0), "bicycle": (2.0, 0.0, -9.0, 0.0), "dog": (-9.0, 2.0, 0.0, 0.0)}
"""Times the score of the thing."""
TARGETS = ((0.0, 0.5, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0), (2.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0))

CONTRACT = f"""\
name = "blobs"
version = "1.0"

[parts]
interactions = "interactions.onnx"

[inputs.image]
tensor = "image"
dtype = "float32"
layout = "nchw"

[outputs.boxes]
tensor = "boxes"
dtype = "float32"

[outputs.scores]
tensor = "scores"
dtype = "float32"

[outputs.labels]
tensor = "labels"
dtype = "int64"

[outputs.actions]
tensor = "actions"
dtype = "float32"

[outputs.targets]
tensor = "targets"
dtype = "float32"

[outputs.person_logits]
tensor = "person_logits"
dtype = "float32"

[outputs.object_logits]
tensor = "object_logits"
dtype = "float32"

[facts]
longest_side_px = {LONGEST_PX}
classes = {list(CLASSES)}
slots = {[list(slot) for slot in SLOTS]}
sigma = 0.5

[facts.thresholds]
detection = 0.05
empty_role = 0.05
interaction = 0.1
"""


def floats(name: str, values: Any) -> onnx.TensorProto:
    array = np.asarray(values, np.float32)
    return helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.ravel())


def whole_numbers(name: str, values: Sequence[int], shape: Sequence[int] | None = None) -> onnx.TensorProto:
    return helper.make_tensor(name, TensorProto.INT64, [len(values)] if shape is None else shape, values)


def value(name: str, shape: Sequence[str | int], dtype: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def model(name: str, nodes: Any, inputs: Any, outputs: Any, constants: Any) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, name, inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def detector_graph(scores: Mapping[str, float] = SCORES, classes: Sequence[str] = CLASSES) -> onnx.ModelProto:
    """The box around all pixels of each of the colours that are there; features are the mean colours of cells."""
    colours = list(COLOURS)
    node = helper.make_node
    nodes = [
        node("Sub", ["image", "colours"], ["apart"]),
        node("Abs", ["apart"], ["distance"]),
        node("ReduceMax", ["distance", "axis1"], ["farthest"], keepdims=0),
        node("Less", ["farthest", "near"], ["is_near"]),
        node("Cast", ["is_near"], ["mask"], to=TensorProto.FLOAT),
        node("ReduceMax", ["mask", "axis1"], ["columns"], keepdims=0),
        node("ReduceMax", ["mask", "axis2"], ["rows"], keepdims=0),
        node("ReduceMax", ["rows", "axis1"], ["is_there"], keepdims=0),
        node("NonZero", ["is_there"], ["there_across"]),
        node("Squeeze", ["there_across", "axis0"], ["there"]),
        node("ArgMax", ["columns"], ["left"], axis=1),
        node("ArgMax", ["rows"], ["top"], axis=1),
        node("ArgMax", ["columns"], ["last_column"], axis=1, select_last_index=1),
        node("ArgMax", ["rows"], ["last_row"], axis=1, select_last_index=1),
        node("Add", ["last_column", "one"], ["right"]),
        node("Add", ["last_row", "one"], ["bottom"]),
        node("Concat", ["left", "top", "right", "bottom"], ["corners"], axis=1),
        node("Cast", ["corners"], ["every_box"], to=TensorProto.FLOAT),
        node("Gather", ["every_box", "there"], ["boxes"]),
        node("Gather", ["every_score", "there"], ["scores"]),
        node("Gather", ["every_label", "there"], ["labels"]),
        *(
            node("AveragePool", ["image"], [name], kernel_shape=[px] * 2, strides=[px] * 2)
            for name, px in (("p3", 8), ("p4", 16), ("p5", 32))
        ),
    ]
    constants = [
        floats("colours", np.array([COLOURS[name] for name in colours])[:, :, None, None]),
        floats("near", 60),
        floats("every_score", [scores[name] for name in colours]),
        whole_numbers("every_label", [classes.index(LABELS[name]) for name in colours]),
        whole_numbers("axis0", [0]),
        whole_numbers("axis1", [1]),
        whole_numbers("axis2", [2]),
        whole_numbers("one", [1], []),
    ]
    outputs = [
        value("boxes", ["n", 4]),
        value("scores", ["n"]),
        value("labels", ["n"], TensorProto.INT64),
        *(value(name, [1, 3, f"{name}_h", f"{name}_w"]) for name in ("p3", "p4", "p5")),
    ]
    return model("blobs", nodes, [value("image", [1, 3, "h", "w"])], outputs, constants)


def interactions_graph() -> onnx.ModelProto:
    """Says the same of all people, and of things what their class tells; `look` is likelier in pictures that are
    bright as a whole, by what the features say."""
    slots, node = len(SLOTS), helper.make_node
    brightness = np.zeros(slots)
    brightness[2] = 1 / 255
    nodes = [
        node("MatMul", ["people", "no_slots"], ["blank"]),
        node("Add", ["blank", "every_action"], ["actions"]),
        node("MatMul", ["people", "no_targets"], ["blank_targets"]),
        node("Add", ["blank_targets", "every_target"], ["flat_targets"]),
        node("Reshape", ["flat_targets", "targets_shape"], ["targets"]),
        node("ReduceMean", ["p3"], ["tone"], keepdims=0),
        node("Mul", ["tone", "brightness"], ["brighter"]),
        node("Add", ["brighter", "every_person"], ["seen"]),
        node("Add", ["blank", "seen"], ["person_logits"]),
        node("MatMul", ["object_scores", "every_object"], ["object_logits"]),
    ]
    constants = [
        floats("no_slots", np.zeros((4, slots))),
        floats("no_targets", np.zeros((4, 4 * slots))),
        floats("every_action", ACTIONS),
        floats("every_target", np.ravel(TARGETS)),
        whole_numbers("targets_shape", [-1, slots, 4]),
        floats("brightness", brightness),
        floats("every_person", PERSON_LOGITS),
        floats("every_object", [OBJECT_LOGITS[name] for name in CLASSES]),
    ]
    inputs = [
        *(value(name, [1, 3, f"{name}_h", f"{name}_w"]) for name in ("p3", "p4", "p5")),
        value("people", ["p", 4]),
        value("objects", ["o", 4]),
        value("object_scores", ["o", len(CLASSES)]),
    ]
    outputs = [
        value("actions", ["p", slots]),
        value("targets", ["p", slots, 4]),
        value("person_logits", ["p", slots]),
        value("object_logits", ["o", slots]),
    ]
    return model("fixed", nodes, inputs, outputs, constants)


def save(folder: Path, contract: str = CONTRACT) -> Weights:
    path = folder / "detector.onnx"
    onnx.save(detector_graph(), path)
    onnx.save(interactions_graph(), folder / "interactions.onnx")
    path.with_suffix(".toml").write_text(contract)
    return load_weights(path, path.with_suffix(".toml"), shipped=True)


@pytest.fixture(scope="session")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return save(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="session")
def facts(blobs: Weights) -> ContractFacts:
    return blobs.contract.read_facts(ContractFacts)


@pytest.fixture(scope="session")
def settings() -> ServiceSettings:
    return ServiceSettings(providers=(Provider.CPU,), intra_op_threads=1)


@pytest.fixture(scope="session")
def ask(blobs: Weights, settings: ServiceSettings) -> Ask:
    return make_ask(HoiPredictor(blobs, settings), blobs, settings, accept="application/json")


@pytest.fixture(scope="session")
def scene() -> Scene:
    """(h, w, 3) of rectangles (colour, left, top, right, bottom) on one grey."""

    def scene(*rectangles: Rectangle, width: int = 640, height: int = 480, tone: int = 0) -> Pixels:
        pixels = np.full((height, width, 3), tone, np.uint8)
        for colour, left, top, right, bottom in rectangles:
            pixels[top:bottom, left:right] = COLOURS[colour]
        return pixels

    return scene
