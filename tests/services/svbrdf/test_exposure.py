import io
from collections.abc import Mapping
from dataclasses import astuple

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from services.svbrdf.exposure import implied_exposure, match_exposure, read_camera_settings
from sightline.materials.maps import SurfaceMaps
from sightline.materials.rendering import AT_CAMERA, camera_for, shade

SIZE = 64
POINTS = camera_for(SIZE, SIZE, 60).points(SIZE, SIZE)


def flat(tone: float) -> SurfaceMaps:
    plain = np.ones((SIZE, SIZE), np.float32)
    return SurfaceMaps(tone * np.dstack([plain] * 3), np.dstack([0 * plain, 0 * plain, plain]), plain, 0 * plain)


def jpeg(tags: Mapping[int, object]) -> bytes:
    exif, file = Image.Exif(), io.BytesIO()
    exif.get_ifd(0x8769).update(tags)
    Image.new("RGB", (32, 32)).save(file, "JPEG", exif=exif)
    return file.getvalue()


@pytest.mark.parametrize("exposure", [0.5, 1.0, 2.0])
def test_albedo_matches_the_photo_at_the_given_exposure(exposure: float) -> None:
    photo = np.asarray(1.0 * shade(flat(0.3), POINTS, AT_CAMERA), np.float32)

    maps = match_exposure(flat(0.1), photo, POINTS, exposure, trust=1.0)

    assert maps.albedo.mean() == pytest.approx(0.3 / exposure, rel=0.15)
    assert implied_exposure(maps, photo, POINTS) == pytest.approx(exposure, rel=0.1)


def test_half_of_the_trust_goes_half_of_the_way() -> None:
    photo = np.asarray(shade(flat(0.4), POINTS, AT_CAMERA), np.float32)

    maps = match_exposure(flat(0.1), photo, POINTS, 1.0, trust=0.5)

    assert maps.albedo.mean() == pytest.approx(0.2, rel=0.1)


def test_camera_settings_come_from_the_exif_of_a_jpeg() -> None:
    tags = {0x829A: IFDRational(1, 60), 0x829D: IFDRational(9, 5), 0x8827: 100, 0x9206: IFDRational(3, 10)}

    settings = read_camera_settings(jpeg(tags))

    assert settings is not None
    assert astuple(settings) == pytest.approx((1 / 60, 1.8, 100.0, 0.3))
    assert settings.exposure(flash_cd=45, distance_m=0.3) == pytest.approx(0.68, abs=0.01)
    assert settings.exposure(flash_cd=45, distance_m=0.6) == pytest.approx(0.17, abs=0.01)


@pytest.mark.parametrize(
    "file", [b"", b"no picture", jpeg({}), jpeg({0x829A: IFDRational(0, 1), 0x829D: IFDRational(9, 5), 0x8827: 100})]
)
def test_files_without_settings_have_none(file: bytes) -> None:
    assert read_camera_settings(file) is None
