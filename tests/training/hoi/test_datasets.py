"""The data sets' own formats."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sightline.training.hoi.annotations import ACTIONS, CLASS_INDEX, PERSON, ROLES, SLOT_INDEX, SLOTS, SLOTS_OF
from sightline.training.hoi.datasets import Scene, distinct_from, find_near_duplicates, hold_out, read_coco, read_scenes
from sightline.training.photos import read_rgb

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


def test_coco_boxes_are_corners_and_crowds_have_no_confidence(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text(json.dumps(coco_document()))

    scene, empty = read_coco(tmp_path / "annotations.json", tmp_path)

    assert scene.truth.boxes_xyxy[2].tolist() == [0, 20, 12, 28]
    assert scene.truth.labels.tolist() == [PERSON, PERSON, CLASS_INDEX["horse"], PERSON]
    assert scene.truth.confidence.tolist() == [1, 1, 1, 0]
    assert (len(empty.truth), empty.path) == (0, tmp_path / "other.jpg")


def test_official_vcoco_is_read_with_actions_and_targets(tmp_path: Path) -> None:
    for name, document in (("vcoco_val", vcoco_document()), ("instances", coco_document())):
        (tmp_path / f"{name}.json").write_text(json.dumps(document))

    (scene,) = read_scenes([tmp_path / "vcoco_val.json"], tmp_path / "instances.json", tmp_path)

    actions, targets = scene.truth.actions, scene.truth.targets
    assert (scene.split, scene.coco_id) == ("val", 7)
    assert {SLOTS[at] for at in np.flatnonzero(actions[0] == 1)} == {("ride", "instr"), ("hold", "obj")}
    assert (targets[0, RIDE], targets[0, SLOT_INDEX["hold", "obj"]]) == (2, -1)
    assert set(actions[1].tolist()) == {0}
    assert set(actions[2:].ravel().tolist()) == {-1}


def test_extract_labels_actions_of_annotated_people_alone(scenes: list[Scene]) -> None:
    rider, walker = scenes[0].truth, scenes[1].truth

    assert (rider.actions[0, RIDE], rider.targets[0, RIDE]) == (1, 2)
    assert walker.actions[0, list(SLOTS_OF["stand"])].tolist() == [1]
    assert set(rider.actions[1:].ravel().tolist()) == {-1}
    assert [scene.split for scene in scenes].count("val") == 4


def test_hold_out_takes_the_first_pictures_of_val(scenes: list[Scene]) -> None:
    training, held_out = hold_out(scenes, 3)

    assert [each.coco_id for each in held_out] == [116, 117, 118]
    assert len(training) == len(scenes) - 3


def test_resized_held_out_picture_is_not_distinct(scenes: list[Scene]) -> None:
    is_distinct = distinct_from(scenes[:1])
    picture = read_rgb(scenes[0].path)

    assert not is_distinct(np.ascontiguousarray(picture[::2, ::2]))
    assert is_distinct(np.ascontiguousarray(picture[::-1, ::-1]))


def test_near_duplicates_of_training_pictures_are_found_also_mirrored(scenes: list[Scene], tmp_path: Path) -> None:
    copied, mirrored, unknown = (read_rgb(scenes[at].path) for at in (0, 1, 2))
    cv2.imwrite(str(tmp_path / "copy.png"), cv2.resize(copied, None, fx=2, fy=2)[..., ::-1])
    cv2.imwrite(str(tmp_path / "mirrored.png"), mirrored[:, ::-1, ::-1])
    cv2.imwrite(str(tmp_path / "other.png"), unknown[::-1, ::-1, ::-1])

    found = find_near_duplicates(scenes[:3], [tmp_path])

    assert {(each.held_out, each.trained_on.name) for each in found} == {
        (scenes[0].path, "copy.png"),
        (scenes[1].path, "mirrored.png"),
    }


def test_folder_without_pictures_cannot_be_searched(scenes: list[Scene], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there are no pictures"):
        find_near_duplicates(scenes, [tmp_path])
