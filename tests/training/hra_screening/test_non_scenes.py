"""A gate that keeps pictures without a scene from taking a class of violation."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from sightline.api.screening import CATEGORIES, Category
from sightline.inference.contract import read_contract
from sightline.training.export import write_contract
from sightline.training.hra_screening.examples import INDEX, Example
from sightline.training.hra_screening.export import CONTRACT
from sightline.training.hra_screening.jobs import write_gated
from sightline.training.hra_screening.non_scenes import Gate, add_gate, fit_gate, gate_for

ARMS, NONE = INDEX[Category.ARMS], INDEX[Category.NO_VIOLATION]
PX = 32


def arms_model() -> onnx.ModelProto:
    """A file that classifies every picture as arms; its features are the mean colours of picture and mirror image."""
    logits = np.zeros((1, len(CATEGORIES)), np.float32)
    logits[0, ARMS] = 4
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["pixels", "places"], ["colours"], keepdims=0),
        helper.make_node("Div", ["colours", "white"], ["scaled"]),
        helper.make_node("Concat", ["scaled", "scaled"], ["mean"], axis=0),
        helper.make_node("ReduceMean", ["scaled", "channel"], ["one"], keepdims=1),
        helper.make_node("Mul", ["one", "zero"], ["none"]),
        helper.make_node("Add", ["none", "arms"], ["logits"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "places": np.array([1, 2], np.int64),
        "channel": np.array([1], np.int64),
        "white": np.array(255, np.float32),
        "zero": np.array(0, np.float32),
        "arms": logits,
    }
    graph = helper.make_graph(
        nodes,
        "arms",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["b", PX, PX, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["b", len(CATEGORIES)])],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


def logits_of(model: onnx.ModelProto, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["logits"], {"image": images})[0])


def coloured(folder: Path, colour: tuple[int, int, int], count: int) -> list[Path]:
    folder.mkdir(parents=True)
    paths = [folder / f"{at}.png" for at in range(count)]
    for at, path in enumerate(paths):
        cv2.imwrite(str(path), np.full((40, 40 + at, 3), colour[::-1], np.uint8))
    return paths


@pytest.fixture
def scenes(tmp_path: Path) -> list[Example]:
    paths = coloured(tmp_path / "scenes", (230, 20, 20), 6)
    return [Example(path, Category.ARMS, path.name) for path in paths]


@pytest.fixture
def non_scenes(tmp_path: Path) -> Path:
    coloured(tmp_path / "others" / "surfaces", (20, 20, 230), 6)
    return tmp_path / "others"


def test_fitted_gate_raises_no_violation_for_non_scenes_alone() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(0, 0.1, (40, 2, 5)).astype(np.float32)
    features[20:, :, 0] += 1
    logits = np.zeros((40, len(CATEGORIES)), np.float32)
    logits[:, ARMS] = 4
    labels = np.array([ARMS] * 20 + [NONE] * 20)
    gated = fit_gate(features, logits, labels == ARMS, np.ones(40, np.float32), penalty=1e-3)(features, logits)
    assert (gated.argmax(1) == labels).all()
    others = [at for at in range(len(CATEGORIES)) if at != NONE]
    np.testing.assert_array_equal(gated[:, others], logits[:, others])


def test_gate_in_the_file_agrees_with_the_fitted_gate() -> None:
    model, gate = arms_model(), Gate(np.array([1.0, -2.0, 3.0], np.float32), -0.5)
    images = np.random.default_rng(0).integers(0, 256, (3, PX, PX, 3), dtype=np.uint8)
    before = logits_of(model, images)
    add_gate(model, gate)
    features = images.mean((1, 2))[:, None] / 255
    np.testing.assert_allclose(logits_of(model, images), gate(features, before), atol=1e-4)


def test_second_gate_is_refused() -> None:
    model, gate = arms_model(), Gate(np.zeros(3, np.float32), 0.0)
    add_gate(model, gate)
    with pytest.raises(ValueError, match="no gate"):
        add_gate(model, gate)


def test_gate_learns_from_a_folder_of_each_kind(scenes: list[Example], non_scenes: Path) -> None:
    model = arms_model()
    add_gate(model, gate_for(model, scenes, non_scenes, PX, penalty=1e-3))
    red, blue = (np.full((1, PX, PX, 3), colour, np.uint8) for colour in ((230, 20, 20), (20, 20, 230)))
    assert logits_of(model, red).argmax() == ARMS
    assert logits_of(model, blue).argmax() == NONE


def test_folder_without_pictures_is_refused(scenes: list[Example], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no pictures in"):
        gate_for(arms_model(), scenes, tmp_path / "empty", PX)


def test_gated_file_has_a_contract_with_its_version(scenes: list[Example], non_scenes: Path, tmp_path: Path) -> None:
    source = tmp_path / "hra_screening.onnx"
    onnx.save(arms_model(), source)
    facts = {"px": PX, "cells": 1, "channels": 3, "threshold": 0.85, "support": "arms = 40"}
    write_contract(source, CONTRACT.format(version="1.2.0", **facts))
    write_gated(source, scenes, non_scenes, tmp_path / "out", "1.3.0")
    contract = read_contract(tmp_path / "out" / "hra_screening.toml")
    assert contract.version == contract.facts["threshold_version"] == "1.3.0"
    assert contract.facts["support"] == {"arms": 40}
