from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from sightline.imaging.orientation import boxes_to_stored, swaps_sides, to_displayed, to_stored


def _turned_by_pillow(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    image = Image.fromarray(pixels)
    image.getexif()[274] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_displayed_frame_equals_pillows(photo: NDArray[np.uint8], orientation: int) -> None:
    displayed = to_displayed(photo, orientation)
    assert np.array_equal(displayed, _turned_by_pillow(photo, orientation))
    assert (displayed.shape[:2] != photo.shape[:2]) == swaps_sides(orientation)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 2), (3, 5, 3), (3, 5, 4), (1, 4, 1), (1, 1, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_to_stored_inverts_to_displayed(orientation: int, shape: tuple[int, ...], dtype: Any) -> None:
    samples = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    back = to_stored(to_displayed(samples, orientation), orientation)
    assert back.dtype == dtype
    assert back.flags.c_contiguous
    assert np.array_equal(back, samples)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_follow_their_pixels(orientation: int) -> None:
    displayed = np.zeros((7, 10, 1), np.uint8)
    left, top, right, bottom = 2, 1, 9, 3
    displayed[top:bottom, left:right] = 1
    rows, columns, _ = np.nonzero(to_stored(displayed, orientation))
    box = boxes_to_stored(np.array([[left, top, right, bottom]], np.float32), orientation, 10, 7)
    assert box.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
