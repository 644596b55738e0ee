import numpy as np
import pytest

from sightline.postprocessing.detection import (
    BINS,
    MAX_CANDIDATES,
    STRIDES,
    best_objects,
    decode_nanodet_plus,
    decode_picodet,
    iou,
    suppress,
)

SIZE = (64, 128)
CELLS_OF = [-(-SIZE[0] // stride) * -(-SIZE[1] // stride) for stride in STRIDES]
CELL = 3 * 16 + 5  # row 3, column 5 of stride 8


def one_box(scores: np.ndarray, bins: np.ndarray) -> None:
    """A box of class 1 at `CELL`: 1, 2, 3 and 4 strides to the left, top, right and bottom side."""
    scores[CELL, 1] = 0.9
    bins[CELL].reshape(4, BINS)[range(4), (1, 2, 3, 4)] = 50


def test_iou_is_intersection_over_union() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [20, 20, 30, 30], [10, 0, 20, 10]], np.float32)

    assert iou(boxes, boxes[0]).tolist() == pytest.approx([1, 1 / 3, 0, 0])
    assert iou(np.zeros((1, 4), np.float32), np.zeros(4, np.float32)).tolist() == [0]


def test_suppression_keeps_the_best_box_of_each_class() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [0, 0, 10, 10], [8, 0, 18, 10]], np.float32)

    assert suppress(boxes, np.array([0, 0, 1, 0]), 0.5).tolist() == [0, 2, 3]
    assert suppress(boxes[:0], np.array([], np.int64), 0.5).tolist() == []


def test_picodet_measures_distances_from_cell_centres_in_strides() -> None:
    scores, bins = np.zeros((sum(CELLS_OF), 2), np.float32), np.zeros((sum(CELLS_OF), 4 * BINS), np.float32)
    one_box(scores, bins)
    levels = np.cumsum(CELLS_OF)[:-1]

    found = decode_picodet([*np.split(scores, levels), *np.split(bins, levels)], 2, SIZE, 0.05)

    x, y = 5.5 * 8, 3.5 * 8
    assert (found.labels.tolist(), found.scores.tolist()) == ([1], pytest.approx([0.9]))
    assert found.boxes_xyxy[0].tolist() == pytest.approx([x - 8, y - 16, x + 24, y + 32])


def test_nanodet_plus_measures_distances_from_cell_corners_in_strides() -> None:
    output = np.zeros((sum(CELLS_OF), 2 + 4 * BINS), np.float32)
    one_box(output[:, :2], output[:, 2:])

    found = decode_nanodet_plus(output, 2, SIZE, 0.05)

    x, y = 5 * 8, 3 * 8
    assert (found.labels.tolist(), found.scores.tolist()) == ([1], pytest.approx([0.9]))
    assert found.boxes_xyxy[0].tolist() == pytest.approx([x - 8, y - 16, x + 24, y + 32])


def test_picture_without_objects_has_no_boxes() -> None:
    assert len(decode_nanodet_plus(np.zeros((sum(CELLS_OF), 2 + 4 * BINS), np.float32), 2, SIZE, 0.05)) == 0


def test_cells_of_another_input_size_are_an_error() -> None:
    with pytest.raises(ValueError, match="cells"):
        decode_nanodet_plus(np.zeros((100, 34), np.float32), 2, SIZE, 0.05)


def test_best_objects_are_sorted_and_limited() -> None:
    scores = np.linspace(0, 1, MAX_CANDIDATES + 50, dtype=np.float32)
    boxes = scores[:, None].repeat(4, 1)

    best = best_objects(boxes, scores, np.arange(len(scores)), 0.5)

    assert best.scores[0] == 1
    assert (np.diff(best.scores) < 0).all()
    assert best.scores.min() >= 0.5
    assert np.array_equal(best.boxes_xyxy[:, 0], best.scores)
    assert len(best_objects(boxes, scores, np.arange(len(scores)), 0.0)) == MAX_CANDIDATES
