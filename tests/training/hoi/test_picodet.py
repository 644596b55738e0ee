import numpy as np
import pytest

from sightline.training.hoi.picodet import BINS, SIDE_PX, decoded

CELLS = 52**2 + 26**2 + 13**2 + 7**2


def test_boxes_are_measured_from_the_centre_of_their_cell_in_strides() -> None:
    scores, bins = np.zeros((CELLS, 80), np.float32), np.full((CELLS, 4 * BINS), -50, np.float32)
    cell = 52 * 10 + 20  # row 10, column 20 of stride 8
    scores[cell, 7] = 0.9
    bins[cell].reshape(4, BINS)[range(4), (1, 2, 3, 4)] = 50

    found = decoded(scores, bins, 0.05)

    x, y = 20.5 * 8, 10.5 * 8
    assert found.labels.tolist() == [7]
    assert found.scores.tolist() == pytest.approx([0.9])
    assert found.boxes_xyxy[0].tolist() == pytest.approx([x - 8, y - 16, x + 24, y + 32])


def test_boxes_stay_inside_of_the_picture() -> None:
    scores, bins = np.zeros((CELLS, 80), np.float32), np.zeros((CELLS, 4 * BINS), np.float32)
    scores[-1, 0] = 0.5  # the last cell of stride 64: 3.5 strides to each side reach beyond the edge

    (box,) = decoded(scores, bins, 0.05).boxes_xyxy

    assert box[2:].tolist() == [SIDE_PX, SIDE_PX]
