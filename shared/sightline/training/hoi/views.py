"""A scene seen otherwise, so that few pictures teach the branches more: mirrored, smaller, in other light."""

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import cv2
import numpy as np

from sightline.training.hoi.data import laid_on_canvas
from sightline.training.photos import Picture

SMALLEST = 0.6
GAIN, TINT, OFFSET = (0.7, 1.3), (0.9, 1.1), (-15, 15)
"""Of all values, of each colour's, and what is added to them, in 0..255."""
SATURATION = (0.5, 1.4)


class Placed(Protocol):
    """Boxes in a picture, with whatever is known of them."""

    def flipped(self, width_px: int, /) -> Self: ...
    def scaled(self, by_x: float, by_y: float, /) -> Self: ...


PlacedT = TypeVar("PlacedT", bound=Placed)


@dataclass(frozen=True, slots=True)
class View:
    """What is done to a picture, which keeps its size: what is smaller is laid on grey."""

    mirrored: bool = False
    scale: float = 1.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: float = 0.0
    saturation: float = 1.0

    def picture(self, picture: Picture) -> Picture:
        flipped = picture[:, ::-1] if self.mirrored else picture
        smaller = (
            flipped if self.scale == 1 else cv2.resize(flipped, self._fitted(picture), interpolation=cv2.INTER_AREA)
        )
        lit = smaller * np.array(self.gains, np.float32) + np.float32(self.offset)
        grey = lit.mean(2, keepdims=True)
        pixels = np.asarray(np.rint(grey + (lit - grey) * self.saturation).clip(0, 255), np.uint8)
        return laid_on_canvas(pixels, picture.shape[:2])

    def boxes(self, boxes: PlacedT, picture: Picture) -> PlacedT:
        """Of this picture, where they are afterwards."""
        height, width = picture.shape[:2]
        flipped = boxes.flipped(width) if self.mirrored else boxes
        fitted = self._fitted(picture)
        return flipped.scaled(fitted[0] / width, fitted[1] / height)

    def _fitted(self, picture: Picture) -> tuple[int, int]:
        """Width and height."""
        height, width = picture.shape[:2]
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))


def random_view(rng: np.random.Generator) -> View:
    red, green, blue = (rng.uniform(*GAIN) * rng.uniform(*TINT, 3)).tolist()
    return View(
        mirrored=bool(rng.integers(2)),
        scale=float(rng.uniform(SMALLEST, 1)),
        gains=(red, green, blue),
        offset=float(rng.uniform(*OFFSET)),
        saturation=float(rng.uniform(*SATURATION)),
    )
