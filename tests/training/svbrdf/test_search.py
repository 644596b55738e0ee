from dataclasses import replace

import numpy as np
import pytest

from sightline.materials.refinement import Coefficients
from sightline.training.svbrdf.evaluate import Case, Estimator, Maps, compare, make_cases
from sightline.training.svbrdf.flash import Floats
from sightline.training.svbrdf.materials import TrainingMaterial
from sightline.training.svbrdf.search import Mirrored, Refined, search


@pytest.fixture(scope="module")
def cases(generated: list[TrainingMaterial]) -> list[Case]:
    return make_cases([generated[at] for at in (1, 4, 5)], size_px=32)


def knowing(cases: list[Case], noise: float) -> Estimator:
    """The truth with noise over it."""
    truths = {case.photo.tobytes(): case.truth for case in cases}

    def estimate(photo: Floats, _coordinates: Floats) -> Maps:
        truth = truths[photo.tobytes()]
        rng = np.random.default_rng(0)
        maps = truth.maps + noise * rng.standard_normal(truth.maps.shape).astype(np.float32)
        maps[..., [0, 1, 2, 6]] = np.clip(maps[..., [0, 1, 2, 6]], 0, 1)
        return replace(truth, maps=maps)

    return estimate


def test_noisy_estimates_are_smoothed_and_gain_by_it(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.training.svbrdf.search.SIGMAS", (0.03,))
    noisy = knowing(cases, 0.1)

    found = search(noisy, cases)

    assert found.albedo.spatial + found.albedo.bilateral > 0
    assert found.normal.spatial + found.normal.bilateral > 0
    rows = compare({"refined": Refined(noisy, found), "noisy": noisy}, cases)
    refined, before = (row.figures for row in rows[-2:])
    assert refined["albedo_rmse"] < before["albedo_rmse"]
    assert refined["roughness_rmse"] < before["roughness_rmse"]


def test_true_maps_are_left_alone(cases: list[Case], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline.training.svbrdf.search.SIGMAS", (0.03,))

    assert search(knowing(cases, 0.0), cases) == Coefficients()


def test_mirrored_views_cancel_one_sided_errors(cases: list[Case]) -> None:
    case = cases[0]
    truths = {case.photo.tobytes(): case.truth.maps, case.photo[:, ::-1].tobytes(): mirrored(case.truth.maps)}
    slope = np.linspace(-0.1, 0.1, case.photo.shape[1], dtype=np.float32)

    def leaning(photo: Floats, _coordinates: Floats) -> Maps:
        maps = truths[photo.tobytes()].copy()
        maps[..., 6] += slope
        return Maps(maps, np.full(maps.shape[:2], 0.5, np.float32))

    found = Mirrored(leaning)(case.photo, case.coordinates)

    np.testing.assert_allclose(found.maps, case.truth.maps, atol=1e-5)


def mirrored(maps: Floats) -> Floats:
    return np.ascontiguousarray(maps[:, ::-1] * np.array([1, 1, 1, -1, 1, 1, 1], np.float32))
