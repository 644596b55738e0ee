import math
from dataclasses import replace

import numpy as np
import pytest

from sightline.training.hoi.annotations import CLASS_INDEX, Detections, GroundTruth, boxes_without_actions
from sightline.training.hoi.average_precision import box_scores
from sightline.training.hoi.train import mean_ap_50

PERSON, HORSE = 0, CLASS_INDEX["horse"]
BOXES = np.array([[0, 0, 40, 80], [60, 0, 100, 80], [0, 90, 60, 140]], np.float32)


@pytest.fixture
def truth() -> GroundTruth:
    return boxes_without_actions(BOXES, np.array([PERSON, PERSON, HORSE]))


def found(boxes: list[int], labels: list[int], scores: list[float], shift: float = 0.0) -> Detections:
    moved = BOXES[boxes] + np.array([shift, 0, shift, 0], np.float32)
    return Detections(moved, np.array(labels), np.array(scores, np.float32))


def test_box_scores_of_perfect_detections_are_one(truth: GroundTruth) -> None:
    scores = box_scores([found([0, 1, 2], [PERSON, PERSON, HORSE], [0.9, 0.8, 0.7])], [truth])

    assert (scores.person_ap_50, scores.mean_ap_50, scores.mean_ap) == pytest.approx((1, 1, 1))


def test_box_scores_count_missed_people(truth: GroundTruth) -> None:
    given = [found([0], [PERSON], [0.9])]

    scores = box_scores(given, [truth])

    # COCO reads the precision at 101 recalls, of which 51 are reached.
    assert scores.person_ap_50 == pytest.approx(51 / 101)
    assert scores.mean_ap_50 == pytest.approx(51 / 101 / 2)
    assert mean_ap_50(given, [truth]) == pytest.approx(0.25)


def test_shifted_boxes_count_up_to_their_iou(truth: GroundTruth) -> None:
    scores = box_scores([found([0, 1], [PERSON, PERSON], [0.9, 0.8], shift=8)], [truth])

    # 32 of 48 px overlap: right at the IoU of 0.5 to 0.65, which are four of ten.
    assert scores.person_ap_50 == pytest.approx(1)
    assert scores.mean_ap == pytest.approx(0.4 / 2)


def test_detections_on_ignored_boxes_are_not_counted(truth: GroundTruth) -> None:
    ignored = replace(truth, confidence=np.array([1, 0, 1], np.float32))
    given = [found([1, 0], [PERSON, PERSON], [0.9, 0.8])]

    assert box_scores(given, [ignored]).person_ap_50 == pytest.approx(1)
    assert mean_ap_50(given, [ignored]) == pytest.approx(0.5)


def test_box_scores_without_detections_are_zero(truth: GroundTruth) -> None:
    nothing = [found([], [], [])]

    assert box_scores(nothing, [truth]).mean_ap == 0
    assert math.isnan(box_scores(nothing, [replace(truth, confidence=np.zeros(3, np.float32))]).person_ap_50)
