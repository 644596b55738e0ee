from pathlib import Path

import numpy as np
import pytest
import torch

from sightline.networks.interactnet import InteractNet
from sightline.training.hoi.annotations import CLASS_INDEX, SLOT_INDEX, SLOTS_OF, Detections
from sightline.training.hoi.datasets import Scene
from sightline.training.hoi.export import export_layout, replace_layout
from sightline.training.hoi.layout_training import (
    ANNOTATED_SCORE,
    BOXES,
    PEOPLE,
    LayoutExamples,
    LayoutRecipe,
    fit_layout,
    layout_examples,
    load_layout,
    mirror,
    save_layout,
    train_layout,
    with_missed_boxes,
)
from sightline.training.hoi.predictions import OnnxInteractNet, top_boxes
from sightline.training.hoi.pseudo_labels import PseudoLabelCache
from tests.training.hoi.conftest import SMALL

NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
RIDE = SLOTS_OF["ride"][0]


def shares(scene: Scene) -> Detections:
    """The annotated boxes as a detector's."""
    truth = scene.truth
    scores = np.full(len(truth), 0.8, np.float32)
    return Detections(truth.boxes_xyxy, truth.labels, scores).scaled(1 / scene.width, 1 / scene.height)


@pytest.fixture(scope="module")
def examples(scenes: list[Scene]) -> LayoutExamples:
    return layout_examples(scenes, [{scene.path.name: shares(scene) for scene in scenes}])


def test_examples_are_padded_with_unknown_labels(examples: LayoutExamples, scenes: list[Scene]) -> None:
    assert len(examples) == len(scenes)
    assert examples.relations.shape[:4] == (len(scenes), 2, PEOPLE, BOXES)
    assert (examples.actions[:, 0] >= 0).any()
    assert (examples.actions[:, 1:] == -1).all()
    assert (examples.pairs[:, 1:] == -1).all()


def test_pair_of_a_rider_and_the_horse_is_positive(examples: LayoutExamples, scenes: list[Scene]) -> None:
    rides = [at for at, scene in enumerate(scenes) if (scene.truth.actions[:, RIDE] == 1).any()]
    horse = CLASS_INDEX["horse"]
    for at in rides:
        on_horse = examples.pairs[at, 0, examples.labels[at] == horse, SLOT_INDEX["ride", "instr"]]
        assert on_horse.tolist() == [1]


def test_boxes_that_a_detector_missed_are_added(scenes: list[Scene]) -> None:
    truth = scenes[0].truth
    assert with_missed_boxes(truth, NOTHING).scores.tolist() == pytest.approx([ANNOTATED_SCORE] * len(truth))
    found = shares(scenes[0]).scaled(scenes[0].width, scenes[0].height)
    assert len(with_missed_boxes(truth, found).scores) == len(truth)


def test_mirrored_boxes_keep_their_size() -> None:
    assert mirror(torch.tensor([[1.0, 2, 5, 9]]), 20).tolist() == [[15.0, 2, 19, 9]]


def test_layout_network_learns_who_rides(examples: LayoutExamples, scenes: list[Scene]) -> None:
    network = fit_layout(examples, torch.ones(len(examples)), LayoutRecipe(steps=60, batch_size=8))

    with torch.inference_mode():
        actions, _ = network(examples.layout(torch.arange(len(scenes)), torch.zeros(len(scenes), dtype=torch.long)))
    rides = torch.tensor([bool((scene.truth.actions[:, RIDE] == 1).any()) for scene in scenes])
    scores = actions[:, 0, RIDE].sigmoid()
    assert scores[rides].min() > scores[~rides].max()


def test_trained_layout_network_is_exported_and_used(
    boxes: PseudoLabelCache, scenes: list[Scene], tmp_path: Path
) -> None:
    network = InteractNet(SMALL).eval()
    recipe = LayoutRecipe(steps=2, batch_size=4)
    trained = train_layout(network, [boxes], scenes, [], recipe)
    save_layout(trained, tmp_path / "layout.pt")

    again = load_layout(tmp_path / "layout.pt")
    export_layout(again, tmp_path / "layout.onnx")

    for name, value in trained.state_dict().items():
        assert torch.equal(again.state_dict()[name], value)
    assert (tmp_path / "layout.onnx").stat().st_size > 10_000
    shipped = Path("services/hoi/weights")
    for name in ("detector.onnx", "interactions.onnx", "detector.toml"):
        (tmp_path / name).write_bytes((shipped / name).read_bytes())
    replace_layout(tmp_path / "layout.pt", tmp_path, version="9.0.0")
    assert 'layout = "layout.onnx"' in (tmp_path / "detector.toml").read_text()
    found = top_boxes(shares(scenes[0]).scaled(96, 72))
    outputs = OnnxInteractNet(tmp_path, 416).compare(found, (96, 72))
    assert outputs is not None
    assert outputs.pair_logits.shape == (len(found.people), len(found.labels), 29)
