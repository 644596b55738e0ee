import cv2
import numpy as np
import pytest

from services.svbrdf.estimation import fit_detail
from services.svbrdf.linear_photo import LinearPhoto
from sightline.materials.maps import Floats, SurfaceMaps, unit

LINEAR = np.linspace(0, 1, 65_536).astype(np.float32)


def photo_of(light: Floats) -> LinearPhoto:
    return LinearPhoto(np.rint(light * 65_535).astype(np.uint16), LINEAR)


def flat(albedo: Floats, roughness: float = 0.4) -> SurfaceMaps:
    normal = np.zeros_like(albedo)
    normal[..., 2] = 1
    plain = np.ones(albedo.shape[:2], np.float32)
    return SurfaceMaps(albedo, normal, roughness * plain, 0.2 * plain)


@pytest.fixture(scope="module")
def texture() -> Floats:
    """(512, 768, 3): stripes of one pixel and colours that change slowly."""
    y, x = np.mgrid[:512, :768]
    stripes = np.where(x % 2, 0.35, 0.25)[..., None]
    return np.asarray(stripes * (1 + 0.3 * np.sin(y / 90)[..., None] * [1, 0, -1]), np.float32)


def test_fine_texture_of_the_photo_is_in_the_albedo(texture: Floats) -> None:
    """The photo is the albedo at half the light, and the network saw it at a quarter of the size, with grain."""
    rng = np.random.default_rng(0)
    grain = (1 + 0.15 * rng.standard_normal((128, 192, 1))).astype(np.float32)
    small = cv2.resize(texture, (192, 128), interpolation=cv2.INTER_AREA) * grain

    maps = fit_detail(flat(np.asarray(small, np.float32)), np.asarray(small / 2, np.float32)).whole(
        photo_of(texture * np.float32(0.5))
    )

    assert (maps.height, maps.width) == (512, 768)
    error = np.abs(maps.albedo - texture)[8:-8, 8:-8]
    assert error.mean() < 0.02
    assert np.abs(np.diff(maps.albedo, axis=1)).mean() > 0.6 * np.abs(np.diff(texture, axis=1)).mean()


def test_smooth_maps_are_enlarged_unchanged() -> None:
    y, x = (np.mgrid[:64, :96] / 96).astype(np.float32)
    normal = unit(np.dstack([0.4 * x, -0.3 * y, np.ones_like(x)]))
    maps = SurfaceMaps(
        np.full((64, 96, 3), 0.3, np.float32),
        normal,
        (0.2 + 0.5 * x).astype(np.float32),
        (0.9 - 0.5 * x).astype(np.float32),
    )
    light = np.full((64, 96, 3), 0.2, np.float32)

    large = fit_detail(maps, light).whole(photo_of(np.full((200, 300, 3), 0.2, np.float32)))

    np.testing.assert_allclose(np.linalg.norm(large.normal, axis=2), 1, atol=1e-5)
    given = (large.normal, large.roughness, large.metallic)
    small = [cv2.resize(part, (96, 64), interpolation=cv2.INTER_AREA) for part in given]
    for part, expected in zip(small, (maps.normal, maps.roughness, maps.metallic), strict=True):
        np.testing.assert_allclose(part[6:-6, 6:-6], expected[6:-6, 6:-6], atol=0.01)


def test_bands_have_no_seams(texture: Floats, monkeypatch: pytest.MonkeyPatch) -> None:
    small = np.asarray(cv2.resize(texture, (192, 128), interpolation=cv2.INTER_AREA), np.float32)
    detail, photo = fit_detail(flat(small), small), photo_of(texture)
    whole = detail.whole(photo)

    monkeypatch.setattr("services.svbrdf.linear_photo.BAND_PIXELS", 768 * 50)

    assert len(list(detail.bands(photo))) == 11
    np.testing.assert_allclose(detail.whole(photo).albedo, whole.albedo, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 900), (700, 2)])
@pytest.mark.parametrize("tone", [0.0, 1.0])
def test_extreme_pixels_stay_in_range(size: tuple[int, int], tone: float) -> None:
    rng = np.random.default_rng(0)
    maps = flat(rng.uniform(0, 1, (128, 128, 3)).astype(np.float32))
    light = np.full((128, 128, 3), 1 - tone, np.float32)

    large = fit_detail(maps, light).whole(photo_of(np.full((*size, 3), tone, np.float32)))

    assert large.albedo.shape == (*size, 3)
    assert large.albedo.min() >= 0
    assert large.albedo.max() <= 1
    assert np.isfinite(large.normal).all()
    assert large.normal[..., 2].min() > 0
