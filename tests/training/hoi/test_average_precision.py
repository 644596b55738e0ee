import math

import pytest

from sightline.training.hoi.average_precision import average_precision, eleven_point_precision


def test_area_by_hand() -> None:
    # Precision 1, 1/2, 2/3 at recall 1/4, 1/4, 2/4: the envelope is 1 up to 1/4 and 2/3 up to 2/4.
    assert average_precision([1, 0, 1], [0.9, 0.8, 0.7], 4) == pytest.approx(0.25 + 0.25 * 2 / 3)


def test_order_is_by_score() -> None:
    assert average_precision([0, 1], [0.1, 0.9], 1) == 1


def test_eleven_points_by_hand() -> None:
    # The envelope is 1 at the recalls 0, .1 and .2, and 2/3 at .3, .4 and .5.
    assert eleven_point_precision([1, 0, 1], [0.9, 0.8, 0.7], 4) == pytest.approx((3 + 3 * 2 / 3) / 11)


def test_all_found_first_is_one() -> None:
    assert average_precision([1, 1], [0.5, 0.4], 2) == eleven_point_precision([1, 1], [0.5, 0.4], 2) == 1


def test_nothing_found_is_zero_and_nothing_to_find_is_unknown() -> None:
    assert average_precision([], [], 3) == eleven_point_precision([], [], 3) == 0
    assert math.isnan(average_precision([0], [0.5], 0))
