"""Drafts of generated surfaces: colours, relief and gloss, and their ageing."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from sightline.training.svbrdf.materials import FLAT
from sightline.training.svbrdf.procedural.noise import Field, Rng, fbm, lines, smoothstep

Colour = NDArray[np.float32]
"""(..., 3) sRGB in 0..1."""

ROUGHNESS = (0.06, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A surface before packing.

    albedo: (size, size, 3) sRGB in 0..1; height: in px, like the plane, so that slopes are true; roughness: 0..1.
    """

    albedo: Colour
    height: Field
    roughness: Field
    metallic: float = 0.0

    def maps(self) -> NDArray[np.uint8]:
        """(size, size, 7) as in `TrainingMaterial`."""
        low, high = ROUGHNESS
        albedo, roughness = np.clip(self.albedo, 0, 1), np.clip(self.roughness, low, high)
        return np.asarray(np.rint(2 * FLAT * np.dstack([albedo, (self.normals() + 1) / 2, roughness])), np.uint8)

    def normals(self) -> NDArray[np.float32]:
        """(size, size, 3) with y up."""
        right, down = (cv2.Sobel(self.height, cv2.CV_32F, dx, 1 - dx, scale=1 / 8) for dx in (1, 0))
        vectors = np.dstack([-right, down, np.ones_like(right)])
        return np.asarray(vectors / np.linalg.norm(vectors, axis=2, keepdims=True), np.float32)


def colour(rng: Rng, hue: tuple[float, float], saturation: tuple[float, float], value: tuple[float, float]) -> Colour:
    """A random colour (3,) from ranges; hue in turns, from red over green to blue."""
    hsv = np.array([[[360 * (rng.uniform(*hue) % 1), rng.uniform(*saturation), rng.uniform(*value)]]], np.float32)
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float32)


def any_colour(rng: Rng) -> Colour:
    return colour(rng, (0, 1), (0, 0.85), (0.08, 0.95))


def near(rng: Rng, base: Colour, spread: float) -> Colour:
    """A random colour near another."""
    tone = rng.normal(0, spread)
    return np.asarray(np.clip(base + tone + rng.normal(0, spread / 8, 3), 0.02, 0.98), np.float32)


def ramp(field: Field, colours: Sequence[Colour]) -> Colour:
    """Colours of a field in 0..1 by a gradient of evenly spaced colours."""
    stops = np.linspace(0, 1, len(colours))
    channels = [np.interp(field, stops, [each[channel] for each in colours]) for channel in range(3)]
    return np.stack(channels, -1).astype(np.float32)


def blend(below: Colour | Field, above: Colour | Field | float, share: Field) -> NDArray[np.float32]:
    """A blend of both, `above` where the share is 1."""
    weights = share[..., None] if below.ndim == 3 else share
    return np.asarray(below + (above - below) * weights, np.float32)


def speckled(rng: Rng, base: Colour, share: Field, spread: float) -> Colour:
    """The colour with its brightness varied by a field in 0..1."""
    return np.asarray(np.clip(base * (1 + spread * (2 * share[..., None] - 1)), 0, 1), np.float32)


def aged(rng: Rng, draft: Draft, *, chance: float = 0.5) -> Draft:
    """Returns the draft with random stains, scratches and wear."""
    size = draft.height.shape[0]
    if rng.random() < chance:
        draft = _stained(rng, draft, size)
    if rng.random() < chance / 2:
        draft = _scratched(rng, draft, size)
    if rng.random() < chance:
        change = rng.uniform(-0.2, 0.2) * (fbm(rng, size, rng.uniform(1, 6)) - 0.5)
        draft = replace(draft, roughness=draft.roughness + np.float32(2) * change.astype(np.float32))
    return draft


def _stained(rng: Rng, draft: Draft, size: int) -> Draft:
    share = smoothstep(0.55, rng.uniform(0.6, 0.9), fbm(rng, size, rng.uniform(1, 5))) * np.float32(
        rng.uniform(0.1, 0.6)
    )
    dirt = colour(rng, (0.04, 0.14), (0.1, 0.6), (0.05, 0.5))
    return replace(
        draft,
        albedo=blend(draft.albedo, dirt, share),
        roughness=blend(draft.roughness, rng.uniform(0.3, 0.9), share),
    )


def _scratched(rng: Rng, draft: Draft, size: int) -> Draft:
    marks = lines(rng, size, int(rng.integers(3, 60)))
    lighter = np.float32(rng.uniform(-0.15, 0.3))
    return replace(
        draft,
        albedo=np.asarray(np.clip(draft.albedo + lighter * marks[..., None], 0, 1), np.float32),
        height=draft.height - np.float32(rng.uniform(0.1, 0.8)) * marks,
        roughness=draft.roughness + np.float32(rng.uniform(-0.1, 0.3)) * marks,
    )
