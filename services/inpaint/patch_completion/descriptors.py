"""Square patches of an image and their descriptors, the lowest frequencies of their values."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from services.inpaint.pyramid import Floats

PATCH_RADIUS_PX = 3
PATCH_SIDE_PX = 2 * PATCH_RADIUS_PX + 1
# Frequencies (down plus across) up to which lightness is described, and each of two differences of colours.
MAX_LIGHTNESS_FREQUENCY, MAX_COLOUR_FREQUENCY = 4, 1
# Orthonormal opponent colours, so that distances stay those of red, green and blue.
OPPONENT = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float32) / np.sqrt(np.array([[3], [2], [6]], np.float32))

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


def describe(values: Floats) -> Floats:
    """Returns (h, w, components) descriptors of the patches around all pixels of (h, w, channels).

    Their squared distances are mean squared differences of the patches' values, of low frequencies only: those of a
    discrete cosine transform, which separable filters compute ten times as fast as principal components. The first
    three channels are colours; of the others, which are smooth, the patch's mean is taken. Descriptors within a
    patch's radius of an edge depend on values beyond it.
    """
    planes = cv2.split(cv2.transform(values[..., :3], OPPONENT))
    frequencies = (MAX_LIGHTNESS_FREQUENCY, MAX_COLOUR_FREQUENCY, MAX_COLOUR_FREQUENCY)
    filtered = [
        cv2.sepFilter2D(plane, cv2.CV_32F, COSINES[across], COSINES[down])
        for plane, highest in zip(planes, frequencies, strict=True)
        for down in range(highest + 1)
        for across in range(highest + 1 - down)
    ]
    filtered += [
        cv2.sepFilter2D(values[..., channel], cv2.CV_32F, COSINES[0], COSINES[0])
        for channel in range(3, values.shape[2])
    ]
    scale = np.float32((PATCH_SIDE_PX**2 * values.shape[2]) ** -0.5)
    return np.asarray(cv2.merge(filtered) * scale, np.float32)


def _cosines() -> list[Floats]:
    """Returns the orthonormal basis of the discrete cosine transform of a patch's side, the lowest first."""
    at = (np.arange(PATCH_SIDE_PX) + 0.5) * np.pi / PATCH_SIDE_PX
    rows = [np.cos(frequency * at) for frequency in range(PATCH_SIDE_PX)]
    return [np.asarray(row / np.linalg.norm(row), np.float32) for row in rows]


COSINES = _cosines()
