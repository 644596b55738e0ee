"""What a teacher's boxes and Stanford 40's actions add to what is known of a picture."""

import numpy as np
import pytest

from sightline.training.hoi.detections import Detections, suppress
from sightline.training.hoi.distillation import VOC_CLASSES, taught
from sightline.training.hoi.stanford40 import NEVER, OBJECTS, VERBS, with_action
from sightline.training.hoi.truth import Truth, boxes_only
from sightline.training.hoi.verbs import ALLOWED, CLASS_INDEX, COCO_CLASSES, ROLES, SLOT_INDEX, SLOTS, SLOTS_OF


def known(*things: tuple[str, list[float], float]) -> Truth:
    names, boxes, sure = zip(*things, strict=True)
    labels = np.array([CLASS_INDEX[name] for name in names])
    return boxes_only(np.array(boxes, np.float32), labels, np.array(sure, np.float32))


def seen(*things: tuple[str, list[float], float]) -> Detections:
    truth = known(*things)
    return Detections(truth.boxes_xyxy, truth.labels, truth.confidence)


PERSON = ("person", [0.0, 0, 10, 20], 1.0)
HORSE = ("horse", [0.0, 20, 12, 28], 0.9)


def test_the_teacher_adds_what_no_one_drew() -> None:
    found = seen(("person", [0.0, 0, 10, 19], 0.9), ("cup", [30.0, 0, 40, 10], 0.3), ("cup", [60.0, 0, 70, 10], 0.1))

    truth = taught(known(PERSON), found)

    assert [COCO_CLASSES[label] for label in truth.labels] == ["person", "cup"]
    assert truth.confidence.tolist() == pytest.approx([1, 0.5])


def test_classes_that_were_all_drawn_are_not_taught() -> None:
    found = seen(("horse", [30.0, 0, 40, 10], 0.9), ("cup", [60.0, 0, 70, 10], 0.9))

    truth = taught(known(PERSON), found, VOC_CLASSES)

    assert [COCO_CLASSES[label] for label in truth.labels] == ["person", "cup"]


def test_a_riders_horse_is_the_one_near() -> None:
    far = ("horse", [300.0, 20, 312, 28], 1.0)

    truth = with_action(known(PERSON, far, HORSE), "riding_a_horse")

    ride, sit = SLOT_INDEX["ride", "instr"], SLOT_INDEX["sit", "instr"]
    assert truth.actions[0, [ride, sit]].tolist() == [1, 1]
    assert truth.targets[0, [ride, sit]].tolist() == [2, 2]


def test_what_an_action_leaves_open_stays_unknown() -> None:
    truth = with_action(known(PERSON, HORSE), "riding_a_horse")

    assert truth.actions[0, SLOT_INDEX["smile", None]] == -1
    assert truth.actions[0, SLOT_INDEX["surf", "instr"]] == 0
    assert set(truth.actions[1].tolist()) == {-1}


def test_no_object_is_taken_that_does_not_fit_the_verb() -> None:
    truth = with_action(known(PERSON, HORSE), "phoning")

    assert truth.actions[0, SLOT_INDEX["talk_on_phone", "instr"]] == 1
    assert set(truth.targets.ravel().tolist()) == {-1}


def test_the_map_names_actions_verbs_and_classes_that_there_are() -> None:
    assert len(VERBS) == 40
    assert {verb for verbs in VERBS.values() for verb in verbs} | set(NEVER) <= set(ROLES)
    assert not {verb for verbs in VERBS.values() for verb in verbs} & set(NEVER)
    assert all(verb in VERBS[action] for action, verb in OBJECTS)
    assert {name for names in [*OBJECTS.values(), *ALLOWED.values()] for name in names} <= set(COCO_CLASSES)
    assert (len(SLOTS), len(COCO_CLASSES)) == (29, 80)
    assert [len(SLOTS_OF[action]) for action in ("cut", "eat", "hit", "walk")] == [2, 2, 2, 1]


def test_suppression_keeps_the_surest_of_each_class() -> None:
    found = seen(("cup", [0.0, 0, 10, 10], 0.5), ("cup", [1.0, 0, 11, 10], 0.9), ("bowl", [0.0, 0, 10, 10], 0.4))

    kept = suppress(found, 0.6, at_most=5)

    assert kept.scores.tolist() == pytest.approx([0.9, 0.4])
