"""Simulated cameras with wrong exposure: linear scenes to the 8-bit photos that the model corrects."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.imaging.colour_spaces.transfer_functions import encode_srgb
from sightline.training.photos import Picture, after_jpeg

Linear = NDArray[np.float32]
"""(h, w, 3) linear light in sRGB's primaries; 1 is the white of a well-exposed photo."""


@dataclass(frozen=True, slots=True)
class SimulatedCamera:
    """Exposure in stops, gains of the channels, noise in linear light, response, and JPEG quality (None: no JPEG)."""

    ev: float
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    shot_noise: float = 0.0
    read_noise: float = 0.0
    gamma: float | None = None  # None: sRGB's own curve
    contrast: float = 0.0
    jpeg_quality: int | None = None

    def shoot(self, scene: Linear, rng: np.random.Generator) -> Picture:
        light = scene * np.float32(2.0**self.ev) * np.asarray(self.gains, np.float32)
        sigma = np.sqrt(self.shot_noise * np.minimum(light, 1) + self.read_noise**2)
        noisy = light + sigma * rng.standard_normal(light.shape, np.float32)
        encoded = self._respond(np.clip(noisy, 0, 1))
        return after_jpeg(np.rint(255 * encoded).astype(np.uint8), self.jpeg_quality)

    def _respond(self, light: Linear) -> Linear:
        encoded = encode_srgb(light) if self.gamma is None else light ** np.float32(1 / self.gamma)
        s_curve = encoded * encoded * (3 - 2 * encoded)
        return np.asarray(encoded + np.float32(self.contrast) * (s_curve - encoded), np.float32)


def random_camera(rng: np.random.Generator) -> SimulatedCamera:
    """A random camera, with wrong exposure in four of five cases, more often too dark than too bright."""
    gains = np.exp(rng.normal(0, 0.04, 3))
    return SimulatedCamera(
        ev=random_ev(rng),
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
        shot_noise=float(rng.uniform(0, 1e-3)),
        read_noise=float(rng.uniform(0, 4e-3)) if rng.random() < 0.5 else 0.0,
        gamma=float(rng.uniform(1.8, 2.5)) if rng.random() < 0.4 else None,
        contrast=float(rng.uniform(-0.2, 0.5)) if rng.random() < 0.4 else 0.0,
        jpeg_quality=int(rng.integers(70, 100)) if rng.random() < 0.7 else None,
    )


def random_ev(rng: np.random.Generator) -> float:
    low, high = ((-0.3, 0.3), (-3.5, -0.3), (0.3, 2.5))[rng.choice(3, p=(0.2, 0.45, 0.35))]
    return float(rng.uniform(low, high))
