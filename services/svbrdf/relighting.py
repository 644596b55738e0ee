"""The surface under other lights: one picture at the photo's size, or a turn of the light around it."""

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from services.svbrdf.light import LinearPhoto
from services.svbrdf.upsampling import DetailedMaps
from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.materials.maps import Floats
from sightline.materials.rendering import Camera, shade

TURNTABLE_PX = 400
FRAME_MS = 80
Light = tuple[float, float, float]


def light_at(azimuth_deg: float, elevation_deg: float) -> Light:
    """At distance 1 from the middle of the surface; 0 and 0 is far right, 90 of elevation at the camera."""
    azimuth, elevation = np.deg2rad([azimuth_deg, elevation_deg])
    across = np.cos(elevation)
    return float(across * np.cos(azimuth)), float(across * np.sin(azimuth)), float(np.sin(elevation) - 1)


def relit(maps: DetailedMaps, photo: LinearPhoto, camera: Camera, light: Light) -> NDArray[np.uint8]:
    """(h, w, 3) sRGB"""
    result = np.empty((photo.height, photo.width, 3), np.uint8)
    for rows, band in maps.bands(photo):
        result[rows] = shown(shade(band, camera.points(photo.height, photo.width, rows), light))
    return result


def turntable(
    maps: DetailedMaps, photo: LinearPhoto, camera: Camera, *, elevation_deg: float, frames: int
) -> list[NDArray[np.uint8]]:
    """Small sRGB pictures, the light going once around."""
    small = photo.within(TURNTABLE_PX)
    whole, points = maps.whole(small), camera.points(small.height, small.width)
    angles = 360 * np.arange(frames) / frames
    return [shown(shade(whole, points, light_at(float(angle), elevation_deg))) for angle in angles]


def shown(light: Floats) -> NDArray[np.uint8]:
    return np.asarray(np.rint(255 * encode_srgb(np.clip(light, 0, 1))), np.uint8)


def animation(frames: Sequence[NDArray[np.uint8]], file_format: str) -> bytes:
    """An endless `PNG` or `GIF`."""
    images, file = [Image.fromarray(frame) for frame in frames], BytesIO()
    if file_format == "GIF":
        # One palette for all: colours must not flicker, and finding one takes longer than drawing the frames.
        palette = Image.fromarray(np.concatenate(frames[:: max(1, len(frames) // 4)])).quantize()
        images = [image.quantize(palette=palette) for image in images]
    images[0].save(file, file_format, save_all=True, append_images=images[1:], duration=FRAME_MS, loop=0)
    return file.getvalue()
