import numpy as np
import pytest

from sightline.training.hoi.detections import Detections
from sightline.training.hoi.views import View, random_view
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


def test_a_plain_view_changes_nothing(picture: Picture, thing: Detections) -> None:
    np.testing.assert_array_equal(View().picture(picture), picture)
    assert View().boxes(thing, picture).boxes_xyxy.tolist() == [[10, 20, 30, 40]]


@pytest.mark.parametrize("seed", range(8))
def test_boxes_stay_around_what_they_were_drawn_around(picture: Picture, thing: Detections, seed: int) -> None:
    view = random_view(np.random.default_rng(seed))

    seen, (box,) = view.picture(picture), view.boxes(thing, picture).boxes_xyxy

    x1, y1, x2, y2 = box.tolist()
    assert seen.shape == picture.shape
    inner = seen[round(y1) + 1 : round(y2) - 1, round(x1) + 1 : round(x2) - 1].mean()
    outer = np.delete(seen, slice(round(y1) - 1, round(y2) + 1), axis=0).mean()
    assert inner > 1.3 * outer


def test_light_changes_values_and_greyness(picture: Picture) -> None:
    red = picture.copy()
    red[..., 1:] //= 3

    warm = View(gains=(0.5, 1.0, 1.0), offset=10).picture(red)
    grey = View(saturation=0).picture(red)

    assert warm[0, 0].tolist() == [55, 40, 40]
    assert grey[0, 0].tolist() == [50, 50, 50]
