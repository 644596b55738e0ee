import numpy as np
import pytest

from sightline.training.hoi.annotations import Detections
from sightline.training.hoi.augmentation import Augmentation, fit_size, random_augmentation
from sightline.training.photos import Picture


@pytest.fixture
def picture() -> Picture:
    """Grey, with a white thing at columns 10 to 30 and rows 20 to 40."""
    pixels = np.full((60, 90, 3), 90, np.uint8)
    pixels[20:40, 10:30] = 255
    return pixels


@pytest.fixture
def thing() -> Detections:
    return Detections(np.array([[10.0, 20, 30, 40]], np.float32), np.array([0]), np.array([1.0], np.float32))


def test_default_augmentation_changes_nothing(picture: Picture, thing: Detections) -> None:
    np.testing.assert_array_equal(Augmentation().apply(picture), picture)
    assert Augmentation().apply_to_boxes(thing, picture).boxes_xyxy.tolist() == [[10, 20, 30, 40]]


@pytest.mark.parametrize("seed", range(8))
def test_augmented_boxes_stay_on_their_object(picture: Picture, thing: Detections, seed: int) -> None:
    augmentation = random_augmentation(np.random.default_rng(seed))

    seen, (box,) = augmentation.apply(picture), augmentation.apply_to_boxes(thing, picture).boxes_xyxy

    x1, y1, x2, y2 = box.tolist()
    assert seen.shape == picture.shape
    inner = seen[round(y1) + 1 : round(y2) - 1, round(x1) + 1 : round(x2) - 1].mean()
    outer = np.delete(seen, slice(round(y1) - 1, round(y2) + 1), axis=0).mean()
    assert inner > 1.3 * outer


def test_augmentation_changes_gains_and_saturation(picture: Picture) -> None:
    red = picture.copy()
    red[..., 1:] //= 3

    warm = Augmentation(gains=(0.5, 1.0, 1.0), offset=10).apply(red)
    grey = Augmentation(saturation=0).apply(red)

    assert warm[0, 0].tolist() == [55, 40, 40]
    assert grey[0, 0].tolist() == [50, 50, 50]


def test_fit_size_scales_the_longest_side() -> None:
    assert fit_size((640, 480), 320) == (320, 240)
    assert fit_size((100, 400), 320) == (80, 320)
