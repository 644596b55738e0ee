"""What is asked of the predictor and what comes out of it, before any encoding."""

from dataclasses import dataclass

from services.hdr_correct.scene import Scene
from services.hdr_correct.schemas import Exposure, HdrOptions
from sightline.imaging.picture import Picture, Samples


@dataclass(frozen=True, slots=True, eq=False)
class HdrRequest:
    picture: Picture
    options: HdrOptions


@dataclass(frozen=True, slots=True, eq=False)
class HdrResult:
    """pixels: (h, w, 3), corrected, in the photo's colour space; of 16 bits where the options or the photo have it.

    applied: share of the network's correction, 0..1; scene_stops: the range of the scene's luminance.
    """

    request: HdrRequest
    pixels: Samples
    scene: Scene
    scene_stops: float
    applied: float
    exposure: Exposure
