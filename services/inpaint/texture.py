"""Fine detail that no network predicts, taken from known parts of the photo that look alike when coarse."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from services.inpaint.levels import Fill, Floats, Level, Pixels
from services.inpaint.matching import Looks, Places, match

BLOCK_PX = 32
MOST_DETAIL = 6  # levels of 255: grain passes, edges of other things hardly show
RISE_PX = 3  # depth at which the detail has come up in full
SAMPLES = 6  # a patch's coarse look is 6 x 6 colours: 4 x 4 for the block, one more all around


@dataclass(frozen=True, slots=True)
class Block:
    """Detail is copied in patches that reach a ring beyond the block and fade out across it."""

    side_px: int

    @property
    def ring_px(self) -> int:
        return self.side_px // 4

    @property
    def patch_px(self) -> int:
        return self.side_px + 2 * self.ring_px

    @property
    def step_px(self) -> int:
        """Between the places that blocks may be copied from."""
        return self.side_px // 2

    def taper(self) -> Floats:
        """(patch, patch, 1) weights; those of blocks side by side add up to 1."""
        ramp = (np.arange(2 * self.ring_px) + 0.5) / (2 * self.ring_px)
        line = np.concatenate([ramp, np.ones(self.side_px - 2 * self.ring_px), ramp[::-1]])
        return np.asarray(np.outer(line, line)[..., None], np.float32)


def add_texture(level: Level, coarse: Pixels, fill: Fill, depth_px: Floats) -> None:
    """Add to the fill the detail that the half-sized picture `coarse` cannot hold.

    depth_px: (h, w) distance to known pixels, next to which the network's own detail is left alone.
    """
    block = Block(BLOCK_PX)
    looks = Looks(_features(level, coarse, block), _usable(level, block))
    targets = _holed_places(level, block)
    if targets.size and looks.usable.any():
        taper = block.taper()
        for target, source in zip(targets.tolist(), match(looks, targets).tolist(), strict=True):
            _add(fill, depth_px, _detail(level, coarse, source, block) * taper, target, block)


def _detail(level: Level, coarse: Pixels, place: list[int], block: Block) -> Floats:
    top, left = (at * block.step_px - block.ring_px for at in place)
    half, size = block.patch_px // 2, block.patch_px
    low = coarse[top // 2 : top // 2 + half, left // 2 : left // 2 + half]
    enlarged = cv2.resize(low, (size, size), interpolation=cv2.INTER_CUBIC)
    patch = level.pixels[top : top + size, left : left + size].astype(np.float32)
    return np.asarray(np.clip(patch - enlarged, -MOST_DETAIL, MOST_DETAIL) * 257, np.float32)


def _add(fill: Fill, depth_px: Floats, detail: Floats, place: list[int], block: Block) -> None:
    top, left = (at * block.step_px - block.ring_px for at in place)
    area = slice(max(top, 0), top + block.patch_px), slice(max(left, 0), left + block.patch_px)
    share = np.minimum(depth_px[area] / RISE_PX, 1)[..., None]
    inside = detail[area[0].start - top :, area[1].start - left :][: share.shape[0], : share.shape[1]]
    fill[area] = np.clip(fill[area] + inside * share, 0, 65535)


def _holed_places(level: Level, block: Block) -> Places:
    rows, columns = _whole_blocks(level, block)
    padded = _padded(level.hole, rows * block.side_px, columns * block.side_px, ring_px=0, hole_value=0)
    holed = padded.reshape(rows, block.side_px, columns, block.side_px).any((1, 3))
    return np.argwhere(holed) * 2


def _usable(level: Level, block: Block) -> NDArray[np.bool_]:
    """Where the whole patch lies in the picture and is known."""
    rows, columns = (count * block.side_px for count in _whole_blocks(level, block))
    padded = _padded(level.hole, rows, columns, ring_px=block.ring_px, hole_value=1)
    size = (padded.shape[1] // block.ring_px, padded.shape[0] // block.ring_px)
    holed = cv2.resize(padded * 255, size, interpolation=cv2.INTER_AREA)
    return np.asarray(sliding_window_view(holed, (SAMPLES, SAMPLES)).max((2, 3)) == 0)[::2, ::2]


def _features(level: Level, coarse: Pixels, block: Block) -> Floats:
    """(rows, columns, features) of all places: the colours of the patch in `coarse`."""
    rows, columns = (count * block.side_px // 2 for count in _whole_blocks(level, block))
    ring = block.ring_px // 2
    below, right = rows - coarse.shape[0] + ring, columns - coarse.shape[1] + ring
    padded = cv2.copyMakeBorder(coarse, ring, below, ring, right, cv2.BORDER_REPLICATE)
    size = (padded.shape[1] // ring, padded.shape[0] // ring)
    samples = cv2.resize(padded, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    patches = sliding_window_view(samples, (SAMPLES, SAMPLES), (0, 1))[::2, ::2]
    return patches.reshape(*patches.shape[:2], -1)


def _whole_blocks(level: Level, block: Block) -> tuple[int, int]:
    height, width = level.size
    return -(-height // block.side_px), -(-width // block.side_px)


def _padded(hole: Pixels, height: int, width: int, *, ring_px: int, hole_value: int) -> Pixels:
    below, right = height - hole.shape[0] + ring_px, width - hole.shape[1] + ring_px
    padded = cv2.copyMakeBorder(hole, ring_px, below, ring_px, right, cv2.BORDER_CONSTANT, value=hole_value)
    return np.asarray(padded, np.uint8)
