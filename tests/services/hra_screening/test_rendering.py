import tracemalloc

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from services.hra_screening.rendering import BAND_ROWS, MAX_OPACITY, draw_overlay
from tests.extreme_pictures import extreme_pixels


@given(
    extreme_pixels(dtypes=(np.uint8,)), st.integers(1, 9), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 2**32 - 1)
)
def test_overlay_on_extreme_pixels_matches_floating_point(
    pixels: NDArray[np.uint8], cells: int, hot_share: float, seed: int
) -> None:
    """Cells that are cold or hot, between which the cubic filter overshoots."""
    heat = (np.random.default_rng(seed).random((cells, cells)) < hot_share).astype(np.float32)
    shown = draw_overlay(pixels, heat)
    smooth = np.clip(cv2.resize(heat, pixels.shape[1::-1], interpolation=cv2.INTER_CUBIC), 0, 1)[..., None]
    scale = cv2.applyColorMap(np.arange(256, dtype=np.uint8)[:, None], cv2.COLORMAP_INFERNO)[:, 0, ::-1]
    colours = scale[(255 * smooth[..., 0]).astype(int)].astype(float)
    wanted = pixels + MAX_OPACITY * smooth.astype(float) * (colours - pixels)
    assert shown.shape == pixels.shape
    assert np.abs(shown - wanted).max() <= 0.51


def test_overlay_of_a_large_photo_is_blended_in_bands() -> None:
    """In floats a whole photo of 108 megapixels takes more memory than a container has."""
    pixels = np.random.default_rng(0).integers(0, 256, (2 * BAND_ROWS + 1000, 1500, 3), np.uint8)
    heat = np.array([[0, 1], [1, 0.5]], np.float32)
    tracemalloc.start()
    shown = draw_overlay(pixels, heat)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak_bytes < 4 * pixels.nbytes
    smooth = cv2.resize(heat, pixels.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    for row in (0, BAND_ROWS - 1, BAND_ROWS, len(pixels) - 1):
        alone = draw_overlay(pixels[row : row + 1], np.clip(smooth[row : row + 1], 0, 1))
        assert np.array_equal(shown[row], alone[0])
