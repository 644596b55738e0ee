"""Cover of the holes by square windows for the network, with enough context around every hole pixel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 16
MARGIN_PX = 64  # minimum context between a hole pixel and the edge of the window that covers it
MAX_GROUP_SHARE = 0.6  # of a window's side that a group of holes may take if the window is centred on it


@dataclass(frozen=True, slots=True)
class HoleBox:
    """Bounding box of holes, half-open: rows top..bottom, columns left..right."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def longer_px(self) -> int:
        return max(self.bottom - self.top, self.right - self.left)

    @property
    def area(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)


@dataclass(frozen=True, slots=True)
class NetworkWindow:
    """Square input of the network; reaches past the bottom and right edges only if the photo is smaller than it."""

    top: int
    left: int
    side_px: int

    @property
    def area(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.side_px), slice(self.left, self.left + self.side_px)


def cover(missing: NDArray[np.uint8], sides_px: Sequence[int]) -> list[NetworkWindow]:
    """Returns windows over all missing pixels (h, w), 1 = missing; `sides_px` are the possible sides in rising order.

    Costs no more than a plain grid of the largest side.
    """
    largest, (height, width) = sides_px[-1], missing.shape
    grid = list(_grid(missing, HoleBox(0, 0, height, width), largest))
    windows: list[NetworkWindow] = []
    covered = np.zeros(_blocks(missing).shape, bool)
    for group in _groups(missing):
        if not covered[_block_area(group)].all():
            added = list(_around(missing, group, sides_px))
            windows += added
            for window in added:
                covered[_core_blocks(window, height, width)] = True
    return min(windows, grid, key=network_pixels)


def network_pixels(windows: Sequence[NetworkWindow]) -> int:
    """Returns the cost of windows: the number of pixels that the network processes."""
    return sum(window.side_px**2 for window in windows)


def _around(missing: NDArray[np.uint8], group: HoleBox, sides_px: Sequence[int]) -> Iterator[NetworkWindow]:
    for side in sides_px:
        if group.longer_px <= side * MAX_GROUP_SHARE or max(missing.shape) <= side:
            yield _centred(group, side, missing.shape)
            return
    yield from _grid(missing, group, sides_px[-1])


def _grid(missing: NDArray[np.uint8], box: HoleBox, side_px: int) -> Iterator[NetworkWindow]:
    """Yields a window for each cell of the box with missing pixels; cells leave a margin on all sides."""
    for rows, columns in product(_cells(box.top, box.bottom, side_px), _cells(box.left, box.right, side_px)):
        found = _tight(missing, HoleBox(rows[0], columns[0], rows[1], columns[1]))
        if found:
            yield _centred(found, side_px, missing.shape)


def _cells(start: int, stop: int, side_px: int) -> list[tuple[int, int]]:
    count = -(-(stop - start) // (side_px - 2 * MARGIN_PX))
    edges = [start + (stop - start) * at // count for at in range(count + 1)]
    return list(pairwise(edges))


def _tight(missing: NDArray[np.uint8], box: HoleBox) -> HoleBox | None:
    left, top, width, height = cv2.boundingRect(missing[box.area])
    if not width:
        return None
    return HoleBox(box.top + top, box.left + left, box.top + top + height, box.left + left + width)


def _centred(box: HoleBox, side_px: int, shape: tuple[int, ...]) -> NetworkWindow:
    top = _shifted((box.top + box.bottom - side_px) // 2, side_px, shape[0])
    return NetworkWindow(top, _shifted((box.left + box.right - side_px) // 2, side_px, shape[1]), side_px)


def _shifted(start: int, side_px: int, length: int) -> int:
    return max(0, min(start, length - side_px))


def _groups(missing: NDArray[np.uint8]) -> list[HoleBox]:
    """Returns boxes around groups of adjacent holes, the largest first."""
    near = cv2.dilate(_blocks(missing), np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    boxes = []
    for left, top, width, height, _ in np.asarray(stats)[1:] * BLOCK_PX:
        bottom, right = min(top + height, missing.shape[0]), min(left + width, missing.shape[1])
        found = _tight(missing, HoleBox(int(top), int(left), int(bottom), int(right)))
        boxes += [found] if found else []
    return sorted(boxes, key=lambda box: box.longer_px, reverse=True)


def _blocks(missing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Returns 1 for blocks with missing pixels; the mean of a single 255 in a block still rounds up to 1."""
    height, width = missing.shape
    rows, columns = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    padded = cv2.copyMakeBorder(
        missing * 255, 0, rows * BLOCK_PX - height, 0, columns * BLOCK_PX - width, cv2.BORDER_CONSTANT, value=0
    )
    return np.asarray(cv2.resize(padded, (columns, rows), interpolation=cv2.INTER_AREA) > 0, np.uint8)


def _block_area(box: HoleBox) -> tuple[slice, slice]:
    return (
        slice(box.top // BLOCK_PX, -(-box.bottom // BLOCK_PX)),
        slice(box.left // BLOCK_PX, -(-box.right // BLOCK_PX)),
    )


def _core_blocks(window: NetworkWindow, height: int, width: int) -> tuple[slice, slice]:
    rows, columns = _core(window.top, window.side_px, height), _core(window.left, window.side_px, width)
    return rows, columns


def _core(start: int, side_px: int, length: int) -> slice:
    """Returns the whole blocks that a window covers: away from its edges, except for those of the photo."""
    first = 0 if start == 0 else -(-(start + MARGIN_PX) // BLOCK_PX)
    last = -(-length // BLOCK_PX) if start + side_px >= length else (start + side_px - MARGIN_PX) // BLOCK_PX
    return slice(first, max(first, last))
