from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor

from sightline.training.hoi.losses import imitation_loss
from sightline.training.hoi.model import TrainConfig
from sightline.training.hoi.teachers import OnnxTeacherFeatures, TorchTeacherFeatures, normalize_bgr
from sightline.training.hoi.train import InteractNetTask
from sightline.training.schedule import Stage
from tests.training.hoi.conftest import SMALL

CHANNELS = SMALL.detector.width
STRIDES = (8, 16, 32)
SIDE_PX = 416


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that ends as NanoDet-Plus does, with random weights."""
    rng = np.random.default_rng(0)
    nodes, weights, flat = [], [numpy_helper.from_array(np.array([80, 32]), "parts")], []
    for stride in STRIDES:
        name = f"s{stride}"
        first = rng.normal(size=(CHANNELS, 3, stride, stride)) / stride
        last = rng.normal(size=(112, CHANNELS, 1, 1))
        weights += [
            numpy_helper.from_array(array.astype(np.float32), f"{name}{at}") for at, array in enumerate((first, last))
        ]
        nodes += [
            helper.make_node("Conv", ["data", f"{name}0"], [f"{name}_wide"], strides=[stride, stride]),
            helper.make_node("LeakyRelu", [f"{name}_wide"], [f"{name}_features"]),
            helper.make_node("Conv", [f"{name}_features", f"{name}1"], [f"{name}_last"]),
            helper.make_node("Split", [f"{name}_last", "parts"], [f"{name}_logits", f"{name}_places"], axis=1),
            helper.make_node("Sigmoid", [f"{name}_logits"], [f"{name}_scores"]),
            helper.make_node("Concat", [f"{name}_scores", f"{name}_places"], [f"{name}_both"], axis=1),
            helper.make_node("Reshape", [f"{name}_both", "flat"], [f"{name}_flat"]),
        ]
        flat.append(f"{name}_flat")
    weights.append(numpy_helper.from_array(np.array([0, 112, -1]), "flat"))
    nodes += [
        helper.make_node("Concat", flat, ["all"], axis=2),
        helper.make_node("Transpose", ["all"], ["output"], perm=[0, 2, 1]),
    ]
    graph = helper.make_graph(
        nodes,
        "teacher",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, ["batch", 3, SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", "cells", 112])],
        weights,
    )
    path = tmp_path_factory.mktemp("teacher") / "teacher.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_teacher_scores_are_those_of_the_teachers_output(teacher: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (2, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    session = onnxruntime.InferenceSession(str(teacher), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"data": normalize_bgr(pictures)})

    features, likely = OnnxTeacherFeatures(teacher)(pictures)

    np.testing.assert_allclose(likely, output[..., :80].max(2), atol=1e-5)
    assert features.shape == (*likely.shape, CHANNELS)


def test_teacher_features_of_any_picture_size(teacher: Path) -> None:
    features, _ = OnnxTeacherFeatures(teacher)(np.zeros((1, 64, 96, 3), np.uint8))

    assert features.shape == (1, 8 * 12 + 4 * 6 + 2 * 3, CHANNELS)


def test_teacher_features_are_equal_in_torch_and_onnx_runtime(teacher: Path) -> None:
    pictures = np.random.default_rng(1).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)

    given = TorchTeacherFeatures(teacher)(torch.from_numpy(pictures).permute(0, 3, 1, 2).float())

    for one, two in zip(given, OnnxTeacherFeatures(teacher)(pictures), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-3, atol=1e-3)


def as_levels(cells: Tensor) -> list[Tensor]:
    """(b, 21, c) as levels of 4x4, 2x2 and one cell."""
    return [
        part.mT.unflatten(2, (side, side)) for part, side in zip(cells.split([16, 4, 1], 1), (4, 2, 1), strict=True)
    ]


def test_imitation_loss_ignores_scale_and_offset() -> None:
    features = torch.randn(3, 21, 5, generator=torch.Generator().manual_seed(0))

    loss = imitation_loss(as_levels(7 * features - 3), features, torch.ones(3, 21))

    assert loss.item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("made", "expected"), [(lambda each: -each, 2.0), (torch.zeros_like, 0.5)])
def test_imitation_loss_is_one_minus_the_correlation(made: Callable[[Tensor], Tensor], expected: float) -> None:
    features = torch.randn(3, 21, 5, generator=torch.Generator().manual_seed(0))

    loss = imitation_loss(as_levels(made(features)), features, torch.ones(3, 21))

    assert loss.item() == pytest.approx(expected, rel=1e-4)


def test_imitation_loss_weights_cells_by_teacher_score() -> None:
    features = torch.randn(1, 21, 5, generator=torch.Generator().manual_seed(0))
    likely = torch.zeros(1, 21)
    likely[0, 3] = 1
    losses = []
    for wrong in (3, 4):
        cells = features.clone()
        cells[0, wrong] = -cells[0, wrong]
        losses.append(imitation_loss(as_levels(cells), features, likely).item())

    assert losses[0] > 3 * losses[1]


@pytest.mark.parametrize("trains_stem", [False, True])
def test_task_with_teacher_learns_its_features(teacher: Path, store: Path, tmp_path: Path, trains_stem: bool) -> None:
    stage = Stage(minutes=1, crop_px=96, batch_size=3, learning_rate=1e-3)
    config = TrainConfig(str(store), str(store), str(tmp_path), network=SMALL, stages=(stage,), teacher=str(teacher))
    task = InteractNetTask(replace(config, trains_stem=trains_stem, loaders=0))
    task.begin_stage(stage, torch.device("cpu"))
    weights = next(task.network.detector.trunk.stem.parameters())
    before = weights.detach().clone()
    batch = next(task.batches(stage, start=0, step=1)).to(torch.device("cpu"))
    optimizer = torch.optim.Adam(task.network.parameters(), 2e-3)
    imitated = []
    for _ in range(12):
        loss = task.losses(task.network, batch, stage)["imitation"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        imitated.append(loss.item())

    assert imitated[-1] < 0.8 * imitated[0]
    assert torch.equal(weights, before) != trains_stem
