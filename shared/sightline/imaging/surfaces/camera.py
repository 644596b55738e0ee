"""Where the surface is, seen from the camera: a plane at distance 1, its middle on the axis."""

from dataclasses import dataclass

import numpy as np

from sightline.imaging.surfaces.maps import Floats


@dataclass(frozen=True, slots=True)
class Camera:
    """Half the width and height of what the photo shows of the plane."""

    half_width: float
    half_height: float

    def coordinates(self, height: int, width: int, rows: slice = slice(None)) -> Floats:
        """(rows, w, 2): x to the right and y upwards, of the centres of a picture's pixels."""
        right = (2 * np.arange(width, dtype=np.float32) + 1) / width - 1
        up = 1 - (2 * np.arange(height, dtype=np.float32) + 1) / height
        return np.stack(np.meshgrid(self.half_width * right, self.half_height * up[rows]), -1).astype(np.float32)

    def points(self, height: int, width: int, rows: slice = slice(None)) -> Floats:
        """(rows, w, 3): on the plane z = -1, the camera being at the origin."""
        return np.pad(self.coordinates(height, width, rows), ((0, 0), (0, 0), (0, 1)), constant_values=-1)


def camera_for(width: int, height: int, fov_deg: float) -> Camera:
    """Of a photo whose longer side covers that angle."""
    half, longest = float(np.tan(np.deg2rad(fov_deg) / 2)), max(width, height)
    return Camera(half * width / longest, half * height / longest)
