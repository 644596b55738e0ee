"""Regular layouts: courses of bricks and boards, woven threads, embossed bumps."""

from dataclasses import dataclass

import numpy as np

from sightline.training.svbrdf.procedural.noise import Field, Rng, inside, smoothstep


@dataclass(frozen=True, slots=True, eq=False)
class Courses:
    """Rows of blocks: one id for each block, the depth of a pixel inside its block in px, and the position in it."""

    ids: np.ndarray[tuple[int, ...], np.dtype[np.int32]]
    depth: Field
    along: Field
    across: Field

    def values(self, rng: Rng, low: float = 0.0, high: float = 1.0) -> Field:
        return rng.uniform(low, high, int(self.ids.max()) + 1).astype(np.float32)[self.ids]

    def raised(self, gap_px: float, bevel_px: float) -> Field:
        """0 in the gaps, 1 on the blocks."""
        return smoothstep(gap_px, gap_px + bevel_px, self.depth)


def courses(rng: Rng, size: int, rows: float, columns: float, *, shift: float, ragged: float = 0.0) -> Courses:
    """Rows of blocks, each row shifted by this share of a block; ragged ones by random amounts."""
    y, x = (np.mgrid[:size, :size] / size).astype(np.float32)
    row = np.floor(y * rows).astype(int)
    offsets = shift * (np.arange(row.max() + 1) % 2) + ragged * rng.uniform(0, 1, row.max() + 1)
    along = x * columns + offsets[row]
    column = np.floor(along).astype(int)
    ids = (row * (column.max() + 1) + column).astype(np.int32)
    return Courses(ids, inside(ids), (along - column).astype(np.float32), (y * rows - row).astype(np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Weave:
    """height in 0..1; `over`: 1 where the warp, whose threads run down, lies on top; `thread`: its number there."""

    height: Field
    over: Field
    thread: np.ndarray[tuple[int, ...], np.dtype[np.int32]]


def weave(size: int, threads: float, *, twill: int = 1, gap: float = 0.15) -> Weave:
    """Plain weave, or a twill that steps by one thread in each row and floats over so many."""
    y, x = (np.mgrid[:size, :size] * threads / size).astype(np.float32)
    column, row = np.floor(x).astype(int), np.floor(y).astype(int)
    over = (column + row) % (twill + 1) < (twill + 1) / 2
    down, right = (np.sin(np.pi * (each % 1)) for each in (x, y))
    crown = np.where(over, down * (0.6 + 0.4 * right), right * (0.6 + 0.4 * down))
    height = np.clip((crown - gap) / (1 - gap), 0, 1)
    thread = np.where(over, column, row + column.max() + 1)
    return Weave(height.astype(np.float32), over.astype(np.float32), thread.astype(np.int32))


def bumps(size: int, count: float, *, radius: float = 0.35, staggered: bool = True, long: float = 1.0) -> Field:
    """Round or, if long, lozenge-shaped bumps in rows, in 0..1; every other one of the long ones is turned."""
    y, x = (np.mgrid[:size, :size] * count / size).astype(np.float32)
    row = np.floor(y)
    x = x + (row % 2) / 2 if staggered else x
    u, v = x % 1 - 0.5, y % 1 - 0.5
    turned = (np.floor(x) + row) % 2 == 0
    a, b = np.where(turned, u + v, u - v) / 2**0.5, np.where(turned, u - v, u + v) / 2**0.5
    reach = np.sqrt(a**2 + (b * long) ** 2) if long > 1 else np.hypot(u, v)
    return smoothstep(0, radius, np.asarray(radius - reach, np.float32))
