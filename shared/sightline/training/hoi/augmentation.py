"""Geometry and augmentation of training pictures with their boxes."""

from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import cv2
import numpy as np

from sightline.training.hoi.annotations import GroundTruth
from sightline.training.photos import Picture

GREY = 127
SHORT_SIDES = (0.7, 0.8, 1.0)
"""Short sides of a canvas in long sides: few shapes, so that pictures of one shape fill a batch with little padding."""
MIN_BATCH_SCALE = 0.55

MIN_SCALE = 0.6
GAIN, TINT, OFFSET = (0.7, 1.3), (0.9, 1.1), (-15, 15)
"""Ranges of the factor of all values, the factor of each channel, and the summand in 0..255."""
SATURATION = (0.5, 1.4)


class BoxContainer(Protocol):
    """Boxes in a picture: detections or ground truth."""

    def flipped(self, width_px: int, /) -> Self: ...
    def scaled(self, by_x: float, by_y: float, /) -> Self: ...


BoxesT = TypeVar("BoxesT", bound=BoxContainer)


def fit_size(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Width and height scaled to this longest side."""
    scale = longest_px / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def resize_to_fit(picture: Picture, size: tuple[int, int], longest_px: int) -> Picture:
    """The picture at `fit_size(size, longest_px)`, where `size` is that of the photo before it was squashed."""
    width, height = fit_size(size, longest_px)
    interpolation = cv2.INTER_AREA if picture.shape[1] > width else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, (width, height), interpolation=interpolation), np.uint8)


def canvas_shape(size: tuple[int, int], longest_px: int) -> tuple[int, int]:
    """Height and width, multiples of 32, of the canvas for a picture of this height and width."""
    short = min(size) / max(size)
    side = 32 * round(min(each for each in SHORT_SIDES if each >= short - 1e-6) * longest_px / 32)
    side = max(side, -(-min(size) // 32) * 32)
    return (side, longest_px) if size[0] <= size[1] else (longest_px, side)


def place_on_canvas(picture: Picture, shape: tuple[int, int]) -> Picture:
    """The picture in the top left corner of a grey canvas, as in the service."""
    canvas = np.full((*shape, 3), GREY, np.uint8)
    canvas[: picture.shape[0], : picture.shape[1]] = picture[: shape[0], : shape[1]]
    return canvas


def augment(
    picture: Picture, truth: GroundTruth, shape: tuple[int, int], rng: np.random.Generator
) -> tuple[Picture, GroundTruth]:
    """Mirrors and shrinks the picture by chance and places it on a canvas of this shape, with its boxes."""
    if rng.random() < 0.5:
        picture, truth = picture[:, ::-1], truth.flipped(picture.shape[1])
    if rng.random() < 0.4:
        scale = rng.uniform(MIN_BATCH_SCALE, 1)
        height, width = (max(16, round(side * scale)) for side in picture.shape[:2])
        truth = truth.scaled(width / picture.shape[1], height / picture.shape[0])
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    return place_on_canvas(picture, shape), truth


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A change of geometry and light that keeps the picture's size; a smaller picture is placed on grey."""

    mirrored: bool = False
    scale: float = 1.0
    gains: tuple[float, float, float] = (1.0, 1.0, 1.0)
    offset: float = 0.0
    saturation: float = 1.0

    def apply(self, picture: Picture) -> Picture:
        image = picture[:, ::-1] if self.mirrored else picture
        if self.scale != 1:
            image = np.asarray(cv2.resize(image, self._scaled_size(picture), interpolation=cv2.INTER_AREA), np.uint8)
        lit = image * np.array(self.gains, np.float32) + np.float32(self.offset)
        grey = lit.mean(2, keepdims=True)
        pixels = np.asarray(np.rint(grey + (lit - grey) * self.saturation).clip(0, 255), np.uint8)
        return place_on_canvas(pixels, picture.shape[:2])

    def apply_to_boxes(self, boxes: BoxesT, picture: Picture) -> BoxesT:
        """Boxes of the given picture as boxes of the augmented one."""
        height, width = picture.shape[:2]
        flipped = boxes.flipped(width) if self.mirrored else boxes
        scaled = self._scaled_size(picture)
        return flipped.scaled(scaled[0] / width, scaled[1] / height)

    def _scaled_size(self, picture: Picture) -> tuple[int, int]:
        """Width and height."""
        height, width = picture.shape[:2]
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))


def random_augmentation(rng: np.random.Generator) -> Augmentation:
    red, green, blue = (rng.uniform(*GAIN) * rng.uniform(*TINT, 3)).tolist()
    return Augmentation(
        mirrored=bool(rng.integers(2)),
        scale=float(rng.uniform(MIN_SCALE, 1)),
        gains=(red, green, blue),
        offset=float(rng.uniform(*OFFSET)),
        saturation=float(rng.uniform(*SATURATION)),
    )
