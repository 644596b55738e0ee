"""Views of a picture as inputs of the network: fixed ones for evaluation, and random ones for training."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from sightline.training.photos import Picture

FIXED_VIEWS = 8
MIN_CROP_SHARE = 0.4
TRIES = 10
GREY = (127, 127, 127)


@dataclass(frozen=True, slots=True)
class Views:
    """`count` views of `px` pixels: the whole frame and the squares in the centre and at both ends, each followed by
    its mirror image, then random views."""

    px: int
    count: int

    def __call__(self, picture: Picture, *, seed: int) -> NDArray[np.uint8]:
        """Views (count, px, px, 3) of a picture (h, w, 3); equal for equal seeds."""
        rng, image = np.random.default_rng(seed), Image.fromarray(picture)
        fixed = [self._resized(view) for view in (image, *squares(image))]
        views = [turned for view in fixed for turned in (view, mirrored(view))]
        views += [self.augmented(image, rng) for _ in range(self.count - FIXED_VIEWS)]
        return np.stack([np.asarray(view, np.uint8) for view in views[: self.count]])

    def augmented(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        view = self._resized(jittered(random_crop(image, rng), rng))
        return mirrored(view) if rng.random() < 0.5 else view

    def _resized(self, image: Image.Image) -> Image.Image:
        return image.resize((self.px, self.px), Image.Resampling.BICUBIC)


def mirrored(image: Image.Image) -> Image.Image:
    return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def squares(image: Image.Image) -> list[Image.Image]:
    """The largest squares in the centre and at both ends of the longer side."""
    side = min(image.size)
    free = image.width - side, image.height - side
    corners = (free[0] // 2, free[1] // 2), (0, 0), free
    return [image.crop((left, top, left + side, top + side)) for left, top in corners]


def random_crop(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A crop of at least MIN_CROP_SHARE of the area and moderate aspect; the whole picture if none fits."""
    width, height = image.size
    for _ in range(TRIES):
        area = width * height * rng.uniform(MIN_CROP_SHARE, 1)
        ratio = np.exp(rng.uniform(np.log(0.7), np.log(1.4)))
        size = round(float((area * ratio) ** 0.5)), round(float((area / ratio) ** 0.5))
        if size[0] <= width and size[1] <= height:
            break
    else:
        size = width, height
    left, top = int(rng.integers(0, width - size[0] + 1)), int(rng.integers(0, height - size[1] + 1))
    return image.crop((left, top, left + size[0], top + size[1]))


def jittered(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture after random rotation, colour jitter, greyscale and blur."""
    if rng.random() < 0.3:
        image = image.rotate(rng.uniform(-15, 15), Image.Resampling.BILINEAR, fillcolor=GREY)
    enhancements: list[tuple[Callable[[Image.Image], ImageEnhance._Enhance], float]] = [
        (ImageEnhance.Brightness, 0.35),
        (ImageEnhance.Contrast, 0.35),
        (ImageEnhance.Color, 0.4),
    ]
    for enhance, by in enhancements:
        image = enhance(image).enhance(rng.uniform(1 - by, 1 + by))
    if rng.random() < 0.2:
        image = image.convert("L").convert("RGB")
    return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.5, 2))) if rng.random() < 0.15 else image
