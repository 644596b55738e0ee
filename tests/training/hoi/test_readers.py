"""The data sets' own formats."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from sightline.training.hoi.coco import Scene, read_coco
from sightline.training.hoi.hico_det import rare_classes, read_hico_det
from sightline.training.hoi.vcoco import read_scenes
from sightline.training.hoi.verbs import ACTIONS, CLASS_INDEX, PERSON, ROLES, SLOT_INDEX, SLOTS, SLOTS_OF

RIDE = SLOT_INDEX["ride", "instr"]


def coco_document() -> dict[str, Any]:
    """One picture with two people, a horse and a crowd."""
    boxes = [(11, 1, [0, 0, 10, 20]), (12, 1, [30, 0, 10, 20]), (13, 19, [0, 20, 12, 8]), (14, 1, [50, 0, 40, 40])]
    annotations = [
        {"id": number, "image_id": 7, "category_id": category, "bbox": box, "iscrowd": int(number == 14)}
        for number, category, box in boxes
    ]
    image = {"id": 7, "file_name": "COCO_train2014_000000000007.jpg", "width": 100, "height": 50}
    return {"images": [image, image | {"id": 8, "file_name": "other.jpg"}], "annotations": annotations}


def vcoco_document() -> list[dict[str, Any]]:
    """In the official form: 11 rides 13 and holds something not annotated, 12 does nothing, 14 is not in it."""
    verbs = []
    for action in ACTIONS:
        names = ["agent", *ROLES[action]]
        role = 13 if action == "ride" else 0
        rows = [[11, 12], *([[role, 0]] * len(ROLES[action]))]
        label = [int(action in ("ride", "hold")), 0]
        said = {"image_id": [7, 7], "ann_id": [11, 12], "label": label, "role_object_id": np.ravel(rows).tolist()}
        verbs.append({"action_name": action, "role_name": names, **said})
    return verbs


def test_coco_boxes_are_corners_and_crowds_count_nothing(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps(coco_document()))

    scene, empty = read_coco(tmp_path / "annotations.json", tmp_path)

    assert scene.truth.boxes_xyxy[2].tolist() == [0, 20, 12, 28]
    assert scene.truth.labels.tolist() == [PERSON, PERSON, CLASS_INDEX["horse"], PERSON]
    assert scene.truth.confidence.tolist() == [1, 1, 1, 0]
    assert (len(empty.truth), empty.path) == (0, tmp_path / "other.jpg")


def test_official_vcoco(tmp_path: Path) -> None:
    for name, document in (("vcoco_val", vcoco_document()), ("instances", coco_document())):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))

    (scene,) = read_scenes([tmp_path / "vcoco_val.json"], tmp_path / "instances.json", tmp_path)

    actions, targets = scene.truth.actions, scene.truth.targets
    assert (scene.split, scene.coco_id) == ("val", 7)
    assert {SLOTS[at] for at in np.flatnonzero(actions[0] == 1)} == {("ride", "instr"), ("hold", "obj")}
    assert (targets[0, RIDE], targets[0, SLOT_INDEX["hold", "obj"]]) == (2, -1)
    assert set(actions[1].tolist()) == {0}
    assert set(actions[2:].ravel().tolist()) == {-1}


def test_an_extract_knows_people_by_their_actions_alone(scenes: list[Scene]) -> None:
    rider, walker = scenes[0].truth, scenes[1].truth

    assert (rider.actions[0, RIDE], rider.targets[0, RIDE]) == (1, 2)
    assert walker.actions[0, list(SLOTS_OF["stand"])].tolist() == [1]
    assert set(rider.actions[1:].ravel().tolist()) == {-1}
    assert [scene.split for scene in scenes].count("val") == 4


def matlab_box(x1: int, x2: int, y1: int, y2: int) -> dict[str, int]:
    return {"x1": x1, "x2": x2, "y1": y1, "y2": y2}


@pytest.fixture
def hico(tmp_path: Path) -> Path:
    """Two classes, ride a horse and feed a horse; a picture with one person who does both, and one without a pair."""
    actions = [{"nname": "horse", "vname": verb} for verb in ("ride", "feed")]
    both = [
        {
            "id": number,
            "bboxhuman": matlab_box(1, 10, 1, 20),
            "bboxobject": matlab_box(1, 12, 21, 28),
            "connection": np.array([[1, 1]]),
            "invis": 0,
        }
        for number in (1, 2)
    ]
    hidden = both[0] | {"invis": 1, "connection": np.zeros((0, 2))}
    size = {"width": 100, "height": 50, "depth": 3}
    rows = [{"filename": "a.jpg", "size": size, "hoi": both}, {"filename": "b.jpg", "size": size, "hoi": [hidden]}]
    path = tmp_path / "anno_bbox.mat"
    scipy.io.savemat(str(path), {"list_action": actions, "bbox_train": rows, "bbox_test": rows[:1]})
    return path


def test_official_hico_det(hico: Path, tmp_path: Path) -> None:
    data = read_hico_det(hico, tmp_path, "train")

    horse = CLASS_INDEX["horse"]
    assert (data.verbs, data.hois) == (("ride", "feed"), ((0, horse), (1, horse)))
    first, second = data.scenes
    assert (first.path, first.width, first.height) == (tmp_path / "a.jpg", 100, 50)
    assert first.truth.boxes_xyxy.tolist() == [[0, 0, 10, 20], [0, 20, 12, 28]]
    assert (first.truth.actions[0].tolist(), first.truth.targets[0].tolist()) == ([1, 1], [1, 1])
    assert data.pairs[0].classes.tolist() == [0, 1]
    assert len(second.truth) == len(data.pairs[1].classes) == 0


def test_rare_classes_have_fewer_than_ten_instances(hico: Path, tmp_path: Path) -> None:
    data = read_hico_det(hico, tmp_path, "train")

    assert rare_classes(data.pairs * 10, 3).tolist() == [False, False, True]
    assert rare_classes(data.pairs * 9, 3).tolist() == [True, True, True]
