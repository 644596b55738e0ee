"""Where the holes are: a second picture, the photo's alpha, or shapes."""

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
    MASK = "mask"
    ALPHA = "alpha"
    REGIONS = "regions"


@dataclass(frozen=True, slots=True, eq=False)
class Holes:
    """mask: (h, w) uint8 in the displayed frame, 1 = hole; at least one pixel is known."""

    mask: NDArray[np.uint8]
    source: MaskSource

    def __post_init__(self) -> None:
        if self.mask.all():
            raise Problem(Code.BAD_MASK, "The mask covers the whole picture; nothing is left to go by.")

    @property
    def pixels(self) -> int:
        return int(np.count_nonzero(self.mask))

    @property
    def share(self) -> float:
        return self.pixels / self.mask.size


def find_holes(picture: Picture, mask: bytes | None, regions: Regions | None, limits: PixelLimits) -> Holes:
    """The holes from the one source that was given; alpha counts when it is transparent and nothing else was given."""
    if mask is not None and regions is not None:
        raise Problem(Code.BAD_MASK, "Give a mask or regions, not both.")
    if mask is not None:
        return Holes(decode_mask(mask, picture, limits), MaskSource.MASK)
    if regions is not None:
        return Holes(regions_mask(regions, (picture.height, picture.width)), MaskSource.REGIONS)
    transparent = alpha_mask(picture)
    if not transparent.any():
        raise Problem(Code.BAD_MASK, "Nothing says where the holes are: send a mask, regions, or transparent pixels.")
    return Holes(transparent, MaskSource.ALPHA)


@dataclass(frozen=True, slots=True)
class Region:
    """Holes that touch each other: x1, y1, x2, y2 half-open, and how many pixels."""

    box_xyxy: tuple[int, int, int, int]
    pixels: int


def connected_regions(mask: NDArray[np.uint8]) -> Sequence[Region]:
    """The largest first."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    rows = np.asarray(stats)[1:]
    ordered = rows[np.argsort(-rows[:, cv2.CC_STAT_AREA], kind="stable")].tolist()
    return [Region((left, top, left + width, top + height), area) for left, top, width, height, area in ordered]
