import io

import numpy as np
import pytest

from sightline.materials.base_colour import (
    CANDIDATES,
    FEATURES,
    OUTPUTS,
    BaseColourModel,
    collect_evidence,
    estimate_base_colour,
)
from sightline.materials.maps import Floats, SurfaceMaps
from sightline.materials.rendering import AT_CAMERA, camera_for, shade

SIZE = 64
POINTS = camera_for(SIZE, SIZE, 60).points(SIZE, SIZE)
PROBABILITIES = np.full(8, 1 / 8, np.float32)
LARGE = 30.0


def flat(colour: tuple[float, float, float], roughness: float = 0.9, metallic: float = 0.0) -> SurfaceMaps:
    plain = np.ones((SIZE, SIZE), np.float32)
    normal = np.dstack([0 * plain, 0 * plain, plain])
    albedo = np.dstack([plain * part for part in colour])
    return SurfaceMaps(albedo, normal, roughness * plain, metallic * plain)


def choosing(candidate: int, metallic: float = 0.0) -> BaseColourModel:
    """A model that takes one of the candidates everywhere."""
    bias = np.zeros(OUTPUTS, np.float32)
    bias[candidate], bias[-1] = LARGE, metallic
    return BaseColourModel(((np.zeros((FEATURES, OUTPUTS), np.float32), bias),))


def grey_card_photo(truth: SurfaceMaps) -> Floats:
    """A photo whose log-average is that of the surface."""
    light = shade(truth, POINTS, AT_CAMERA)
    return np.asarray(light / np.exp(np.log(light / truth.albedo).mean()), np.float32)


@pytest.mark.parametrize(("candidate", "expected"), [(0, 0.2), (2, 0.5)])
def test_candidates_are_the_estimate_and_the_photo_without_falloff(candidate: int, expected: float) -> None:
    photo = grey_card_photo(flat((0.5, 0.5, 0.5)))

    found = estimate_base_colour(choosing(candidate), flat((0.2, 0.2, 0.2)), photo, POINTS, PROBABILITIES)

    np.testing.assert_allclose(found.albedo, expected, rtol=0.12)
    assert np.ptp(found.albedo) < 0.05


def test_fill_of_a_clipped_highlight_has_the_colour_around_it() -> None:
    photo = grey_card_photo(flat((0.3, 0.1, 0.05)))
    photo[24:40, 24:40] = 1

    found = estimate_base_colour(choosing(4), flat((0.2, 0.2, 0.2)), photo, POINTS, PROBABILITIES)

    middle = found.albedo[28:36, 28:36].mean(axis=(0, 1))
    np.testing.assert_allclose(middle, [0.3, 0.1, 0.05], rtol=0.25)


def test_metallicness_multiplies_the_odds_of_pixels_and_of_the_type() -> None:
    shares, photo = np.array([0.1, 0, 0, 0.8, 0.1, 0, 0, 0], np.float32), np.full_like(POINTS, 0.2)

    found = estimate_base_colour(choosing(0, metallic=-1.0), flat((0.2,) * 3), photo, POINTS, shares)

    np.testing.assert_allclose(found.metallic, 1 / (1 + np.exp(1) / 4), rtol=1e-3)


@pytest.mark.parametrize("tone", [0.0, 1.0])
def test_black_and_white_photos_give_finite_colours(tone: float) -> None:
    for candidate in range(CANDIDATES):
        found = estimate_base_colour(
            choosing(candidate), flat((0.2,) * 3), np.full_like(POINTS, tone), POINTS, PROBABILITIES
        )
        assert np.isfinite(found.albedo).all()
        assert 0 <= found.albedo.min() <= found.albedo.max() <= 1


def test_evidence_of_a_mirrored_photo_is_mirrored() -> None:
    rng = np.random.default_rng(0)
    maps, photo = flat((0.2, 0.3, 0.4)), rng.random((SIZE, SIZE, 3)).astype(np.float32)

    upright = collect_evidence(maps, photo, POINTS, PROBABILITIES).features
    mirrored = collect_evidence(maps, photo[:, ::-1], POINTS, PROBABILITIES).features

    np.testing.assert_allclose(mirrored[:, ::-1], upright, atol=1e-4)


def test_files_of_other_sizes_are_refused() -> None:
    file = io.BytesIO()
    np.savez(file, weight0=np.zeros((5, OUTPUTS), np.float32), bias0=np.zeros(OUTPUTS, np.float32))

    with pytest.raises(ValueError, match="features"):
        BaseColourModel.read(file.getvalue())
