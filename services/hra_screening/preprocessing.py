"""Preprocessing of a picture: the whole frame and three square crops, each resized to the network's input."""

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
"""Longer side of the pictures that the shipped weights were trained on; larger ones are shrunk to it first."""


@dataclass(frozen=True, slots=True, eq=False)
class PictureViews:
    """Views of a picture, (side, side, 3) each, with the picture's size, hashes and notes."""

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
class UnreadablePicture:
    """A picture that cannot be decoded, with the reason."""

    sha256: str
    problem: Problem


def preprocess(data: bytes, limits: PixelLimits, side_px: int) -> PictureViews | UnreadablePicture:
    """The views of a picture. Keeps no full-size pixels, so that many pictures fit into memory.

    side_px: side of the network's input. Raises Problem for faults of the service, such as a full decoder.
    """
    try:
        # JPEG decodes much faster at a fraction of its size; twice the input leaves the resizing filter enough pixels.
        picture = decode(data, limits, min_short_side_px=2 * side_px)
    except Problem as problem:
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:  # the service's fault, not the picture's
            raise
        return UnreadablePicture(hashlib.sha256(data).hexdigest(), problem)
    small = shrink(to_srgb(picture))
    views = tuple(resize_to_square(part, side_px) for part in (small, *crop_squares(small)))
    width, height = picture.size_px
    return PictureViews(picture.sha256, width, height, perceptual_hash(small), picture.notes, views)


def shrink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with a longer side of at most LONG_SIDE_PX."""
    height, width = pixels.shape[:2]
    scale = LONG_SIDE_PX / max(height, width)
    if scale >= 1:
        return pixels
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def crop_squares(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    """The largest squares in the centre and at both ends of the longer side; none of a square picture."""
    height, width = pixels.shape[:2]
    side = min(height, width)
    free = height - side, width - side
    if not any(free):
        return []
    corners = (free[0] // 2, free[1] // 2), (0, 0), free
    return [pixels[top : top + side, left : left + side] for top, left in corners]


def resize_to_square(pixels: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """The picture as (side, side, 3), whatever its proportions, by the filter that training uses."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.BICUBIC), np.uint8)
