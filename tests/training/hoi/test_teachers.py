import numpy as np
import pytest
from numpy.typing import NDArray

from sightline.training.hoi.annotations import Detections
from sightline.training.hoi.teachers import BINS, SIDE_PX, FusedDetector, decode_nanodet, decode_picodet, fuse, suppress
from sightline.training.photos import Picture

CELLS = 52**2 + 26**2 + 13**2 + 7**2
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


def test_suppression_keeps_the_best_box_of_each_class() -> None:
    cups, bowl = ((0, 0, 10, 10, 41, 0.5), (1, 0, 11, 10, 41, 0.9)), (0, 0, 10, 10, 45, 0.4)

    kept = suppress(detections(*cups, bowl), 0.6, max_boxes=5)

    assert kept.scores.tolist() == pytest.approx([0.9, 0.4])


def test_picodet_measures_distances_from_cell_centres_in_strides() -> None:
    scores, bins = np.zeros((CELLS, 80), np.float32), np.full((CELLS, 4 * BINS), -50, np.float32)
    cell = 52 * 10 + 20  # row 10, column 20 of stride 8
    scores[cell, 7] = 0.9
    bins[cell].reshape(4, BINS)[range(4), (1, 2, 3, 4)] = 50

    found = decode_picodet(scores, bins, 0.05)

    x, y = 20.5 * 8, 10.5 * 8
    assert found.labels.tolist() == [7]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.boxes_xyxy[0].tolist() == pytest.approx([x - 8, y - 16, x + 24, y + 32])


def test_picodet_clips_boxes_to_the_picture() -> None:
    scores, bins = np.zeros((CELLS, 80), np.float32), np.zeros((CELLS, 4 * BINS), np.float32)
    scores[-1, 0] = 0.5  # the last cell of stride 64: 3.5 strides to each side reach beyond the edge

    (box,) = decode_picodet(scores, bins, 0.05).boxes_xyxy

    assert box[2:].tolist() == [SIDE_PX, SIDE_PX]


def test_nanodet_measures_distances_in_strides() -> None:
    output = np.zeros((3598, 112), np.float32)
    cell = 52 * 10 + 20  # the first level's row 10 and column 20, of stride 8
    output[cell, 17] = 0.8
    output[cell, 80 + np.arange(4) * 8 + [1, 2, 3, 4]] = 50  # left 1, top 2, right 3, bottom 4 strides

    found = decode_nanodet(output, 0.05)

    assert (found.labels.tolist(), found.scores.tolist()) == ([17], [pytest.approx(0.8)])
    np.testing.assert_allclose(found.boxes_xyxy, [[160 - 8, 80 - 16, 160 + 24, 80 + 32]], atol=1e-3)
    assert SIDE_PX == 416
