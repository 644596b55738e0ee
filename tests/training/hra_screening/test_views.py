import numpy as np
import pytest
from PIL import Image

from sightline.training.hra_screening.views import FIXED_VIEWS, Views, random_crop, squares


def test_fixed_views_are_the_frame_and_three_squares_and_their_mirrors() -> None:
    picture = np.zeros((60, 180, 3), np.uint8)
    for third, tone in enumerate((80, 160, 240)):
        picture[:, 60 * third : 60 * third + 60] = tone
    views = Views(32, FIXED_VIEWS)(picture, seed=0)
    np.testing.assert_array_equal(views[1::2], views[::2, :, ::-1])
    assert [int(view[16, 16, 0]) for view in views[::2]] == [160, 160, 80, 240]
    assert [int(view.min()) for view in views[2::2]] == [160, 80, 240]
    assert {square.size for square in squares(Image.fromarray(picture))} == {(60, 60)}


def test_random_views_are_functions_of_the_seed() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8)
    views = Views(32, FIXED_VIEWS + 3)
    np.testing.assert_array_equal(views(picture, seed=3), views(picture, seed=3))
    first, other = views(picture, seed=3), views(picture, seed=4)
    np.testing.assert_array_equal(first[:FIXED_VIEWS], other[:FIXED_VIEWS])
    assert (first[FIXED_VIEWS:] != other[FIXED_VIEWS:]).any()


@pytest.mark.parametrize("size", [(1, 1), (500, 3), (40, 60)])
def test_random_crop_lies_inside(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        crop = random_crop(Image.new("RGB", size), rng)
        assert 1 <= crop.width <= size[0]
        assert 1 <= crop.height <= size[1]
