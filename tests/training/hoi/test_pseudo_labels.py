"""What a teacher's boxes and Stanford 40's actions add to what is known of a picture."""

import numpy as np
import pytest

from sightline.training.hoi.annotations import (
    ALLOWED_CLASSES,
    CLASS_INDEX,
    COCO_CLASSES,
    ROLES,
    SLOT_INDEX,
    SLOTS,
    SLOTS_OF,
    Detections,
    GroundTruth,
    boxes_without_actions,
)
from sightline.training.hoi.datasets import Scene
from sightline.training.hoi.pseudo_labels import (
    ABSENT_VERBS,
    STANFORD40_OBJECTS,
    STANFORD40_VERBS,
    VOC_CLASSES,
    PseudoLabelCache,
    add_pseudo_labels,
    add_stanford40_action,
)
from tests.training.hoi.conftest import Horses


def known(*things: tuple[str, list[float], float]) -> GroundTruth:
    names, boxes, sure = zip(*things, strict=True)
    labels = np.array([CLASS_INDEX[name] for name in names])
    return boxes_without_actions(np.array(boxes, np.float32), labels, np.array(sure, np.float32))


def seen(*things: tuple[str, list[float], float]) -> Detections:
    truth = known(*things)
    return Detections(truth.boxes_xyxy, truth.labels, truth.confidence)


PERSON = ("person", [0.0, 0, 10, 20], 1.0)
HORSE = ("horse", [0.0, 20, 12, 28], 0.9)


def test_pseudo_labels_add_boxes_that_were_not_annotated() -> None:
    found = seen(("person", [0.0, 0, 10, 19], 0.9), ("cup", [30.0, 0, 40, 10], 0.3), ("cup", [60.0, 0, 70, 10], 0.1))

    truth = add_pseudo_labels(known(PERSON), found)

    assert [COCO_CLASSES[label] for label in truth.labels] == ["person", "cup"]
    assert truth.confidence.tolist() == pytest.approx([1, 0.5])


def test_pseudo_labels_leave_out_completely_annotated_classes() -> None:
    found = seen(("horse", [30.0, 0, 40, 10], 0.9), ("cup", [60.0, 0, 70, 10], 0.9))

    truth = add_pseudo_labels(known(PERSON), found, VOC_CLASSES)

    assert [COCO_CLASSES[label] for label in truth.labels] == ["person", "cup"]


def test_stanford40_target_is_the_near_object() -> None:
    far = ("horse", [300.0, 20, 312, 28], 1.0)

    truth = add_stanford40_action(known(PERSON, far, HORSE), "riding_a_horse")

    ride, sit = SLOT_INDEX["ride", "instr"], SLOT_INDEX["sit", "instr"]
    assert truth.actions[0, [ride, sit]].tolist() == [1, 1]
    assert truth.targets[0, [ride, sit]].tolist() == [2, 2]


def test_stanford40_leaves_open_verbs_unknown() -> None:
    truth = add_stanford40_action(known(PERSON, HORSE), "riding_a_horse")

    assert truth.actions[0, SLOT_INDEX["smile", None]] == -1
    assert truth.actions[0, SLOT_INDEX["surf", "instr"]] == 0
    assert set(truth.actions[1].tolist()) == {-1}


def test_stanford40_target_must_be_of_an_allowed_class() -> None:
    truth = add_stanford40_action(known(PERSON, HORSE), "phoning")

    assert truth.actions[0, SLOT_INDEX["talk_on_phone", "instr"]] == 1
    assert set(truth.targets.ravel().tolist()) == {-1}


def test_stanford40_tables_name_known_verbs_and_classes() -> None:
    assert len(STANFORD40_VERBS) == 40
    assert {verb for verbs in STANFORD40_VERBS.values() for verb in verbs} | set(ABSENT_VERBS) <= set(ROLES)
    assert not {verb for verbs in STANFORD40_VERBS.values() for verb in verbs} & set(ABSENT_VERBS)
    assert all(verb in STANFORD40_VERBS[action] for action, verb in STANFORD40_OBJECTS)
    assert {name for names in [*STANFORD40_OBJECTS.values(), *ALLOWED_CLASSES.values()] for name in names} <= set(
        COCO_CLASSES
    )
    assert (len(SLOTS), len(COCO_CLASSES)) == (29, 80)
    assert [len(SLOTS_OF[action]) for action in ("cut", "eat", "hit", "walk")] == [2, 2, 2, 1]


def test_pseudo_label_cache_runs_the_teacher_once(boxes: PseudoLabelCache, scenes: list[Scene]) -> None:
    paths = [scene.path for scene in scenes[:3]]

    first, second = boxes.detections("some", paths), boxes.detections("some", paths)

    assert isinstance(boxes.teacher, Horses)
    assert boxes.teacher.shown == 3
    assert first.keys() == second.keys() == {path.name for path in paths}
    assert first[paths[0].name].boxes_xyxy.tolist() == [[0, 0.5, 1, 1]]
