"""Exposure of a photo: from options, from the camera's settings, or assumed.

One photo does not tell a dark surface from a weak flash. The exposure resolves this: the linear value, with 1 for the
brightest, that matte white paper in the middle of the photo would have.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from io import BytesIO
from math import pi
from typing import Any

import numpy as np
from PIL import Image

from sightline.materials.maps import Floats, SurfaceMaps
from sightline.materials.rendering import AT_CAMERA, CLIPPED, shade

EXIF_IFD, EXPOSURE_TIME, F_NUMBER, ISO, SUBJECT_DISTANCE = 0x8769, 0x829A, 0x829D, 0x8827, 0x9206
LENS_TRANSMISSION, SATURATION = 0.65, 78.0
"""Of ISO 12232: a sensor of speed S is saturated by 78 / S lux seconds."""
EXPOSURES = (0.02, 50.0)
SCALES = np.exp(np.linspace(-3, 3, 61)).astype(np.float32)
STRIDE = 4
MIN_LIGHT = 4e-3


class ExposureSource(StrEnum):
    """Origin of the brightness of the base colour."""

    ASSUMED = "assumed"
    CAMERA = "camera"
    OPTION = "option"


@dataclass(frozen=True, slots=True)
class CameraSettings:
    """EXIF of a photo. subject_distance_m: None where the camera did not measure it."""

    time_s: float
    f_number: float
    iso: float
    subject_distance_m: float | None

    def exposure(self, *, flash_cd: float, distance_m: float) -> float:
        """The linear value of white paper under a flash of that luminous intensity at that distance."""
        luminance = flash_cd / distance_m**2 / pi
        return LENS_TRANSMISSION * luminance * self.time_s / self.f_number**2 * self.iso / SATURATION


def read_camera_settings(file: bytes) -> CameraSettings | None:
    """The settings in the EXIF of a JPEG file; None where one is missing or not plausible."""
    try:
        with warnings.catch_warnings():
            # Pillow warns of damaged EXIF and of large pictures; only the header is read here.
            warnings.simplefilter("ignore")
            with Image.open(BytesIO(file), formats=("JPEG",)) as image:
                tags: Mapping[int, Any] = image.getexif().get_ifd(EXIF_IFD)
        values = [_positive(tags.get(tag)) for tag in (EXPOSURE_TIME, F_NUMBER, ISO, SUBJECT_DISTANCE)]
    except (OSError, ValueError, SyntaxError, ArithmeticError, TypeError, KeyError, Image.DecompressionBombError):
        return None
    time_s, f_number, iso, distance_m = values
    if time_s is None or f_number is None or iso is None:
        return None
    return CameraSettings(time_s, f_number, iso, distance_m)


def _positive(value: object) -> float | None:
    """The number in an EXIF field; None for zero, infinity, which stands for an unknown distance, and others."""
    first = value[0] if isinstance(value, tuple) and value else value
    number = float(first)  # type: ignore[arg-type] # EXIF gives numbers and fractions; others raise TypeError
    return number if 1e-6 < number < 1e6 else None


def match_exposure(maps: SurfaceMaps, light: Floats, points: Floats, exposure: float, *, trust: float) -> SurfaceMaps:
    """The maps with the albedo scaled so that a render at this exposure is as bright as the photo.

    trust: 1 scales fully, 0.5 goes half of the way on a logarithmic scale.
    """
    small = _thinned(maps)
    light, points = light[::STRIDE, ::STRIDE], points[::STRIDE, ::STRIDE]
    shown = (light < CLIPPED).all(axis=2)
    seen = _log_mean(light, shown)
    renders = [_log_mean(exposure * shade(_scaled(small, each), points, AT_CAMERA), shown) for each in SCALES]
    errors = [np.abs(seen - each).mean() for each in renders]
    return _scaled(maps, float(SCALES[int(np.argmin(errors))]) ** trust)


def implied_exposure(maps: SurfaceMaps, light: Floats, points: Floats) -> float:
    """The exposure at which a render of the maps is as bright as the photo, by the median over unclipped pixels."""
    shown = (light < CLIPPED).all(axis=2)
    ratio = _log_mean(light, shown) - _log_mean(shade(maps, points, AT_CAMERA), shown)
    return float(np.clip(np.exp(np.median(ratio)), *EXPOSURES))


def _log_mean(light: Floats, shown: Any) -> Floats:
    grey = light.mean(axis=2)
    return np.asarray(np.log((grey[shown] if shown.any() else grey.ravel()) + MIN_LIGHT), np.float32)


def _thinned(maps: SurfaceMaps) -> SurfaceMaps:
    parts = (maps.albedo, maps.normal, maps.roughness, maps.metallic)
    return SurfaceMaps(*(each[::STRIDE, ::STRIDE] for each in parts))


def _scaled(maps: SurfaceMaps, factor: float) -> SurfaceMaps:
    return replace(maps, albedo=np.clip(maps.albedo * np.float32(factor), 0, 1))
