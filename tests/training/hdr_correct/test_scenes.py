from pathlib import Path

import cv2
import numpy as np
import OpenEXR
import pytest

from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.training.hdr_correct.cameras import Linear
from sightline.training.hdr_correct.scenes import (
    LUMINANCE,
    MAX_LIGHT,
    MIDDLE_GREY,
    HdrSceneStore,
    good_photo,
    list_radiance,
    random_views,
    read_radiance,
    to_middle_grey,
    view,
)


def test_store_returns_the_packed_items(scenes: HdrSceneStore, panorama: Linear) -> None:
    assert len(scenes) == 2
    assert scenes[1].shape == (64, 64, 3)
    expected = np.minimum(to_middle_grey(panorama[:, :64]), MAX_LIGHT)
    np.testing.assert_allclose(scenes[1].astype(np.float32), expected, rtol=2e-3)


def test_scene_log_average_is_middle_grey() -> None:
    scene = np.random.default_rng(0).uniform(3, 900, (32, 32, 3)).astype(np.float32)

    luminance = to_middle_grey(scene) @ LUMINANCE

    assert np.exp(np.log(luminance).mean()) == pytest.approx(MIDDLE_GREY, rel=0.02)


def test_level_view_shows_the_middle_of_the_panorama(panorama: Linear) -> None:
    ahead = view(panorama, yaw=np.pi, pitch=0, fov=np.pi / 2, size_px=(32, 48))

    assert ahead.shape == (32, 48, 3)
    assert ahead[:8, :, 2].mean() > 3 * ahead[-8:, :, 2].mean()
    assert ahead.max() < 2, "the sun is out of view"


def test_turning_brings_the_sun_into_view(panorama: Linear) -> None:
    towards_sun = view(panorama, yaw=2 * np.pi * 97 / 128, pitch=0.5, fov=np.pi / 2, size_px=(32, 48))

    row, column = np.unravel_index(towards_sun[..., 0].argmax(), (32, 48))
    assert towards_sun.max() > 1000
    assert abs(int(column) - 24) <= 3
    assert 4 < row < 28


def test_views_are_as_many_and_as_large_as_asked(panorama: Linear) -> None:
    views = list(random_views(np.random.default_rng(0), panorama, count=3, size_px=(24, 32)))

    assert [each.shape for each in views] == [(24, 32, 3)] * 3


def test_good_photo_shows_lights_that_one_exposure_clips() -> None:
    texture = np.random.default_rng(0).uniform(0.5, 1.5, (128, 128, 3)).astype(np.float32)
    dark_half = np.arange(128)[None, :, None] < 64
    light = np.where(dark_half, 0.02, 2) * cv2.GaussianBlur(texture, (0, 0), 2)
    scene = light.astype(np.float32)

    photo = good_photo(scene)

    single = 255 * encode_srgb(np.clip(scene, 0, 1))
    assert single[:, 80:].mean() > 250
    assert photo[:, 80:].mean() < 230
    assert photo[:, :48].mean() > 0.8 * single[:, :48].mean()


SCENE = np.random.default_rng(0).uniform(0, 3000, (8, 12, 3)).astype(np.float32)


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    with OpenEXR.File({"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}, channels) as file:
        file.write(str(path))


def test_openexr_comes_back_without_negatives(tmp_path: Path) -> None:
    scene = SCENE.copy()
    scene[0, 0] = -0.01
    write_exr(tmp_path / "scene.exr", {"RGB": scene})

    values = read_radiance(tmp_path / "scene.exr")

    np.testing.assert_allclose(values, np.maximum(scene, 0))
    assert values.dtype == np.float32


def test_radiance_comes_back_in_rgb(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "scene.hdr"), SCENE[..., ::-1])

    values = read_radiance(tmp_path / "scene.hdr")

    np.testing.assert_allclose(values, SCENE, atol=SCENE.max() / 128)


def test_file_without_colour_channels_is_refused(tmp_path: Path) -> None:
    write_exr(tmp_path / "depth.exr", {"Z": SCENE[..., 0].copy()})
    (tmp_path / "broken.hdr").write_bytes(b"#?RADIANCE\n")

    assert [path.name for path in list_radiance(tmp_path)] == ["broken.hdr", "depth.exr"]
    for path in list_radiance(tmp_path):
        with pytest.raises(ValueError, match=r"colour|readable"):
            read_radiance(path)
