import numpy as np
import pytest

from sightline.training.svbrdf.procedural.noise import cells, fbm, grain, inside, lines, ridged, smoothstep, warp


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("waves", [0.5, 3.0, 40.0])
@pytest.mark.parametrize("stretch", [0.1, 1.0, 20.0])
def test_noise_fills_its_range_everywhere(waves: float, stretch: float) -> None:
    field = fbm(rng(), 64, waves, stretch=stretch)

    assert field.shape == (64, 64)
    assert (field.min(), field.max()) == (0, pytest.approx(1, abs=1e-6))
    assert all(part.std() > 0 for part in np.split(field, 4))


def test_more_waves_are_finer() -> None:
    coarse, fine = (np.abs(np.diff(fbm(rng(), 128, waves, octaves=1), axis=1)).mean() for waves in (2, 16))

    assert fine > 3 * coarse


def test_stretched_noise_varies_less_downwards() -> None:
    field = fbm(rng(), 128, 16, octaves=1, stretch=8)

    assert np.abs(np.diff(field, axis=1)).mean() > 3 * np.abs(np.diff(field, axis=0)).mean()


def test_cells_have_points_borders_and_values() -> None:
    diagram = cells(rng(), 96, 36)

    assert 30 <= len(np.unique(diagram.ids)) <= 36
    assert diagram.distance.min() == 0
    assert diagram.depth.min() == 0
    values = diagram.values(rng())
    assert all(np.ptp(values[diagram.ids == each]) == 0 for each in np.unique(diagram.ids))


def test_depth_is_the_distance_to_another_id() -> None:
    ids = np.zeros((9, 20), np.int32)
    ids[:, 10:] = 1

    np.testing.assert_allclose(inside(ids)[4, 10:13], [0, 1, 2], atol=0.1)


def test_lines_keep_to_their_angle() -> None:
    level = lines(rng(), 128, 20, angle=0.0)

    assert 0 < level.mean() < 0.5
    assert np.abs(np.diff(level, axis=0)).sum() > 3 * np.abs(np.diff(level, axis=1)).sum()


def test_warp_keeps_the_values() -> None:
    field = grain(rng(), 64, 2)

    moved = warp(field, rng(), 6, 3)

    assert not np.allclose(moved, field)
    assert field.min() <= moved.min() <= moved.max() <= field.max()


def test_ridges_and_steps_stay_in_range() -> None:
    crests = ridged(rng(), 64, 3)

    assert 0 <= crests.min() <= crests.max() <= 1
    np.testing.assert_allclose(smoothstep(0.2, 0.4, np.array([0, 0.3, 1], np.float32)), [0, 0.5, 1], atol=1e-6)
