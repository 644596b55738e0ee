"""Which pictures of V-COCO are measured on, and which others are too much like them to be trained on."""

from collections.abc import Callable, Sequence

import numpy as np

from sightline.imaging.perceptual_hash import perceptual_hash
from sightline.training.hoi.coco import Scene
from sightline.training.photos import Picture, read_rgb

HELD_OUT = 100
NEAR_DUPLICATE_BITS = 8


def hold_out(scenes: Sequence[Scene], count: int = HELD_OUT) -> tuple[list[Scene], list[Scene]]:
    """Those to train on, and the first of `val` by COCO's ids, which say nothing of what is in them."""
    of_val = sorted((each for each in scenes if each.split == "val"), key=lambda each: each.coco_id or 0)
    kept = of_val[:count]
    ids = {each.coco_id for each in kept}
    return [each for each in scenes if each.coco_id not in ids], kept


def unlike(held_out: Sequence[Scene]) -> Callable[[Picture], bool]:
    """Whether a picture is none of those held out, also in another size or another compression."""
    hashes = np.array([perceptual_hash(read_rgb(each.path)) for each in held_out], np.uint64)

    def is_unlike(picture: Picture) -> bool:
        differing = np.bitwise_count(hashes ^ np.uint64(perceptual_hash(picture)))
        return bool((differing > NEAR_DUPLICATE_BITS).all())

    return is_unlike
