import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.training.hoi.annotations import COCO_IDS, PERSON, SLOT_INDEX, boxes_without_actions
from sightline.training.hoi.datasets import Scene, hold_out
from sightline.training.hoi.pseudo_labels import PseudoLabelCache
from sightline.training.hoi.scene_store import SceneStore, Sources, repeat_factors, training_scenes
from tests.training.hoi.conftest import draw


def folder_of(folder: Path, names: Sequence[str], **about: object) -> Path:
    """In COCO's format, each with one person."""
    box = [20, 10, 14, 26]
    for at, name in enumerate(names):
        draw(folder / "images" / name, [("person", [20.0, 10, 34, 36])], 50 + at)
    images = [{"id": at, "file_name": name, "width": 96, "height": 72, **about} for at, name in enumerate(names)]
    rows = [{"image_id": at, "category_id": COCO_IDS[PERSON], "bbox": box} for at in range(len(names))]
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": rows}))
    return folder


def test_training_scenes_leave_out_barred_ids(scenes: list[Scene], boxes: PseudoLabelCache, tmp_path: Path) -> None:
    training, _ = hold_out(scenes, 4)
    coco = folder_of(tmp_path / "coco", ["1.png"], coco_id=9)
    voc = folder_of(tmp_path / "voc", ["2.png", "3.png"])
    stanford = folder_of(tmp_path / "stanford", ["4.png"], action="riding_a_horse", split="train")

    packed = list(training_scenes(training, [], frozenset({100, 9}), Sources(coco, voc, stanford, (), 2), boxes))

    assert len(packed) == 15 + 1 + 1  # one of V-COCO and the one of COCO are barred, one of VOC is kept to validate
    voc_truth, rider = (each.truth for each in packed[-2:])
    assert voc_truth.labels.tolist() == [PERSON]  # VOC drew all horses itself
    assert rider.labels.tolist() == [PERSON, 17]
    assert rider.targets[0, SLOT_INDEX["ride", "instr"]] == 1


def test_photos_are_labelled_by_the_teacher(scenes: list[Scene], boxes: PseudoLabelCache, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "5.png", [("cup", [20.0, 10, 34, 36])], 7)
    sources = Sources(photos=(tmp_path / "photos",))

    (packed,) = training_scenes([], scenes[:1], frozenset(), sources, boxes)

    assert packed.truth.labels.tolist() == [17]
    assert packed.truth.boxes_xyxy.tolist() == [[0, 36, 96, 72]]


def test_scene_store_returns_pictures_with_ground_truth(store: Path, scenes: list[Scene]) -> None:
    kept = SceneStore(store)

    picture, truth = kept[3]

    assert len(kept) == len(scenes)
    assert picture.shape == (72, 96, 3)
    np.testing.assert_allclose(truth.boxes_xyxy, scenes[3].truth.boxes_xyxy, rtol=1e-5)
    np.testing.assert_array_equal(truth.targets, scenes[3].truth.targets)


def test_repeat_factors_of_rare_classes_are_larger() -> None:
    person, both = (
        boxes_without_actions(np.zeros((len(labels), 4), np.float32), np.array(labels))
        for labels in ([PERSON], [PERSON, 17])
    )
    unsure = replace(both, confidence=np.array([1, 0.3], np.float32))

    factors = repeat_factors([person] * 98 + [both, unsure], np.ones(100))

    assert factors[:98].tolist() == [1] * 98
    assert factors[98:].tolist() == [pytest.approx((0.04 / 0.01) ** 0.5), 1]
