"""Whether maps explain the photo they were estimated from."""

import numpy as np

from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.imaging.surfaces.camera import Camera
from sightline.imaging.surfaces.maps import Floats, Maps
from sightline.imaging.surfaces.shading import AT_CAMERA, shade

CLIPPED = 0.98


def rerender(maps: Maps, camera: Camera) -> Floats:
    """Linear light (h, w, 3) under a flash at the camera."""
    return shade(maps, camera.points(maps.height, maps.width), AT_CAMERA)


def rerender_rmse(maps: Maps, light: Floats, camera: Camera) -> float:
    """Root mean square difference in sRGB 0..1 of the photo and a render under a flash at the camera."""
    rendered = rerender(maps, camera)
    shown = np.clip(fit_exposure(light, rendered) * rendered, 0, 1)
    error = encode_srgb(light) - encode_srgb(shown)
    return float(np.sqrt(np.mean(error.astype(np.float64) ** 2)))


def fit_exposure(light: Floats, rendered: Floats) -> float:
    """By which a render fits the photo best where that is not clipped: nobody knows how bright the flash was."""
    seen = (light < CLIPPED).all(axis=2)
    shown, drawn = (light[seen], rendered[seen]) if seen.any() else (light, rendered)
    return float((shown * drawn).sum() / max(float((drawn * drawn).sum()), 1e-12))
