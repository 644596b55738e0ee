"""What is asked of the predictor and what comes out of it, before any encoding."""

from collections.abc import Mapping
from dataclasses import dataclass

from services.svbrdf.light import LinearPhoto
from services.svbrdf.schemas import MaterialType, SvbrdfOptions
from services.svbrdf.upsampling import DetailedMaps
from sightline.imaging.picture import Picture
from sightline.materials.rendering import Camera


@dataclass(frozen=True, slots=True, eq=False)
class SvbrdfRequest:
    picture: Picture
    options: SvbrdfOptions


@dataclass(frozen=True, slots=True, eq=False)
class SvbrdfResult:
    """maps: applied to `photo`, they have its size; probabilities: by type, they add up to 1."""

    request: SvbrdfRequest
    photo: LinearPhoto
    camera: Camera
    maps: DetailedMaps
    probabilities: Mapping[MaterialType, float]
    mean_roughness: float
    rerender_rmse: float
