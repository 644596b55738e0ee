import numpy as np

from sightline.training.svbrdf.procedural.drafts import Draft, aged, blend, colour, near, ramp


def test_normals_point_away_from_rising_slopes() -> None:
    y, x = np.mgrid[:16, :16].astype(np.float32)
    flat = np.full((16, 16), 0.5, np.float32)

    rightward, upward = (Draft(np.dstack([flat] * 3), height, flat).normals()[8, 8] for height in (x, -y))

    np.testing.assert_allclose(rightward, [-(0.5**0.5), 0, 0.5**0.5], atol=1e-5)
    np.testing.assert_allclose(upward, [0, -(0.5**0.5), 0.5**0.5], atol=1e-5)


def test_maps_hold_colour_normal_and_roughness() -> None:
    flat = np.full((8, 8), 0.4, np.float32)

    maps = Draft(np.dstack([flat, flat, flat]), flat, flat - 1).maps()

    assert maps.shape == (8, 8, 7)
    assert maps[4, 4].tolist() == [102, 102, 102, 128, 128, 255, 15]


def test_colours_come_from_their_range() -> None:
    rng = np.random.default_rng(0)
    reds = np.stack([colour(rng, (-0.05, 0.05), (0.5, 1), (0.5, 1)) for _ in range(50)])

    assert (reds.argmax(axis=1) == 0).all()
    assert np.abs(near(rng, reds[0], 0.05) - reds[0]).max() < 0.4


def test_ramps_and_blends_go_from_one_to_the_other() -> None:
    black, white = np.zeros(3, np.float32), np.ones(3, np.float32)
    share = np.linspace(0, 1, 5, dtype=np.float32)[None]

    np.testing.assert_allclose(ramp(share, [black, white])[0, :, 1], share[0], atol=1e-6)
    np.testing.assert_allclose(blend(np.zeros((1, 5, 3), np.float32), white, share)[0, :, 2], share[0], atol=1e-6)


def test_age_keeps_the_size_and_changes_the_surface() -> None:
    flat = np.full((32, 32), 0.4, np.float32)
    draft = Draft(np.dstack([flat] * 3), flat, flat, 1.0)

    old = aged(np.random.default_rng(1), draft, chance=1.0)

    assert old.albedo.shape == (32, 32, 3)
    assert not np.allclose(old.albedo, draft.albedo)
    assert old.metallic == 1.0
