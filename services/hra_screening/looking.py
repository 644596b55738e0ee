"""What the network gets to see of a picture: the whole frame and three squares, each squeezed into its input."""

import hashlib
from dataclasses import dataclass
from http import HTTPStatus

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline.api.problems import Problem
from sightline.imaging.colour_spaces.conversion import to_srgb
from sightline.imaging.decoder.pool import decode
from sightline.imaging.limits import PixelLimits
from sightline.imaging.perceptual_hash import perceptual_hash
from sightline.inference.signature import Tensors

LONG_SIDE_PX = 336
"""Of the pictures that the shipped weights were trained on; larger ones are shrunk to it first."""


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A picture's views, (side, side, 3) each, and what is told of the picture itself."""

    sha256: str
    width: int
    height: int
    perceptual_hash: int
    notes: tuple[str, ...]
    views: tuple[NDArray[np.uint8], ...]

    @property
    def samples(self) -> list[Tensors]:
        return [{"image": view} for view in self.views]


@dataclass(frozen=True, slots=True)
class Unreadable:
    sha256: str
    problem: Problem


def look_at(data: bytes, limits: PixelLimits, side_px: int) -> Look | Unreadable:
    """Decoded one at a time and shrunk at once, so that many pictures fit into memory."""
    try:
        picture = decode(data, limits, min_short_side_px=2 * side_px)
    except Problem as problem:
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # the service's fault, not the picture's
            raise
        return Unreadable(hashlib.sha256(data).hexdigest(), problem)
    small = shrink(to_srgb(picture))
    views = tuple(squeezed(part, side_px) for part in (small, *squares(small)))
    width, height = picture.size_px
    return Look(picture.sha256, width, height, perceptual_hash(small), picture.notes, views)


def shrink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = LONG_SIDE_PX / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def squares(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """As large as fit: in the centre, and at both ends of the longer side; of a square picture they would all be it."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    free = height - side, width - side
    if not any(free):
        return []
    corners = (free[0] // 2, free[1] // 2), (0, 0), free
    return [pixels[top : top + side, left : left + side] for top, left in corners]


def squeezed(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """To (side, side, 3), whatever the proportions, by the filter that training uses."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.BICUBIC), np.uint8)
