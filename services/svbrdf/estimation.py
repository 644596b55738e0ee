"""Estimation of a material: from the network's outputs to maps of the photo's size.

Guided filter (He, Sun: "Fast Guided Filter", 2015, arXiv:1505.00996): over small windows each map is a linear function
of the photo's brightness on a logarithmic scale, fitted at the network's size and applied to the full photo.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from services.svbrdf.exposure import (
    EXPOSURES,
    CameraSettings,
    ExposureSource,
    implied_exposure,
    match_exposure,
)
from services.svbrdf.linear_photo import LinearPhoto
from services.svbrdf.schemas import DEFAULT_FLASH_CD, MaterialType, SvbrdfOptions
from sightline.imaging.picture import Picture
from sightline.inference.signature import Tensors
from sightline.materials.base_colour import BaseColourModel, estimate_base_colour
from sightline.materials.maps import Floats, SurfaceMaps, mean_maps, mirrored_maps, unit
from sightline.materials.refinement import SHIPPED, refine
from sightline.materials.rendering import Camera, rerender_rmse

METAL = tuple(MaterialType).index(MaterialType.METAL)
WINDOW_PX = 7
LOG_OFFSET = 4e-3  # keeps the logarithm of black finite
ALBEDO_NOISE, OTHER_NOISE = 1e-3, 0.05
"""Contrast of the guide that is regularised away: little for colours, which share the guide's texture; more for relief
and gloss, which hardly do."""
MAX_SLOPE = 6.0  # 80.5 degrees; slopes grow without limit towards 90


@dataclass(frozen=True, slots=True, eq=False)
class DetailedMaps:
    """Maps of any size, as linear functions of the photo's logarithmic brightness.

    slopes and offsets: (h, w, 7), for the logarithm of the albedo's three channels, the surface's slopes in x and y,
    roughness, and metallicness.
    """

    slopes: Floats
    offsets: Floats

    def bands(self, photo: LinearPhoto) -> Iterator[tuple[slice, SurfaceMaps]]:
        """Yields rows and their maps, from top to bottom of a photo of any size."""
        for rows in photo.bands():
            slopes, offsets = (_sampled(part, photo, rows) for part in (self.slopes, self.offsets))
            yield rows, _maps(slopes * _guide(photo.light(rows)) + offsets)

    def whole(self, photo: LinearPhoto) -> SurfaceMaps:
        """The maps of the whole photo, for small photos."""
        parts = [maps for _, maps in self.bands(photo)]
        names = ("albedo", "normal", "roughness", "metallic")
        return SurfaceMaps(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def fit_detail(maps: SurfaceMaps, light: Floats) -> DetailedMaps:
    """The detailed maps, fitted to maps and the photo's light (h, w, 3) at the network's size."""
    guide, target = _guide(light), _target(maps)
    guide_mean, target_mean = _blurred(guide), _blurred(target)
    shared = _blurred(guide * target) - guide_mean * target_mean
    spread = np.maximum(_blurred(guide * guide) - guide_mean**2, 0)
    noise = np.array([ALBEDO_NOISE] * 3 + [OTHER_NOISE] * 4, np.float32)
    slopes = shared / (spread + noise)
    return DetailedMaps(_blurred(slopes), _blurred(target_mean - slopes * guide_mean))


def _guide(light: Floats) -> Floats:
    """(h, w, 7): logarithms of each channel for its albedo, and of their mean for the other maps."""
    logs = np.log(light + np.float32(LOG_OFFSET))
    grey = np.repeat(np.log(light.mean(axis=2, keepdims=True) + np.float32(LOG_OFFSET)), 4, axis=2)
    return np.concatenate([logs, grey], 2)


def _target(maps: SurfaceMaps) -> Floats:
    slopes = maps.normal[..., :2] / np.maximum(maps.normal[..., 2:], 1 / MAX_SLOPE)
    parts = (np.log(maps.albedo + LOG_OFFSET), slopes, maps.roughness, maps.metallic)
    return np.dstack(parts).astype(np.float32)


def _maps(values: Floats) -> SurfaceMaps:
    # The bound keeps `exp` from overflowing; it lies above the logarithm of the brightest albedo.
    albedo = np.clip(np.exp(np.minimum(values[..., :3], 0.5)) - LOG_OFFSET, 0, 1)
    slopes = np.clip(values[..., 3:5], -MAX_SLOPE, MAX_SLOPE)
    normal = unit(np.concatenate([slopes, np.ones_like(slopes[..., :1])], 2))
    roughness, metallic = np.clip(values[..., 5], 0, 1), np.clip(values[..., 6], 0, 1)
    return SurfaceMaps(np.asarray(albedo, np.float32), normal, roughness, metallic)


def _blurred(values: Floats) -> Floats:
    return np.asarray(cv2.blur(values, (WINDOW_PX, WINDOW_PX), borderType=cv2.BORDER_REFLECT), np.float32)


def _sampled(small: Floats, photo: LinearPhoto, rows: slice) -> Floats:
    """The given rows of `small`, enlarged to the photo's size."""
    height, width = small.shape[:2]
    y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * height / photo.height - 0.5
    x = (np.arange(photo.width, dtype=np.float32) + 0.5) * width / photo.width - 0.5
    across, down = np.meshgrid(x, y)
    parts = [
        cv2.remap(np.ascontiguousarray(part), across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        for part in np.dsplit(small, [4])
    ]
    return np.concatenate(parts, 2).astype(np.float32)


@dataclass(frozen=True, slots=True, eq=False)
class SvbrdfRequest:
    """A decoded photo with its options."""

    picture: Picture
    options: SvbrdfOptions
    settings: CameraSettings | None = None


@dataclass(frozen=True, slots=True, eq=False)
class SvbrdfResult:
    """The estimated material of a photo.

    maps: applied to `photo`, they have its size; probabilities: of each type, with the sum 1; mean_roughness,
    mean_metallic and rerender_rmse: of the maps at the size of the network; exposure: the linear value of white paper
    in the middle of the photo that fits the maps.
    """

    request: SvbrdfRequest
    photo: LinearPhoto
    camera: Camera
    maps: DetailedMaps
    probabilities: Mapping[MaterialType, float]
    mean_roughness: float
    mean_metallic: float
    rerender_rmse: float
    exposure: float
    exposure_source: ExposureSource


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """The photo as the network is given it. light: (h, w, 3); points: (h, w, 3) of the surface."""

    photo: LinearPhoto
    camera: Camera
    light: Floats
    points: Floats


def apply_outputs(
    request: SvbrdfRequest, view: View, outputs: Sequence[Tensors], colours: BaseColourModel | None
) -> SvbrdfResult:
    """The result of a request, from the outputs for the photo and for its mirror image."""
    upright, mirrored = (read_maps(each) for each in outputs)
    maps = mean_maps(upright, mirrored_maps(mirrored))
    shares = np.mean([each["probabilities"] for each in outputs], axis=0)
    if colours is not None:
        maps = estimate_base_colour(colours, maps, view.light, view.points, np.asarray(shares, np.float32))
    if request.options.refine:
        maps = refine(maps, view.light, view.points, SHIPPED)
    maps, source = set_brightness(maps, view, request)
    return SvbrdfResult(
        request,
        view.photo,
        view.camera,
        fit_detail(maps, view.light),
        {kind: float(share) for kind, share in zip(MaterialType, shares, strict=True)},
        mean_roughness=float(maps.roughness.mean()),
        mean_metallic=float(maps.metallic.mean()),
        rerender_rmse=rerender_rmse(maps, view.light, view.camera),
        exposure=implied_exposure(maps, view.light, view.points),
        exposure_source=source,
    )


def set_brightness(maps: SurfaceMaps, view: View, request: SvbrdfRequest) -> tuple[SurfaceMaps, ExposureSource]:
    """The maps at the brightness that the options or the camera's settings give, else as they are."""
    options, settings = request.options, request.settings
    known = view.light, view.points
    if options.exposure is not None:
        return match_exposure(maps, *known, options.exposure, trust=1.0), ExposureSource.OPTION
    distance_m = options.flash_distance_m or (settings.subject_distance_m if settings else None)
    if settings is None or distance_m is None:
        return maps, ExposureSource.ASSUMED
    exposure = settings.exposure(flash_cd=options.flash_cd or DEFAULT_FLASH_CD, distance_m=distance_m)
    # Without the flash's intensity, the settings are no better than the assumption.
    trust = 0.5 if options.flash_cd is None else 1.0
    return match_exposure(maps, *known, float(np.clip(exposure, *EXPOSURES)), trust=trust), ExposureSource.CAMERA


def read_maps(outputs: Tensors) -> SurfaceMaps:
    """The maps in the outputs for one sample; the probability of metal is the metallicness of all pixels."""
    roughness = outputs["roughness"][..., 0]
    metallic = np.full_like(roughness, min(float(outputs["probabilities"][METAL]), 1.0))
    return SurfaceMaps(outputs["albedo"], unit(outputs["normal"]), roughness, metallic)
