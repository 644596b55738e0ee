"""Small square patches of a picture, described by few numbers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.inpaint.levels import Floats

RADIUS_PX = 3
SIDE_PX = 2 * RADIUS_PX + 1
COMPONENTS = 20
TRAINED_ON = 3000  # patches are enough to find the principal components of all
AT_ONCE = 16_384  # bounds the memory that patches take

Spots = NDArray[np.int32]
"""(n,) centres of patches, as flat indices into a bordered picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Plane:
    """A picture with a mirrored border, so that every pixel is the centre of a patch: (h * w, channels) in 0..255."""

    values: Floats
    height: int
    width: int

    @property
    def around(self) -> Spots:
        """From the centre of a patch to its pixels, row by row."""
        steps = np.arange(-RADIUS_PX, RADIUS_PX + 1, dtype=np.int32)
        return np.asarray(steps[:, None] * self.width + steps, np.int32).ravel()

    def inner(self) -> Floats:
        """(h, w, channels) without the border; shares memory."""
        whole = self.values.reshape(self.height, self.width, -1)
        return whole[RADIUS_PX:-RADIUS_PX, RADIUS_PX:-RADIUS_PX]

    def patches(self, spots: Spots) -> Floats:
        """(n, pixels, channels)"""
        found: Floats = self.values[spots[:, None] + self.around]
        return found

    def places(self, spots: Spots) -> NDArray[np.int32]:
        """(n, 2) rows and columns"""
        return np.stack([spots // self.width, spots % self.width], 1)


def border(values: Floats) -> Plane:
    """A copy of (h, w, channels)."""
    padded = np.pad(values, ((RADIUS_PX, RADIUS_PX), (RADIUS_PX, RADIUS_PX), (0, 0)), mode="symmetric")
    return Plane(padded.reshape(-1, values.shape[2]), padded.shape[0], padded.shape[1])


def spots_of(flags: NDArray[np.bool_]) -> Spots:
    """The flagged pixels (h, w) of a picture without its border."""
    return np.flatnonzero(np.pad(flags, RADIUS_PX)).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """How patches are told apart: (values, features) principal components of them, around their mean."""

    basis: Floats
    mean: Floats

    def look(self, plane: Plane, spots: Spots) -> Floats:
        """(n, features), whose squared distances are those of patches, for each pixel and channel."""
        parts = [(_rows(plane, some) - self.mean) @ self.basis for some in _chunks(spots)]
        return np.asarray(np.concatenate(parts) * np.float32(len(self.mean) ** -0.5), np.float32)


def train(plane: Plane, spots: Spots) -> Eye:
    some = spots[np.linspace(0, len(spots) - 1, min(len(spots), TRAINED_ON)).astype(np.intp)]
    rows = _rows(plane, some)
    mean = rows.mean(0)
    _, vectors = np.linalg.eigh((rows - mean).T @ (rows - mean))
    return Eye(np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS], np.float32), mean)


def _rows(plane: Plane, spots: Spots) -> Floats:
    return plane.patches(spots).reshape(len(spots), -1)


def _chunks(spots: Spots) -> Iterator[Spots]:
    return (spots[first : first + AT_ONCE] for first in range(0, len(spots), AT_ONCE))
