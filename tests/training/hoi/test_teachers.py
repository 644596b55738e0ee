import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.training.hoi.annotations import Detections
from sightline.training.hoi.teachers import FusedDetector, fuse
from sightline.training.photos import Picture

Row = tuple[float, float, float, float, int, float]


def detections(*rows: Row) -> Detections:
    """Rows of x1, y1, x2, y2, label and score."""
    values: NDArray[np.float64] = np.array(rows, float).reshape(-1, 6)
    return Detections(values[:, :4].astype(np.float32), values[:, 4].astype(np.int64), values[:, 5].astype(np.float32))


def test_fusion_averages_overlapping_boxes_by_score() -> None:
    fused = fuse([detections((0, 0, 10, 10, 1, 0.9)), detections((2, 0, 12, 10, 1, 0.3))])

    assert len(fused) == 1
    assert fused.boxes_xyxy[0].tolist() == pytest.approx([0.5, 0, 10.5, 10])
    assert fused.scores[0] == pytest.approx(0.6)


def test_fusion_lowers_the_score_of_boxes_that_a_source_missed() -> None:
    fused = fuse([detections((0, 0, 10, 10, 1, 0.8)), detections()])

    assert fused.scores.tolist() == pytest.approx([0.4])


def test_fusion_keeps_classes_and_distant_boxes_apart_by_falling_score() -> None:
    fused = fuse([detections((0, 0, 10, 10, 1, 0.2), (0, 0, 10, 10, 2, 0.6), (50, 50, 60, 60, 1, 0.4))])

    assert fused.labels.tolist() == [2, 1, 1]
    assert fused.scores.tolist() == pytest.approx([0.6, 0.4, 0.2])


def test_fusion_of_no_detections_is_empty() -> None:
    assert len(fuse([detections(), detections()])) == 0


class LeftEdgeDetector:
    """Finds one box at the left edge of whatever it gets."""

    def detect(self, picture: Picture) -> Detections:
        return detections((0, 0, 4, picture.shape[0], 3, 0.5))


def test_fused_detector_mirrors_boxes_of_the_mirror_image_back() -> None:
    fused = FusedDetector([LeftEdgeDetector()]).detect(np.zeros((6, 20, 3), np.uint8))

    assert sorted(fused.boxes_xyxy[:, 0].tolist()) == [0, 16]
    assert fused.scores.tolist() == pytest.approx([0.25, 0.25])
