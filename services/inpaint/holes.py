"""Holes of a photo, from a mask picture, from regions, or from the photo's alpha channel."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.api.problems import Code, Problem
from sightline.imaging.limits import PixelLimits
from sightline.imaging.masks import alpha_mask, decode_mask, regions_mask
from sightline.imaging.picture import Picture
from sightline.imaging.regions import Regions


class MaskSource(StrEnum):
    """Sources of the holes, as the record names them."""

    MASK = "mask"
    ALPHA = "alpha"
    REGIONS = "regions"


@dataclass(frozen=True, slots=True, eq=False)
class Holes:
    """Holes of a photo: mask (h, w) uint8 in the displayed frame, 1 = hole; at least one pixel is known."""

    mask: NDArray[np.uint8]
    source: MaskSource

    def __post_init__(self) -> None:
        if self.mask.all():
            raise Problem(Code.BAD_MASK, "The mask covers the whole picture; leave at least one pixel unmasked.")

    @property
    def pixels(self) -> int:
        return int(np.count_nonzero(self.mask))

    @property
    def share(self) -> float:
        return self.pixels / self.mask.size


def find_holes(picture: Picture, mask: bytes | None, regions: Regions | None, limits: PixelLimits) -> Holes:
    """Returns the holes from the mask or the regions, or else from transparent pixels.

    Raises Problem BAD_MASK if both or no source is given, or if the mask cannot be read.
    """
    if mask is not None and regions is not None:
        raise Problem(Code.BAD_MASK, "The request has both a mask and regions; send one of them.")
    if mask is not None:
        return Holes(decode_mask(mask, picture, limits), MaskSource.MASK)
    if regions is not None:
        return Holes(regions_mask(regions, (picture.height, picture.width)), MaskSource.REGIONS)
    transparent = alpha_mask(picture)
    if not transparent.any():
        raise Problem(Code.BAD_MASK, "The holes are missing: send a mask, regions, or a photo with transparent pixels.")
    return Holes(transparent, MaskSource.ALPHA)


@dataclass(frozen=True, slots=True)
class HoleRegion:
    """A connected region of holes: bounding box x1, y1, x2, y2, half-open, and number of pixels."""

    box_xyxy: tuple[int, int, int, int]
    pixels: int


def connected_regions(mask: NDArray[np.uint8]) -> Sequence[HoleRegion]:
    """Returns the 8-connected regions, the largest first."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    rows = np.asarray(stats)[1:]
    ordered = rows[np.argsort(-rows[:, cv2.CC_STAT_AREA], kind="stable")].tolist()
    return [HoleRegion((left, top, left + width, top + height), area) for left, top, width, height, area in ordered]
