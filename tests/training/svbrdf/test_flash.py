import numpy as np
import pytest
import torch

from sightline.networks.rendering import Surface
from sightline.training.svbrdf.flash import Flash, SurfaceWindow, random_flash, random_window, whole_window

SIZE = 64
COORDINATES = torch.from_numpy(whole_window(60).coordinates(SIZE, SIZE))[None]


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def surface(albedo: float = 0.5, roughness: float = 0.3, metallic: float = 0.0) -> Surface:
    normal = torch.zeros(1, 3, SIZE, SIZE)
    normal[:, 2] = 1
    plane = torch.ones(1, 1, SIZE, SIZE)
    return Surface(albedo * torch.ones(1, 3, SIZE, SIZE), normal, roughness * plane, torch.full((1, 1, 1, 1), metallic))


def brightest(photo: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> tuple[float, float]:
    """Where x and y are, of the middle of the highlight."""
    weights = np.maximum(photo.mean(axis=2) - 0.7 * photo.max(), 0)
    x, y = COORDINATES[0].numpy()
    return float((weights * x).sum() / weights.sum()), float((weights * y).sum() / weights.sum())


def test_coordinates_say_where_rays_meet_the_plane() -> None:
    x, y = SurfaceWindow((0.1, 0.2), (0.5, 0.25)).coordinates(2, 4)

    np.testing.assert_allclose(x[0], [-0.275, -0.025, 0.225, 0.475], atol=1e-6)
    np.testing.assert_allclose(y[:, 0], [0.325, 0.075], atol=1e-6)
    assert whole_window(90).coordinates(2, 2)[0].tolist() == [[-0.5, 0.5], [-0.5, 0.5]]


def test_windows_lie_within_a_phones_view() -> None:
    for seed in range(100):
        x, y = random_window(np.random.default_rng(seed)).coordinates(8, 8)
        assert np.abs(np.stack([x, y])).max() < np.tan(np.deg2rad(75) / 2)


def test_highlight_lies_half_way_to_the_flash() -> None:
    middle, aside = (Flash(light=(x, 0.06, 0)).shoot(surface(), COORDINATES, rng()) for x in (0.0, 0.12))

    assert brightest(middle) == pytest.approx((0, 0.03), abs=0.02)
    assert brightest(aside) == pytest.approx((0.06, 0.03), abs=0.02)


def test_tilted_surface_shows_its_highlight_elsewhere() -> None:
    """Its normal leans to the left by 0.1 rad, and points at the camera from x = tan 0.1."""
    x, y = brightest(Flash(tilt=(0, -0.1)).shoot(surface(), COORDINATES, rng()))

    assert x == pytest.approx(0.1, abs=0.02)
    assert y == pytest.approx(0, abs=0.02)


def test_corners_are_darker_than_the_middle_and_the_rooms_light_evens_it_out() -> None:
    def falloff(flash: Flash) -> float:
        photo = flash.shoot(surface(roughness=1.0), COORDINATES, rng())
        return float(photo[0, 0].mean() / photo[SIZE // 2, SIZE // 2].mean())

    assert falloff(Flash(vignette=0.4)) < falloff(Flash()) < falloff(Flash(ambient=(0.5, 0.5, 0.5))) < 1


@pytest.mark.parametrize("exposure", [0.08, 0.3])
def test_camera_aims_at_its_exposure_and_clips(exposure: float) -> None:
    dull, metal = (
        Flash(exposure=exposure).shoot(each, COORDINATES, rng()) for each in (surface(roughness=1), surface(metallic=1))
    )

    assert np.exp(np.log(dull.mean(axis=2)).mean()) == pytest.approx(exposure, rel=0.02)
    assert dull.max() < metal.max() == 1


def test_noise_and_jpeg_leave_the_photo_recognisable() -> None:
    clean, bad = (each.shoot(surface(), COORDINATES, rng()) for each in (Flash(), Flash(noise=0.03, jpeg_quality=75)))

    assert 0 < np.abs(clean - bad).mean() < 0.03


def test_random_flashes_are_near_the_camera() -> None:
    flashes = [random_flash(np.random.default_rng(seed)) for seed in range(200)]

    assert max(np.hypot(*flash.light[:2]) for flash in flashes) <= 0.12
    assert max(np.abs(flash.tilt).max() for flash in flashes) <= np.deg2rad(10)
    assert {flash.jpeg_quality is None for flash in flashes} == {True, False}
    assert min(flash.exposure for flash in flashes) < 0.1
