"""Square patches of an image and their descriptors, the principal components of their values."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from services.inpaint.pyramid import Floats

PATCH_RADIUS_PX = 3
PATCH_SIDE_PX = 2 * PATCH_RADIUS_PX + 1
COMPONENTS = 20
MAX_FITTED_PATCHES = 3000  # enough to find the principal components of all
CHUNK_PATCHES = 16_384  # bounds the memory of extracted patches

Centres = NDArray[np.int32]
"""(n,) centres of patches, as flat indices into a padded image."""


@dataclass(frozen=True, slots=True, eq=False)
class PaddedImage:
    """An image with a mirrored border, in which every pixel is the centre of a patch.

    values: (h * w, channels) in 0..255; height, width: with the border.
    """

    values: Floats
    height: int
    width: int

    @property
    def patch_offsets(self) -> Centres:
        """Offsets from the centre of a patch to its pixels, row by row."""
        steps = np.arange(-PATCH_RADIUS_PX, PATCH_RADIUS_PX + 1, dtype=np.int32)
        return np.asarray(steps[:, None] * self.width + steps, np.int32).ravel()

    def unpad(self) -> Floats:
        """Returns (h, w, channels) without the border, as a view."""
        whole = self.values.reshape(self.height, self.width, -1)
        return whole[PATCH_RADIUS_PX:-PATCH_RADIUS_PX, PATCH_RADIUS_PX:-PATCH_RADIUS_PX]

    def patches(self, centres: Centres) -> Floats:
        """Returns (n, pixels, channels)."""
        patches: Floats = self.values[centres[:, None] + self.patch_offsets]
        return patches

    def coordinates(self, centres: Centres) -> NDArray[np.int32]:
        """Returns (n, 2) rows and columns, counted with the border."""
        return np.stack([centres // self.width, centres % self.width], 1)


def pad(values: Floats) -> PaddedImage:
    """Returns a padded copy of (h, w, channels)."""
    border = (PATCH_RADIUS_PX, PATCH_RADIUS_PX)
    padded = np.pad(values, (border, border, (0, 0)), mode="symmetric")
    return PaddedImage(padded.reshape(-1, values.shape[2]), padded.shape[0], padded.shape[1])


def centres_of(mask: NDArray[np.bool_]) -> Centres:
    """Returns the pixels of a mask (h, w), which has no border, as centres in the padded image."""
    return np.flatnonzero(np.pad(mask, PATCH_RADIUS_PX)).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class PatchDescriptor:
    """A principal component analysis of patches: basis (values, components) around a mean (values,)."""

    basis: Floats
    mean: Floats

    @classmethod
    def fit(cls, padded: PaddedImage, centres: Centres) -> Self:
        """Fits the components to an even sample of the patches."""
        sample = np.linspace(0, len(centres) - 1, min(len(centres), MAX_FITTED_PATCHES)).astype(np.intp)
        rows = _flat_patches(padded, centres[sample])
        mean = rows.mean(0)
        _, vectors = np.linalg.eigh((rows - mean).T @ (rows - mean))
        return cls(np.ascontiguousarray(vectors[:, ::-1][:, :COMPONENTS], np.float32), mean)

    def describe(self, padded: PaddedImage, centres: Centres) -> Floats:
        """Returns (n, components), whose squared distances are mean squared differences of the patches' values."""
        parts = [(_flat_patches(padded, chunk) - self.mean) @ self.basis for chunk in _chunks(centres)]
        return np.asarray(np.concatenate(parts) * np.float32(len(self.mean) ** -0.5), np.float32)


def _flat_patches(padded: PaddedImage, centres: Centres) -> Floats:
    return padded.patches(centres).reshape(len(centres), -1)


def _chunks(centres: Centres) -> Iterator[Centres]:
    return (centres[first : first + CHUNK_PATCHES] for first in range(0, len(centres), CHUNK_PATCHES))
