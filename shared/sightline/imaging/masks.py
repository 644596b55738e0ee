"""Hole masks from mask pictures, alpha channels and regions: (h, w) uint8 in the displayed frame, 1 = hole."""

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sightline.api.problems import Code, Problem
from sightline.imaging.bit_depth import to_8_bit
from sightline.imaging.decoder.pool import decode
from sightline.imaging.limits import PixelLimits
from sightline.imaging.orientation import swaps_sides, to_displayed
from sightline.imaging.picture import Picture
from sightline.imaging.regions import Box, Regions

Mask = NDArray[np.uint8]
Points = NDArray[np.float64]

_HALF = 128
_ASPECT_TOLERANCE = 0.01
_TOP_PX = -4096.0  # shapes that start above the photo by less than this are filled unclipped
# Each bound is about a third of a second; a contour crosses each row of a photo a few times.
_MAX_EDGE_ROWS, _MAX_FILLED_PX = 10_000_000, 10_000_000_000


def decode_mask(data: bytes, picture: Picture, limits: PixelLimits) -> Mask:
    """Decodes a mask picture, in which pixels lighter than half are holes and transparent ones are black.

    A mask of another size is scaled to the photo without smoothing. A mask of the photo's stored frame, recognised by
    its aspect ratio, is rotated with the photo. Raises Problem BAD_MASK for unreadable masks.
    """
    mask = _decode(data, limits)
    holes = (_lightness(mask) >= _HALF).astype(np.uint8)
    if mask.orientation == 1 and _fits_stored_frame_only(mask, picture):
        holes = np.asarray(to_displayed(holes, picture.orientation), np.uint8)
    return _scale_to(holes, picture)


def alpha_mask(picture: Picture) -> Mask:
    """Returns the pixels that are at least half transparent; raises Problem BAD_MASK without an alpha channel."""
    if picture.alpha is None:
        raise Problem(
            Code.BAD_MASK,
            "The holes are missing: send a 'mask' or 'regions', or a photo with transparent pixels.",
        )
    return (to_8_bit(picture.alpha) < _HALF).astype(np.uint8)


def regions_mask(regions: Regions | Mapping[str, Any], size: tuple[int, int]) -> Mask:
    """Returns the pixels whose centres lie in a polygon or box, and those that a polygon's outline crosses.

    size: height and width of the displayed photo, to which shapes are clipped. Raises Problem BAD_MASK for invalid
    regions and for shapes that take too long to fill.
    """
    checked = _validate(regions)
    polygons = [_clip_above(np.array(polygon, np.float64)) for polygon in checked.polygons]
    _require_bounded_cost(polygons, checked.boxes, size)
    mask = np.zeros(size, np.uint8)
    for polygon in polygons:
        _fill_polygon(mask, polygon)
    for box in checked.boxes:
        _fill_box(mask, box)
    return mask


def _decode(data: bytes, limits: PixelLimits) -> Picture:
    try:
        return decode(data, limits)
    except Problem as problem:
        code = Code.BAD_MASK if problem.code is Code.UNREADABLE_IMAGE else problem.code
        raise Problem(code, f"Mask: {problem.detail}", **problem.facts) from problem


def _lightness(mask: Picture) -> NDArray[np.uint8]:
    grey = np.asarray(cv2.cvtColor(to_8_bit(mask.pixels), cv2.COLOR_RGB2GRAY), np.uint8)
    if mask.alpha is None:
        return grey
    return np.asarray(cv2.multiply(grey, to_8_bit(mask.alpha), scale=1 / 255), np.uint8)


def _fits_stored_frame_only(mask: Picture, picture: Picture) -> bool:
    if not swaps_sides(picture.orientation):
        return False
    width, height = picture.size_px
    if mask.size_px in ((width, height), (height, width)):
        return mask.size_px == (height, width) and width != height
    return _same_aspect(mask.size_px, (height, width)) and not _same_aspect(mask.size_px, (width, height))


def _same_aspect(size_px: tuple[int, int], other_px: tuple[int, int]) -> bool:
    return abs(size_px[0] * other_px[1] / (size_px[1] * other_px[0]) - 1) < _ASPECT_TOLERANCE


def _scale_to(holes: Mask, picture: Picture) -> Mask:
    if holes.shape == (picture.height, picture.width):
        return holes
    scaled = cv2.resize(holes, (picture.width, picture.height), interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(scaled, np.uint8)


def _validate(regions: Regions | Mapping[str, Any]) -> Regions:
    if isinstance(regions, Regions):
        return regions
    try:
        return Regions.model_validate(regions)
    except ValidationError:
        raise Problem(Code.BAD_MASK, "The regions are not valid polygons and boxes.") from None


def _clip_above(points: Points) -> Points:
    """Clips a polygon (n, 2) far above the picture: OpenCV visits every row from the polygon's topmost point."""
    after = np.roll(points, -1, axis=0)
    inside, after_inside = points[:, 1] >= _TOP_PX, after[:, 1] >= _TOP_PX
    steps = np.where(inside == after_inside, 1.0, after[:, 1] - points[:, 1])
    crossings_x = points[:, 0] + (after[:, 0] - points[:, 0]) * (_TOP_PX - points[:, 1]) / steps
    crossings = np.column_stack([crossings_x, np.full(len(points), _TOP_PX)])
    kept = np.column_stack([inside, inside != after_inside]).ravel()
    cut: Points = np.stack([points, crossings], axis=1).reshape(-1, 2)[kept]
    return cut


def _require_bounded_cost(polygons: Sequence[Points], boxes: Sequence[Box], size: tuple[int, int]) -> None:
    """Raises if filling takes too long: its time grows with the rows that edges cross and the pixels of shapes."""
    height, width = size
    rows, pixels = 0.0, 0.0
    for x, y in (polygon.T for polygon in polygons if len(polygon)):
        rows += np.abs(np.diff(np.clip(y, _TOP_PX, height), append=np.clip(y[0], _TOP_PX, height))).sum()
        pixels += np.ptp(np.clip(x, 0, width)) * np.ptp(np.clip(y, 0, height))
    for left, top, right, bottom in boxes:
        pixels += np.ptp(np.clip([left, right], 0, width)) * np.ptp(np.clip([top, bottom], 0, height))
    if rows > _MAX_EDGE_ROWS or pixels > _MAX_FILLED_PX:
        raise Problem(
            Code.BAD_MASK,
            "The regions take too long to fill: their edges cross too many rows of the photo, or they overlap too "
            "often. Send a mask instead.",
            max_edge_rows=_MAX_EDGE_ROWS,
            max_filled_pixels=_MAX_FILLED_PX,
        )


def _fill_polygon(mask: Mask, polygon: Points) -> None:
    if not len(polygon):
        return
    # OpenCV measures from the centre of the first pixel, regions from its corner; steps of 1/256 pixel.
    fixed_point = np.rint((polygon - 0.5) * 256).astype(np.int32)
    cv2.fillPoly(mask, [fixed_point], 1, lineType=cv2.LINE_8, shift=8)


def _fill_box(mask: Mask, box: tuple[float, float, float, float]) -> None:
    left, top, right, bottom = (max(0, int(np.rint(side))) for side in box)
    mask[top:bottom, left:right] = 1
