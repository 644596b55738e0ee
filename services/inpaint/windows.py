"""Square windows that show the network every hole pixel with enough of its surroundings."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import cv2
import numpy as np
from numpy.typing import NDArray

BLOCK_PX = 16
MARGIN_PX = 64  # least context between a hole pixel and the edge of the window that answers for it
ALONE_SHARE = 0.6  # of a window's side that a group of holes may take when the window is its own


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open: rows top..bottom, columns left..right."""

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
class Window:
    """A square of `side_px`; it reaches past the picture's far edges only when the picture is smaller."""

    top: int
    left: int
    side_px: int

    @property
    def area(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.side_px), slice(self.left, self.left + self.side_px)


def cover(todo: NDArray[np.uint8], sides_px: Sequence[int]) -> list[Window]:
    """Windows over all pixels of `todo` (h, w), 1 = to do, of the given sides in rising order.

    Never more than a plain grid of the largest side would take.
    """
    largest, (height, width) = sides_px[-1], todo.shape
    grid = list(_grid(todo, Box(0, 0, height, width), largest))
    windows: list[Window] = []
    covered = np.zeros(_blocks(todo).shape, bool)
    for group in _groups(todo):
        if not covered[_block_area(group)].all():
            added = list(_around(todo, group, sides_px))
            windows += added
            for window in added:
                covered[_core_blocks(window, height, width)] = True
    return min(windows, grid, key=network_pixels)


def network_pixels(windows: Sequence[Window]) -> int:
    """What the windows cost: the pixels that the network will see."""
    return sum(window.side_px**2 for window in windows)


def _around(todo: NDArray[np.uint8], group: Box, sides_px: Sequence[int]) -> Iterator[Window]:
    for side in sides_px:
        if group.longer_px <= side * ALONE_SHARE or max(todo.shape) <= side:
            yield _centred(group, side, todo.shape)
            return
    yield from _grid(todo, group, sides_px[-1])


def _grid(todo: NDArray[np.uint8], box: Box, side_px: int) -> Iterator[Window]:
    """One window for each cell of the box that holds something to do; cells leave a margin on all sides."""
    for rows, columns in product(_cells(box.top, box.bottom, side_px), _cells(box.left, box.right, side_px)):
        found = _tight(todo, Box(rows[0], columns[0], rows[1], columns[1]))
        if found:
            yield _centred(found, side_px, todo.shape)


def _cells(start: int, stop: int, side_px: int) -> list[tuple[int, int]]:
    count = -(-(stop - start) // (side_px - 2 * MARGIN_PX))
    edges = [start + (stop - start) * at // count for at in range(count + 1)]
    return list(pairwise(edges))


def _tight(todo: NDArray[np.uint8], box: Box) -> Box | None:
    left, top, width, height = cv2.boundingRect(todo[box.area])
    if not width:
        return None
    return Box(box.top + top, box.left + left, box.top + top + height, box.left + left + width)


def _centred(box: Box, side_px: int, shape: tuple[int, ...]) -> Window:
    top = _shifted((box.top + box.bottom - side_px) // 2, side_px, shape[0])
    return Window(top, _shifted((box.left + box.right - side_px) // 2, side_px, shape[1]), side_px)


def _shifted(start: int, side_px: int, length: int) -> int:
    return max(0, min(start, length - side_px))


def _groups(todo: NDArray[np.uint8]) -> list[Box]:
    """Boxes around holes that lie close together, the largest first."""
    near = cv2.dilate(_blocks(todo), np.ones((3, 3), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(near, connectivity=8)
    boxes = []
    for left, top, width, height, _ in np.asarray(stats)[1:] * BLOCK_PX:
        bottom, right = min(top + height, todo.shape[0]), min(left + width, todo.shape[1])
        found = _tight(todo, Box(int(top), int(left), int(bottom), int(right)))
        boxes += [found] if found else []
    return sorted(boxes, key=lambda box: box.longer_px, reverse=True)


def _blocks(todo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Which blocks hold something to do; the mean of a single 255 in a block still rounds up to 1."""
    height, width = todo.shape
    rows, columns = -(-height // BLOCK_PX), -(-width // BLOCK_PX)
    padded = cv2.copyMakeBorder(
        todo * 255, 0, rows * BLOCK_PX - height, 0, columns * BLOCK_PX - width, cv2.BORDER_CONSTANT, value=0
    )
    return np.asarray(cv2.resize(padded, (columns, rows), interpolation=cv2.INTER_AREA) > 0, np.uint8)


def _block_area(box: Box) -> tuple[slice, slice]:
    return (
        slice(box.top // BLOCK_PX, -(-box.bottom // BLOCK_PX)),
        slice(box.left // BLOCK_PX, -(-box.right // BLOCK_PX)),
    )


def _core_blocks(window: Window, height: int, width: int) -> tuple[slice, slice]:
    rows, columns = _core(window.top, window.side_px, height), _core(window.left, window.side_px, width)
    return rows, columns


def _core(start: int, side_px: int, length: int) -> slice:
    """Whole blocks that a window answers for: away from its edges, but up to the picture's."""
    first = 0 if start == 0 else -(-(start + MARGIN_PX) // BLOCK_PX)
    last = -(-length // BLOCK_PX) if start + side_px >= length else (start + side_px - MARGIN_PX) // BLOCK_PX
    return slice(first, max(first, last))
