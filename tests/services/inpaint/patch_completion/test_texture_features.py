import numpy as np
import pytest

from services.inpaint.patch_completion.texture_features import (
    COLOUR_CHANNELS,
    FeatureImage,
    extract_features,
    halve_features,
)


def scene(height: int, width: int) -> FeatureImage:
    values = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return extract_features(values, np.zeros((height, width), bool))


def test_source_mask_excludes_holes_and_the_border() -> None:
    here = scene(20, 30)
    here.hole[10, 15] = True
    known, holed = here.source_mask(), here.target_mask()
    assert known.sum() == 14 * 24 - 7 * 7
    assert holed.sum() == 7 * 7
    assert not (known & holed).any()


def test_texture_features_tell_texture_from_even_areas() -> None:
    pixels = np.full((40, 80, 3), 128, np.uint8)
    pixels[:, :30] = np.random.default_rng(0).integers(100, 156, (40, 30, 1), np.uint8)
    rough = extract_features(pixels, np.zeros((40, 80), bool)).values[..., COLOUR_CHANNELS:]
    assert rough[:, :20].min() > 5
    assert rough[:, 50:].max() < 0.1


def test_texture_features_ignore_the_guess() -> None:
    hole = np.zeros((60, 60), bool)
    hole[10:50, 10:50] = True
    even = np.full((60, 60, 3), 90, np.uint8)
    noisy = even.copy()
    noisy[hole] = np.random.default_rng(0).integers(0, 256, (1600, 3), np.uint8)
    assert np.abs(extract_features(noisy, hole).values[..., COLOUR_CHANNELS:]).max() < 0.1


@pytest.mark.parametrize("size", [(8, 8), (9, 13), (1, 2)])
def test_halved_features_round_sizes_up(size: tuple[int, int]) -> None:
    half = halve_features(scene(*size))
    assert half.hole.shape == (-(-size[0] // 2), -(-size[1] // 2))
    assert half.values.shape[:2] == half.hole.shape


def test_halved_features_average_known_pixels() -> None:
    here = scene(4, 4)
    here.values[:] = 10
    here.hole[0, 0] = here.hole[2:, 2:] = True
    here.values[here.hole] = 200
    half = halve_features(here)
    assert half.hole.tolist() == [[False, False], [False, True]]
    assert half.values[..., 0].tolist() == [[10, 10], [10, 200]]
