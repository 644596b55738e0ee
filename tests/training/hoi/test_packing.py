import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sightline.training.hoi.coco import Scene
from sightline.training.hoi.packing import Sources, TeacherBoxes, training_scenes
from sightline.training.hoi.splits import hold_out, unlike
from sightline.training.hoi.store import SceneStore, fitted, repeat_factors
from sightline.training.hoi.teacher import SIDE_PX, decoded
from sightline.training.hoi.truth import boxes_only
from sightline.training.hoi.verbs import COCO_IDS, PERSON, SLOT_INDEX
from sightline.training.photos import read_rgb
from tests.training.hoi.conftest import Horses, draw


def folder_of(folder: Path, names: Sequence[str], **about: object) -> Path:
    """In COCO's format, each with one person."""
    box = [20, 10, 14, 26]
    for at, name in enumerate(names):
        draw(folder / "images" / name, [("person", [20.0, 10, 34, 36])], 50 + at)
    images = [{"id": at, "file_name": name, "width": 96, "height": 72, **about} for at, name in enumerate(names)]
    rows = [{"image_id": at, "category_id": COCO_IDS[PERSON], "bbox": box} for at in range(len(names))]
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": rows}))
    return folder


def test_all_sources_but_what_is_barred(scenes: list[Scene], boxes: TeacherBoxes, tmp_path: Path) -> None:
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


def test_photos_are_what_the_teacher_sees(scenes: list[Scene], boxes: TeacherBoxes, tmp_path: Path) -> None:
    draw(tmp_path / "photos" / "5.png", [("cup", [20.0, 10, 34, 36])], 7)
    sources = Sources(photos=(tmp_path / "photos",))

    (packed,) = training_scenes([], scenes[:1], frozenset(), sources, boxes)

    assert packed.truth.labels.tolist() == [17]
    assert packed.truth.boxes_xyxy.tolist() == [[0, 36, 96, 72]]


def test_the_teacher_is_asked_once(boxes: TeacherBoxes, scenes: list[Scene]) -> None:
    paths = [scene.path for scene in scenes[:3]]

    first, second = boxes.of("some", paths), boxes.of("some", paths)

    assert isinstance(boxes.teacher, Horses)
    assert boxes.teacher.shown == 3
    assert first.keys() == second.keys() == {path.name for path in paths}
    assert first[paths[0].name].boxes_xyxy.tolist() == [[0, 0.5, 1, 1]]


def test_a_held_out_picture_is_known_again_in_another_size(scenes: list[Scene]) -> None:
    is_unlike = unlike(scenes[:1])
    picture = read_rgb(scenes[0].path)

    assert not is_unlike(np.ascontiguousarray(picture[::2, ::2]))
    assert is_unlike(np.ascontiguousarray(picture[::-1, ::-1]))


def test_a_store_gives_pictures_with_their_truths(store: Path, scenes: list[Scene]) -> None:
    kept = SceneStore(store)

    picture, truth = kept[3]

    assert len(kept) == len(scenes)
    assert picture.shape == (72, 96, 3)
    np.testing.assert_allclose(truth.boxes_xyxy, scenes[3].truth.boxes_xyxy, rtol=1e-5)
    np.testing.assert_array_equal(truth.targets, scenes[3].truth.targets)


def test_pictures_of_rare_classes_are_drawn_more_often() -> None:
    person, both = (
        boxes_only(np.zeros((len(labels), 4), np.float32), np.array(labels)) for labels in ([PERSON], [PERSON, 17])
    )
    unsure = replace(both, confidence=np.array([1, 0.3], np.float32))

    factors = repeat_factors([person] * 98 + [both, unsure], np.ones(100))

    assert factors[:98].tolist() == [1] * 98
    assert factors[98:].tolist() == [pytest.approx((0.04 / 0.01) ** 0.5), 1]


def test_pictures_are_fitted_by_their_longest_side() -> None:
    assert fitted((640, 480), 320) == (320, 240)
    assert fitted((100, 400), 320) == (80, 320)


def test_the_teachers_distances_are_in_strides() -> None:
    output = np.zeros((3598, 112), np.float32)
    cell = 52 * 10 + 20  # the first level's row 10 and column 20, of stride 8
    output[cell, 17] = 0.8
    output[cell, 80 + np.arange(4) * 8 + [1, 2, 3, 4]] = 50  # left 1, top 2, right 3, bottom 4 strides

    found = decoded(output, 0.05)

    assert (found.labels.tolist(), found.scores.tolist()) == ([17], [pytest.approx(0.8)])
    np.testing.assert_allclose(found.boxes_xyxy, [[160 - 8, 80 - 16, 160 + 24, 80 + 32]], atol=1e-3)
    assert SIDE_PX == 416
