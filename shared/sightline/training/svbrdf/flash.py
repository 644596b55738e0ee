"""Simulated flash photos of a surface by a phone: poses of camera and flash, ambient light, and the camera's
processing."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sightline.imaging.colour_spaces.transfer_functions import decode_srgb, encode_srgb
from sightline.networks.rendering import Surface, dot, plane_points, render
from sightline.training.photos import after_jpeg

Floats = NDArray[np.float32]

FIELD_OF_VIEW_DEG = (45.0, 75.0)
MAX_FLASH_DISTANCE = 0.12  # from the camera, in distances to the surface: 5 cm at 40 cm
LARGEST_TILT_DEG = 10.0


@dataclass(frozen=True, slots=True)
class SurfaceWindow:
    """The part of the plane at distance 1 in a picture: its centre, and half its width and height."""

    centre: tuple[float, float]
    half: tuple[float, float]

    def coordinates(self, height: int, width: int) -> Floats:
        """x (right) and y (up) of the pixels' centres, (2, h, w)."""
        right = (2 * np.arange(width, dtype=np.float32) + 1) / width - 1
        up = 1 - (2 * np.arange(height, dtype=np.float32) + 1) / height
        x, y = np.meshgrid(self.centre[0] + self.half[0] * right, self.centre[1] + self.half[1] * up)
        return np.stack([x, y]).astype(np.float32)


def whole_window(fov_deg: float) -> SurfaceWindow:
    """Returns the pixel coordinates of a square photo."""
    half = float(np.tan(np.deg2rad(fov_deg) / 2))
    return SurfaceWindow((0.0, 0.0), (half, half))


def random_window(rng: np.random.Generator) -> SurfaceWindow:
    """The whole photo in half of the cases, else a part of it."""
    half = float(np.tan(np.deg2rad(rng.uniform(*FIELD_OF_VIEW_DEG)) / 2))
    share = 1.0 if rng.random() < 0.5 else float(rng.uniform(0.4, 1))
    room = half * (1 - share)
    return SurfaceWindow(
        (float(rng.uniform(-room, room)), float(rng.uniform(-room, room))), (half * share, half * share)
    )


@dataclass(frozen=True, slots=True)
class Flash:
    """light: of the flash, in distances to the surface; tilt: of the surface about x and y, in radians; ambient: colour
    of the room's light, for a flash of 1; ambient_from: where more of it comes from, shorter than 1; exposure: the
    log-average that the camera aims at; vignette: loss of light at distance 1 from the axis; JPEG quality or None."""

    light: tuple[float, float, float] = (0.0, 0.0, 0.0)
    tilt: tuple[float, float] = (0.0, 0.0)
    ambient: tuple[float, float, float] = (0.0, 0.0, 0.0)
    ambient_from: tuple[float, float, float] = (0.0, 0.0, 0.0)
    exposure: float = 0.18
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    vignette: float = 0.0
    noise: float = 0.0
    jpeg_quality: int | None = None

    def shoot(self, surface: Surface, coordinates: Tensor, rng: np.random.Generator) -> Floats:
        """(h, w, 3) linear light in 0..1, through an 8-bit sRGB file; surface and coordinates are of one photo."""
        return self.develop(self.reach_camera(surface, coordinates), rng)

    def reach_camera(self, surface: Surface, coordinates: Tensor) -> Floats:
        """The light (h, w, 3) before exposure, for a flash of 1."""
        light: Floats = self._light(surface, coordinates).clamp_min(0)[0].permute(1, 2, 0).numpy()
        return light

    def develop(self, light: Floats, rng: np.random.Generator) -> Floats:
        """The photo (h, w, 3) of the light, linear in 0..1, through an 8-bit sRGB file."""
        luminance = np.exp(np.log(light.mean(axis=2) + 1e-4).mean())
        exposed = light * (self.exposure / luminance) * np.asarray(self.gains, np.float32)
        noisy = exposed + self.noise * np.sqrt(np.clip(exposed, 0, 1)) * rng.standard_normal(light.shape, np.float32)
        encoded = np.rint(255 * encode_srgb(np.clip(noisy, 0, 1))).astype(np.uint8)
        return decode_srgb(after_jpeg(encoded, self.jpeg_quality).astype(np.float32) / 255)

    def _light(self, surface: Surface, coordinates: Tensor) -> Tensor:
        turn = _turn(*self.tilt)
        points = _tilted(plane_points(coordinates), turn)
        normal = torch.einsum("ij,bjhw->bihw", turn, surface.normal)
        tilted = Surface(surface.albedo, normal, surface.roughness, surface.metallic)
        flash = render(tilted, points, torch.tensor([self.light]))
        side = 1 + dot(normal, _column(self.ambient_from))
        room = surface.albedo * _column(self.ambient) * side.clamp_min(0)
        fade = 1 - self.vignette * (coordinates**2).sum(1, keepdim=True)
        return (flash + room) * fade.clamp_min(0)


def random_flash(rng: np.random.Generator) -> Flash:
    away, direction = MAX_FLASH_DISTANCE * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
    tint = np.exp(rng.normal(0, 0.12, 3)) * (rng.uniform(0, 0.5) if rng.random() < 0.7 else 0)
    side = rng.normal(0, 1, 3)
    side *= rng.uniform(0, 0.7) / max(float(np.linalg.norm(side)), 1e-6)
    gains = np.exp(rng.normal(0, 0.04, 3))
    tilt = np.deg2rad(rng.uniform(-LARGEST_TILT_DEG, LARGEST_TILT_DEG, 2))
    return Flash(
        light=(float(away * np.cos(direction)), float(away * np.sin(direction)), float(rng.uniform(-0.02, 0.02))),
        tilt=(float(tilt[0]), float(tilt[1])),
        ambient=(float(tint[0]), float(tint[1]), float(tint[2])),
        ambient_from=(float(side[0]), float(side[1]), float(side[2])),
        exposure=float(np.exp(rng.uniform(np.log(0.07), np.log(0.32)))),
        gains=(float(gains[0]), float(gains[1]), float(gains[2])),
        vignette=float(rng.uniform(0, 0.4)),
        noise=float(rng.uniform(0, 0.03)),
        jpeg_quality=int(rng.integers(75, 100)) if rng.random() < 0.8 else None,
    )


def _turn(about_x: float, about_y: float) -> Tensor:
    (sx, sy), (cx, cy) = np.sin([about_x, about_y]), np.cos([about_x, about_y])
    turn_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    turn_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return torch.from_numpy((turn_y @ turn_x).astype(np.float32))


def _tilted(points: Tensor, turn: Tensor) -> Tensor:
    """Intersections of the rays through the level plane with the tilted plane; the point on the axis is on both."""
    normal = turn[:, 2].view(1, 3, 1, 1)
    return points * (-normal[:, 2:] / dot(points, normal))


def _column(values: tuple[float, float, float]) -> Tensor:
    return torch.tensor(values).view(1, 3, 1, 1)
