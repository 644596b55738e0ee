import numpy as np
import pytest

from services.hdr_correct.synthesis import BAND_ROWS, SYNTHESISED, synthesised_map
from sightline.imaging.formats import ImageFormat
from sightline.imaging.picture import Picture, Samples


def picture_of(pixels: Samples) -> Picture:
    return Picture(
        pixels=pixels,
        alpha=None,
        format=ImageFormat.PNG,
        bit_depth=8 * pixels.itemsize,
        orientation=1,
        icc_profile=None,
        grey=False,
        notes=(),
        sha256="",
    )


@pytest.mark.parametrize(("dtype", "step"), [(np.uint8, 1), (np.uint16, 257)])
def test_clipped_and_crushed_pixels_that_changed_are_synthesised(dtype: type, step: int) -> None:
    row = [[255, 255, 255], [10, 253, 0], [10, 252, 0], [2, 2, 2], [0, 3, 0], [0, 0, 0], [255, 255, 255]]
    before: Samples = (np.array([row]) * step).astype(dtype)
    after = before - np.asarray(before > 100, dtype) + np.asarray(before < 10, dtype)
    after[0, -2:] = before[0, -2:]
    found = synthesised_map(picture_of(before), after)
    assert found.tolist() == [[SYNTHESISED, SYNTHESISED, 0, SYNTHESISED, 0, 0, 0]]


def test_map_is_the_same_across_bands_and_depths() -> None:
    tones: Samples = np.array([0, 100, 255], np.uint8)
    before: Samples = tones[np.random.default_rng(0).integers(0, 3, (2 * BAND_ROWS + 7, 5, 3))]
    found = synthesised_map(picture_of(before), np.full(before.shape, 60 * 257, np.uint16))
    expected = (before.max(axis=2) == 255) | (before.max(axis=2) == 0)
    np.testing.assert_array_equal(found == SYNTHESISED, expected)
    # Only converted to more bits, no pixel is made up.
    assert not synthesised_map(picture_of(before), before.astype(np.uint16) * 257).any()
